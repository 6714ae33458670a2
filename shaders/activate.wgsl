// Y[t, c] = silu(G[t, c]) * U[t, c], gelu(G[t, c]) * U[t, c], or gelu(G[t, c]) alone.
// Workgroup: 64 threads, four values each, no barrier. Dispatch: (quads / 64, tokens), rounded up.
override KIND: u32 = 1u; // 1: silu, gated; 2: gelu in its tanh form, gated; 3: gelu with erf, alone

const THREADS: u32 = 64u;
// exp(80) is finite in f32, and x / (1 + exp(80)) is 0 to within 1e-32 for every activation that a
// model makes; WGSL leaves an overflowing exp unspecified.
const EXPONENT_CAP: f32 = 80.0;

struct Params {
    // Vectors of four columns.
    quads: u32,
    // Where gate and factor begin in a row of theirs, and how far it is to the next row, in quads.
    gate_start: u32,
    gate_stride: u32,
    up_start: u32,
    up_stride: u32,
}

struct Batch {
    // Rows in use.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (5) words
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // (tokens, quads)
@group(0) @binding(3) var<storage, read> gate: array<vec4<f32>>; // (tokens, gate_stride)
@group(0) @binding(4) var<storage, read> up: array<vec4<f32>>; // (tokens, up_stride); anything for KIND 3

fn sigmoid_of(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(clamp(-x, vec4<f32>(-EXPONENT_CAP), vec4<f32>(EXPONENT_CAP))));
}

// Abramowitz and Stegun 7.1.26, within 1.5e-7.
fn erf(x: vec4<f32>) -> vec4<f32> {
    let a = abs(x);
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    let tail = poly * exp(-min(a * a, vec4<f32>(EXPONENT_CAP)));
    return sign(x) * (1.0 - tail);
}

fn activated(x: vec4<f32>) -> vec4<f32> {
    if KIND == 1u {
        return x * sigmoid_of(x);
    }
    if KIND == 2u {
        // 0.5 (1 + tanh(u)) = sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3)
        return x * sigmoid_of(1.5957691216 * x * (1.0 + 0.044715 * x * x));
    }
    return 0.5 * x * (1.0 + erf(x * 0.7071067812));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.quads || id.y >= batch.tokens {
        return;
    }
    var value = activated(gate[id.y * params.gate_stride + params.gate_start + id.x]);
    if KIND != 3u {
        value *= up[id.y * params.up_stride + params.up_start + id.x];
    }
    y[id.y * params.quads + id.x] = value;
}
