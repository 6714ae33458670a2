// y[r] = sum over c of W[r, c] * x[c], added to y[r] when accumulating: one token.
// W is Q8_0, repacked at upload: the signed bytes of every block, then every block's f16 scale.
// Workgroup: 64 threads, one row each and no barrier: barriers cost 18 to 27 times on CPU-backed adapters.
const WORKGROUP: u32 = 64u;

struct Params {
    rows: u32,
    cols: u32,
    // 1: add to what y holds (the residual stream); 0: replace it.
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (3) words
@group(0) @binding(1) var<storage, read> quants: array<vec4<u32>>; // (rows, cols / 16), four signed bytes to a word
@group(0) @binding(2) var<storage, read> scales: array<u32>; // (rows * cols / 64, rounded up), two f16 to a word
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (cols / 4)
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (rows)

fn scale_of(block: u32) -> f32 {
    let pair = unpack2x16float(scales[block / 2u]);
    return select(pair.x, pair.y, (block & 1u) == 1u);
}

fn four_bytes(word: u32) -> vec4<f32> {
    let high = vec4<i32>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u));
    return vec4<f32>(high >> vec4<u32>(24u));
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
        let a = quants[2u * block];
        let b = quants[2u * block + 1u];
        var dots = dot(four_bytes(a.x), x[at]);
        dots += dot(four_bytes(a.y), x[at + 1u]);
        dots += dot(four_bytes(a.z), x[at + 2u]);
        dots += dot(four_bytes(a.w), x[at + 3u]);
        dots += dot(four_bytes(b.x), x[at + 4u]);
        dots += dot(four_bytes(b.y), x[at + 5u]);
        dots += dot(four_bytes(b.z), x[at + 6u]);
        dots += dot(four_bytes(b.w), x[at + 7u]);
        sum += scale_of(block) * dots;
    }
    if params.accumulate == 1u {
        sum += y[row];
    }
    y[row] = sum;
}
