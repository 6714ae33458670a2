// gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]: the SwiGLU of a feed-forward block, in place.
// Workgroup: 64 threads, four values each, no barrier. Dispatch: (cols / 256, tokens), rounded up.
const WORKGROUP: u32 = 64u;
// exp(80) is finite in f32, and x / (1 + exp(80)) is 0 to within 1e-32 for every finite activation
// that a model makes; WGSL leaves an overflowing exp unspecified.
const EXPONENT_CAP: f32 = 80.0;

struct Params {
    cols: u32,
}

struct Slice {
    // Position of the first token of this slice in the sequence.
    start: u32,
    // Tokens in this slice.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (1) word
@group(0) @binding(1) var<uniform> slice: Slice; // (2) words
@group(0) @binding(2) var<storage, read> up: array<vec4<f32>>; // (tokens, cols / 4)
@group(0) @binding(3) var<storage, read_write> gate: array<vec4<f32>>; // (tokens, cols / 4)

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let quads = params.cols / 4u;
    if id.x >= quads || id.y >= slice.tokens {
        return;
    }
    let at = id.y * quads + id.x;
    let x = gate[at];
    gate[at] = x / (1.0 + exp(min(-x, vec4<f32>(EXPONENT_CAP)))) * up[at];
}
