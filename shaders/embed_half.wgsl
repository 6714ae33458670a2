// H[t] = E[id[t]]: the embeddings of a batch, from rows of 16-bit floats.
// Workgroup: 64 threads, four columns each, no barrier. Dispatch: (blocks / 64, tokens), rounded up.
override BRAIN: bool = false; // true: BF16, the upper half of an f32; false: F16

const THREADS: u32 = 64u;

@group(0) @binding(4) var<storage, read> weights: array<vec2<u32>>; // (rows, blocks), two halves to a word

fn two_halves(word: u32) -> vec2<f32> {
    if BRAIN {
        return bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
    }
    return unpack2x16float(word);
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
    let pair = weights[row * params.blocks + id.x];
    put(token * params.blocks + id.x, vec4<f32>(two_halves(pair.x), two_halves(pair.y)));
}
