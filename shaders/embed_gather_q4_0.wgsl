// H[t, c] = E[token[t], c]: the embedding rows of a slice of tokens.
// E is Q4_0, repacked at upload: the nibbles of every block, then every block's f16 scale.
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
@group(0) @binding(3) var<storage, read> quants: array<vec4<u32>>; // (rows, cols / 32), eight nibbles to a word
@group(0) @binding(4) var<storage, read> scales: array<u32>; // (rows * cols / 64, rounded up), two f16 to a word
@group(0) @binding(5) var<storage, read_write> hidden: array<vec4<f32>>; // (tokens, cols / 4)

fn scale_of(block: u32) -> f32 {
    let pair = unpack2x16float(scales[block / 2u]);
    return select(pair.x, pair.y, (block & 1u) == 1u);
}

// Word i of a block holds values 4i..4i+4 in its low nibbles and 16+4i..20+4i in its high ones.
fn four_nibbles(word: u32, first_shift: u32) -> vec4<f32> {
    let shifts = vec4<u32>(0u, 8u, 16u, 24u) + first_shift;
    return vec4<f32>((vec4<u32>(word) >> shifts) & vec4<u32>(15u)) - 8.0;
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
    // A block is eight quads: four in the low nibbles, then four in the high ones.
    let in_block = source % 8u;
    let word = quants[source / 8u][in_block % 4u];
    hidden[dest] = scale_of(source / 8u) * four_nibbles(word, (in_block / 4u) * 4u);
}
