// Copies keys and values of the rows of a batch out of the cache.
// Workgroup: 64 threads, four channels each, no barrier.
// Dispatch: (kv_heads * quads / 64, tokens), rounded up.
const THREADS: u32 = 64u;

struct Params {
    kv_heads: u32,
    // Vectors of four channels in a head.
    quads: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (2) words
@group(0) @binding(2) var<storage, read_write> k: array<vec4<f32>>; // (tokens, kv_heads, quads)
@group(0) @binding(7) var<storage, read_write> v: array<vec4<f32>>; // (tokens, kv_heads, quads)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let width = params.kv_heads * params.quads;
    if id.x >= width || id.y >= batch.tokens {
        return;
    }
    let row = rows[id.y];
    let at = slot_of(row, row.position) * params.kv_heads + id.x / params.quads;
    k[id.y * width + id.x] = key(at, params.quads, id.x % params.quads);
    v[id.y * width + id.x] = value(at, params.quads, id.x % params.quads);
}
