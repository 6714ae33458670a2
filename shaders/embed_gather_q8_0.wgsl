// H[t, c] = E[token[t], c]: the embedding rows of a slice of tokens.
// E is Q8_0, repacked at upload: the signed bytes of every block, then every block's f16 scale.
// Workgroup: 64 threads, four columns each, no barrier. Dispatch: (cols / 256, tokens), rounded up.
const WORKGROUP: u32 = 64u;

struct Params {
    // The vocabulary; a token id outside it reads the last row.
    rows: u32,
    cols: u32,
}

struct Slice {
    // Position of the first token of this slice in the sequence.
    start: u32,
    // Tokens in this slice.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (2) words
@group(0) @binding(1) var<uniform> slice: Slice; // (2) words
@group(0) @binding(2) var<storage, read> token_ids: array<u32>; // (tokens)
@group(0) @binding(3) var<storage, read> quants: array<vec4<u32>>; // (rows, cols / 16), four signed bytes to a word
@group(0) @binding(4) var<storage, read> scales: array<u32>; // (rows * cols / 64, rounded up), two f16 to a word
@group(0) @binding(5) var<storage, read_write> hidden: array<vec4<f32>>; // (tokens, cols / 4)

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
    let quads = params.cols / 4u;
    let quad = id.x;
    let token = id.y;
    if quad >= quads || token >= slice.tokens {
        return;
    }
    let row = min(token_ids[token], params.rows - 1u);
    let source = row * quads + quad;
    let dest = token * quads + quad;
    hidden[dest] = scale_of(source / 8u) * four_bytes(quants[source / 4u][source % 4u]);
}
