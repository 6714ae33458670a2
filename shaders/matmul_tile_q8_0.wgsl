// Y[t, r] = sum over c of W[r, c] * X[t, c], added to Y[t, r] when accumulating: many tokens.
// W is Q8_0, repacked at upload: the signed bytes of every block, then every block's f16 scale.
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
@group(0) @binding(2) var<storage, read> quants: array<vec4<u32>>; // (rows, cols / 16), four signed bytes to a word
@group(0) @binding(3) var<storage, read> scales: array<u32>; // (rows * cols / 64, rounded up), two f16 to a word
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>; // (tokens, cols / 4)
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // (tokens, rows)

fn scale_of(block: u32) -> f32 {
    let pair = unpack2x16float(scales[block / 2u]);
    return select(pair.x, pair.y, (block & 1u) == 1u);
}

fn four_bytes(word: u32) -> vec4<f32> {
    let high = vec4<i32>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u));
    return vec4<f32>(high >> vec4<u32>(24u));
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
    let blocks = params.cols / 32u;
    for (var i = 0u; i < blocks; i++) {
        let block = row * blocks + i;
        let at = start + i * 8u;
        let a = quants[2u * block];
        let b = quants[2u * block + 1u];
        var block_sum = dots(four_bytes(a.x), at);
        block_sum += dots(four_bytes(a.y), at + 1u);
        block_sum += dots(four_bytes(a.z), at + 2u);
        block_sum += dots(four_bytes(a.w), at + 3u);
        block_sum += dots(four_bytes(b.x), at + 4u);
        block_sum += dots(four_bytes(b.y), at + 5u);
        block_sum += dots(four_bytes(b.z), at + 6u);
        block_sum += dots(four_bytes(b.w), at + 7u);
        sum += scale_of(block) * block_sum;
    }
    store(first, row, sum.x);
    store(first + 1u, row, sum.y);
    store(first + 2u, row, sum.z);
    store(first + 3u, row, sum.w);
}
