// Rotates queries in place and keys into the cache, and copies values into the cache:
//   (a, b) -> (a * cos - b * sin, a * sin + b * cos) for neighbours (2i, 2i + 1) of a head, i < rotated.
// The cosines come in a table made on the CPU: WGSL leaves cos of a large angle unspecified.
// Workgroup: 64 threads, one pair each, no barrier.
// Dispatch: ((heads + 2 * kv_heads) * head_pairs / 64, tokens), rounded up.
const WORKGROUP: u32 = 64u;

struct Params {
    heads: u32,
    kv_heads: u32,
    // Pairs in a head: head size / 2.
    head_pairs: u32,
    // Pairs of a head that turn; the rest pass through.
    rotated: u32,
    // Positions in the cache and in the table.
    context: u32,
}

struct Slice {
    // Position of the first token of this slice in the sequence.
    start: u32,
    // Tokens in this slice.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (5) words
@group(0) @binding(1) var<uniform> slice: Slice; // (2) words
@group(0) @binding(2) var<storage, read> turns: array<vec2<f32>>; // (context, rotated) of (cos, sin)
@group(0) @binding(3) var<storage, read> k: array<vec2<f32>>; // (tokens, kv_heads, head_pairs)
@group(0) @binding(4) var<storage, read> v: array<vec2<f32>>; // (tokens, kv_heads, head_pairs)
@group(0) @binding(5) var<storage, read_write> q: array<vec2<f32>>; // (tokens, heads, head_pairs)
@group(0) @binding(6) var<storage, read_write> k_cache: array<vec2<f32>>; // (context, kv_heads, head_pairs)
@group(0) @binding(7) var<storage, read_write> v_cache: array<vec2<f32>>; // (context, kv_heads, head_pairs)

fn turned(pair: vec2<f32>, position: u32, i: u32) -> vec2<f32> {
    if i >= params.rotated {
        return pair;
    }
    let turn = turns[position * params.rotated + i];
    return vec2<f32>(pair.x * turn.x - pair.y * turn.y, pair.x * turn.y + pair.y * turn.x);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let q_pairs = params.heads * params.head_pairs;
    let kv_pairs = params.kv_heads * params.head_pairs;
    let token = id.y;
    let position = slice.start + token;
    if id.x >= q_pairs + 2u * kv_pairs || token >= slice.tokens || position >= params.context {
        return;
    }
    let i = id.x % params.head_pairs;
    if id.x < q_pairs {
        let at = token * q_pairs + id.x;
        q[at] = turned(q[at], position, i);
    } else if id.x < q_pairs + kv_pairs {
        let pair = id.x - q_pairs;
        k_cache[position * kv_pairs + pair] = turned(k[token * kv_pairs + pair], position, i);
    } else {
        let pair = id.x - q_pairs - kv_pairs;
        v_cache[position * kv_pairs + pair] = v[token * kv_pairs + pair];
    }
}
