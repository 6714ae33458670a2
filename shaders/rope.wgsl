// Turns pairs of channels by their position, in place:
//   (a, b) -> (a * cos - b * sin, a * sin + b * cos)
// for channels (2i, 2i + 1) of a head, or (i, i + pairs) with `halves`; i < pairs, the rest stays.
// The cosines come in a table made on the CPU (WGSL leaves cos of a large angle unspecified): rows 0
// to 255 for the position modulo 256, then rows for position / 256; the product of two is the turn.
// Workgroup: 64 threads, one pair each, no barrier. Dispatch: (heads * pairs / 64, tokens), rounded up.
const THREADS: u32 = 64u;
const FINE: u32 = 256u; // positions in the first part of the table

struct Params {
    heads: u32,
    head_dim: u32,
    // Pairs of a head that turn.
    pairs: u32,
    // 1: pairs are (i, i + pairs); 0: neighbours.
    halves: u32,
    // Where the heads of a row begin in x, and how far it is to the next row, in floats.
    start: u32,
    stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (6) words
@group(0) @binding(2) var<storage, read_write> x: array<f32>; // (tokens, stride)
@group(0) @binding(4) var<storage, read> turns: array<vec2<f32>>; // (256 + positions / 256, pairs) of (cos, sin)

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let token = id.y;
    if id.x >= params.heads * params.pairs || token >= batch.tokens {
        return;
    }
    let head = id.x / params.pairs;
    let pair = id.x % params.pairs;
    let position = rows[token].position;
    let fine = turns[(position % FINE) * params.pairs + pair];
    let coarse = turns[(FINE + position / FINE) * params.pairs + pair];
    let turn = vec2<f32>(fine.x * coarse.x - fine.y * coarse.y, fine.x * coarse.y + fine.y * coarse.x);
    let begin = token * params.stride + params.start + head * params.head_dim;
    let first = begin + select(2u * pair, pair, params.halves == 1u);
    let second = first + select(1u, params.pairs, params.halves == 1u);
    let a = x[first];
    let b = x[second];
    x[first] = a * turn.x - b * turn.y;
    x[second] = a * turn.y + b * turn.x;
}
