// H[t] = E[id[t]]: the embeddings of a batch, from coded rows.
// Workgroup: 64 threads, one block of 32 columns each, no barrier.
// Dispatch: (blocks / 64, tokens), rounded up.
const THREADS: u32 = 64u;

fn put_half(at: u32, words: vec4<u32>, scale: vec2<f32>) {
    let codes = four_values(words);
    for (var i = 0u; i < 4u; i++) {
        put(at + i, codes[i] * scale.x + vec4<f32>(scale.y));
    }
}

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
    let block = row * params.blocks + id.x;
    let q = codes_at(block);
    let scale = block_scales(block, params.supers_at);
    let at = 8u * (token * params.blocks + id.x);
    put_half(at, q.low, scale.xy);
    put_half(at + 4u, q.high, scale.zw);
}
