// Y[t, c] += X[t, c]; with a stride of 0 the same row, a bias, is added to every token.
// Workgroup: 64 threads, four values each, no barrier. Dispatch: (quads / 64, tokens), rounded up.
const THREADS: u32 = 64u;

struct Params {
    // Vectors of four columns.
    quads: u32,
    // How far it is to the next row of x, in quads.
    x_stride: u32,
    // Where the columns begin in a row of y, and how far it is to the next row, in quads.
    y_start: u32,
    y_stride: u32,
}

struct Batch {
    // Rows in use.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (4) words
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // (tokens, y_stride)
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, x_stride), or (quads)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.quads || id.y >= batch.tokens {
        return;
    }
    y[id.y * params.y_stride + params.y_start + id.x] += x[id.y * params.x_stride + id.x];
}
