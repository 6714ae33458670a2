// Copies the keys and values of a batch to their places in the cache.
// Workgroup: 64 threads, one strip of channels each, no barrier.
// Dispatch: (kv_heads * strips / 64, tokens), rounded up.
const THREADS: u32 = 64u;

struct Params {
    kv_heads: u32,
    // Vectors of four channels in a head.
    quads: u32,
    // Where the keys of a row begin in k, and how far it is to the next row, in quads.
    k_start: u32,
    k_stride: u32,
    v_start: u32,
    v_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (6) words
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>; // (tokens, k_stride)
@group(0) @binding(7) var<storage, read> v: array<vec4<f32>>; // (tokens, v_stride)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let strips = (params.quads + STRIP - 1u) / STRIP;
    let token = id.y;
    if id.x >= params.kv_heads * strips || token >= batch.tokens {
        return;
    }
    let head = id.x / strips;
    let row = rows[token];
    let at = slot_of(row, row.position) * params.kv_heads + head;
    let key_at = token * params.k_stride + params.k_start + head * params.quads;
    let value_at = token * params.v_stride + params.v_start + head * params.quads;
    write_strip(at, params.quads, id.x % strips, key_at, value_at);
}
