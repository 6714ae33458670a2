// Y[t] = X[wanted[t]]: the rows of a batch whose logits are wanted.
// Workgroup: 64 threads, four values each, no barrier. Dispatch: (quads / 64, wanted), rounded up.
const THREADS: u32 = 64u;

struct Params {
    // Vectors of four columns.
    quads: u32,
}

struct Batch {
    // Rows of y.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (1) word
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // (wanted, quads)
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, quads)
@group(0) @binding(4) var<storage, read> wanted: array<u32>; // (wanted)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.quads || id.y >= batch.tokens {
        return;
    }
    y[id.y * params.quads + id.x] = x[wanted[id.y] * params.quads + id.x];
}
