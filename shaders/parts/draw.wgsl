// What the kernels that draw a token share. A score is kept as a key, a whole number in the order of
// scores; 0 is a token that is out. Weights are whole numbers of 2^-40 in two words, the low one
// first, so that their sums are the same in whatever order they are added.
const THREADS: u32 = 64u;
const ALL: u32 = 0xffffffffu; // no limit
const BINS: u32 = 256u; // values of a digit of a key
const SIGN: u32 = 0x80000000u;

// What one row is to be drawn like.
struct Wish {
    top_k: u32, // tokens; 0 is no limit
    top_p: u32, // in 2^-32; ALL is no limit
    min_p: f32, // its natural logarithm; above 0 is no limit
    temperature: f32, // 0 takes the likeliest
    allowed: u32, // first word of its set of tokens; ALL is every token
}

// What is found out about a row.
struct State {
    top: u32, // the largest key
    is_bad: u32, // 1: a logit is not finite
    lowest: u32, // the smallest key that min-p keeps
    cut: u32, // the smallest key that top-k and top-p keep
    ties: u32, // tokens of that key that are kept, by ascending id
    prefix: u32, // upper digits of the key that is looked for
    left: vec2<u32>, // what those of the keys below are to count or weigh together
}

// What one workgroup finds out about its columns of a row.
struct Tile {
    top: u32, // the largest key
    is_bad: u32, // 1: a logit is not finite
    ties: u32, // tokens at the cut
    low: u32, // weight of the tokens above the cut
    high: u32,
}

// The key of the score with these bits.
fn key_of(bits: u32) -> u32 {
    if bits == SIGN {
        return SIGN; // -0 is 0
    }
    return bits ^ select(SIGN, ALL, bits >= SIGN);
}

fn score_of(key: u32) -> f32 {
    return bitcast<f32>(key ^ select(ALL, SIGN, key >= SIGN));
}

fn add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + u32(low < a.x));
}

fn less(a: vec2<u32>, b: vec2<u32>) -> bool {
    return a.y < b.y || (a.y == b.y && a.x < b.x);
}

// a - b, which is not more than a.
fn minus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return vec2<u32>(a.x - b.x, a.y - b.y - u32(a.x < b.x));
}

fn product(a: u32, b: u32) -> vec2<u32> {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let left = (a >> 16u) * (b & 0xffffu);
    let right = (a & 0xffffu) * (b >> 16u);
    let middle = (low >> 16u) + (left & 0xffffu) + (right & 0xffffu);
    let high = (a >> 16u) * (b >> 16u) + (left >> 16u) + (right >> 16u) + (middle >> 16u);
    return vec2<u32>((middle << 16u) | (low & 0xffffu), high);
}

fn times(a: vec2<u32>, n: u32) -> vec2<u32> {
    return add(product(a.x, n), vec2<u32>(0u, a.y * n));
}

// The share of `a` that is `part` in 2^-32.
fn share(a: vec2<u32>, part: u32) -> vec2<u32> {
    return add(product(a.y, part), vec2<u32>(product(a.x, part).y, 0u));
}

// e^x for x from -64 to 0, as the CPU's vectors compute it.
fn exponential(x: f32) -> f32 {
    let n = round(x * 1.44269504);
    let r = x - n * 0.693359375 - n * -2.12194440e-4;
    var p = 1.9875691e-4;
    p = p * r + 1.3982e-3;
    p = p * r + 8.333452e-3;
    p = p * r + 4.1665796e-2;
    p = p * r + 0.16666665;
    p = p * r + 0.5;
    return (p * (r * r) + r + 1.0) * bitcast<f32>(u32(i32(n) + 127) << 23u);
}

// What a token weighs beside the likeliest, which weighs 1.
fn weight(key: u32, top: u32, temperature: f32) -> vec2<u32> {
    if key == top {
        return vec2<u32>(0u, 256u);
    }
    let score = score_of(key);
    let most = score_of(top);
    // Halves cannot overflow; beyond e^-64 nothing is left of a weight.
    if 0.5 * score - 0.5 * most <= -32.0 * temperature {
        return vec2<u32>(0u, 0u);
    }
    let scaled = min(exponential((score - most) / temperature), 1.0) * 256.0;
    let high = floor(scaled);
    return vec2<u32>(u32((scaled - high) * 4294967296.0), u32(high));
}

// The smallest key that is kept, and how many tokens of it.
fn cut_of(state: State) -> vec2<u32> {
    if state.lowest > state.cut {
        return vec2<u32>(state.lowest, ALL);
    }
    return vec2<u32>(state.cut, state.ties);
}
