// y[r] = sum over c of W[r, c] * x[c], added to y[r] when accumulating: one token.
// W is F32, row-major, four columns to a vector.
// Workgroup: 64 threads, one row each and no barrier: barriers cost 18 to 27 times on CPU-backed adapters.
const WORKGROUP: u32 = 64u;

struct Params {
    rows: u32,
    cols: u32,
    // 1: add to what y holds (the residual stream); 0: replace it.
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (3) words
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>; // (rows, cols / 4)
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (cols / 4)
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (rows)

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if row >= params.rows {
        return;
    }
    let quads = params.cols / 4u;
    var sum = 0.0;
    for (var i = 0u; i < quads; i++) {
        sum += dot(weights[row * quads + i], x[i]);
    }
    if params.accumulate == 1u {
        sum += y[row];
    }
    y[row] = sum;
}
