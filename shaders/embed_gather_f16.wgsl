// H[t, c] = E[token[t], c]: the embedding rows of a slice of tokens.
// E is F16, row-major, four columns to a pair of words.
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
@group(0) @binding(3) var<storage, read> weights: array<vec2<u32>>; // (rows, cols / 4), two halves to a word
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>; // (tokens, cols / 4)

fn four_halves(pair: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
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
    hidden[dest] = four_halves(weights[source]);
}
