// Y[t, r] = sum over c of W[r, c] * X[t, c], added to Y[t, r] when accumulating: many tokens.
// W is F16, row-major, four columns to a pair of words.
// Workgroup: 64 threads without a barrier; each owns one row and four tokens, so that a weight is
// unpacked once for four products. Dispatch: (rows / 64, tokens / 4), rounded up.
const WORKGROUP: u32 = 64u;

struct Params {
    rows: u32,
    cols: u32,
    // 1: add to what y holds (the residual stream); 0: replace it.
    accumulate: u32,
}

struct Slice {
    // Position of the first token of this slice in the sequence.
    start: u32,
    // Tokens in this slice.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (3) words
@group(0) @binding(1) var<uniform> slice: Slice; // (2) words
@group(0) @binding(2) var<storage, read> weights: array<vec2<u32>>; // (rows, cols / 4), two halves to a word
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, cols / 4)
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (tokens, rows)

fn four_halves(pair: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}

fn dots(w: vec4<f32>, at: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(dot(w, x[at.x]), dot(w, x[at.y]), dot(w, x[at.z]), dot(w, x[at.w]));
}

fn store(token: u32, row: u32, sum: f32) {
    if token >= slice.tokens {
        return;
    }
    let at = token * params.rows + row;
    if params.accumulate == 1u {
        y[at] += sum;
    } else {
        y[at] = sum;
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    let first = id.y * 4u;
    if row >= params.rows || first >= slice.tokens {
        return;
    }
    // Past the last token the last one is read again, and store drops the result.
    let tokens = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(slice.tokens - 1u));
    let start = tokens * (params.cols / 4u);
    var sum = vec4<f32>(0.0);
    let quads = params.cols / 4u;
    for (var i = 0u; i < quads; i++) {
        sum += dots(four_halves(weights[row * quads + i]), start + i);
    }
    store(first, row, sum.x);
    store(first + 1u, row, sum.y);
    store(first + 2u, row, sum.z);
    store(first + 3u, row, sum.w);
}
