// H[t] = E[id[t]]: the embeddings of a batch, from rows of f32.
// Workgroup: 64 threads, four columns each, no barrier. Dispatch: (blocks / 64, tokens), rounded up.
const THREADS: u32 = 64u;

@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>; // (rows, blocks)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let token = id.y;
    if id.x >= params.blocks || token >= batch.tokens {
        return;
    }
    let row = source(token);
    if row >= params.rows {
        return;
    }
    put(token * params.blocks + id.x, weights[row * params.blocks + id.x]);
}
