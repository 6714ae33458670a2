// y[r] = sum over c of W[r, c] * x[c], added to y[r] when accumulating: one token.
// W is Q4_0, repacked at upload: the nibbles of every block, then every block's f16 scale.
// Workgroup: 64 threads, one row each and no barrier: barriers cost 18 to 27 times on CPU-backed adapters.
const WORKGROUP: u32 = 64u;

struct Params {
    rows: u32,
    cols: u32,
    // 1: add to what y holds (the residual stream); 0: replace it.
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (3) words
@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>; // (rows, cols / 32), eight nibbles to a word
@group(0) @binding(2) var<storage, read> scales: array<u32>; // (rows * cols / 64, rounded up), two f16 to a word
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (cols / 4)
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (rows)

fn scale_of(block: u32) -> f32 {
    let pair = unpack2x16float(scales[block / 2u]);
    return select(pair.x, pair.y, (block & 1u) == 1u);
}

// Word i of a block holds values 4i..4i+4 in its low nibbles and 16+4i..20+4i in its high ones.
fn four_nibbles(word: u32, first_shift: u32) -> vec4<f32> {
    let shifts = vec4<u32>(0u, 8u, 16u, 24u) + first_shift;
    return vec4<f32>((vec4<u32>(word) >> shifts) & vec4<u32>(15u)) - 8.0;
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= params.rows {
        return;
    }
    let blocks = params.cols / 32u;
    var sum = 0.0;
    for (var i = 0u; i < blocks; i++) {
        let block = row * blocks + i;
        let at = i * 8u;
        let q = quants[block];
        var dots = dot(four_nibbles(q.x, 0u), x[at]);
        dots += dot(four_nibbles(q.y, 0u), x[at + 1u]);
        dots += dot(four_nibbles(q.z, 0u), x[at + 2u]);
        dots += dot(four_nibbles(q.w, 0u), x[at + 3u]);
        dots += dot(four_nibbles(q.x, 4u), x[at + 4u]);
        dots += dot(four_nibbles(q.y, 4u), x[at + 5u]);
        dots += dot(four_nibbles(q.z, 4u), x[at + 6u]);
        dots += dot(four_nibbles(q.w, 4u), x[at + 7u]);
        sum += scale_of(block) * dots;
    }
    if params.accumulate == 1u {
        sum += y[row];
    }
    y[row] = sum;
}
