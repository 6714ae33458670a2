// out[t, h] = sum over p <= start + t of softmax_p(scale * q[t, h] . k[p, h / share]) * v[p, h / share],
// where share = heads / kv_heads query heads read one key-value head.
// Workgroup: 64 threads share one head of one token: positions are dealt out for the scores, then
// columns for the mix; three barriers whatever the length. Scores live in a buffer because 16 KiB of
// workgroup memory would cap the context at 4096. Dispatch: (heads, tokens).
const WORKGROUP: u32 = 64u;
// Below every finite score, and finite: WGSL may assume that infinities do not occur.
const LOWEST: f32 = -3.4028234e38;

struct Params {
    heads: u32,
    kv_heads: u32,
    // Columns of a head; a multiple of four.
    head_dim: u32,
    // Positions in the cache.
    context: u32,
    // 1 / sqrt(head_dim).
    scale: f32,
}

struct Slice {
    // Position of the first token of this slice in the sequence.
    start: u32,
    // Tokens in this slice.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (5) words
@group(0) @binding(1) var<uniform> slice: Slice; // (2) words
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>; // (tokens, heads, head_dim / 4)
@group(0) @binding(3) var<storage, read> k_cache: array<vec4<f32>>; // (context, kv_heads, head_dim / 4)
@group(0) @binding(4) var<storage, read> v_cache: array<f32>; // (context, kv_heads, head_dim)
@group(0) @binding(5) var<storage, read_write> scores: array<f32>; // (tokens, heads, context)
@group(0) @binding(6) var<storage, read_write> mixed: array<f32>; // (tokens, heads, head_dim)

var<workgroup> partial: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let head = group.x;
    let token = group.y;
    if head >= params.heads || token >= slice.tokens || slice.start + token >= params.context {
        return;
    }
    let length = slice.start + token + 1u;
    let kv_head = head / (params.heads / params.kv_heads);
    let quads = params.head_dim / 4u;
    let query = (token * params.heads + head) * quads;
    let row = (token * params.heads + head) * params.context;

    var highest = LOWEST;
    for (var p = thread; p < length; p += WORKGROUP) {
        let key = (p * params.kv_heads + kv_head) * quads;
        var score = 0.0;
        for (var i = 0u; i < quads; i++) {
            score += dot(q[query + i], k_cache[key + i]);
        }
        score *= params.scale;
        scores[row + p] = score;
        highest = max(highest, score);
    }
    partial[thread] = highest;
    workgroupBarrier();
    for (var i = 0u; i < WORKGROUP; i++) {
        highest = max(highest, partial[i]);
    }
    // Every thread has read the maxima before the sums take their place.
    workgroupBarrier();

    var weight_sum = 0.0;
    for (var p = thread; p < length; p += WORKGROUP) {
        let weight = exp(scores[row + p] - highest);
        scores[row + p] = weight;
        weight_sum += weight;
    }
    partial[thread] = weight_sum;
    storageBarrier();
    workgroupBarrier();

    var total = 0.0;
    for (var i = 0u; i < WORKGROUP; i++) {
        total += partial[i];
    }
    for (var c = thread; c < params.head_dim; c += WORKGROUP) {
        var sum = 0.0;
        for (var p = 0u; p < length; p++) {
            sum += scores[row + p] * v_cache[(p * params.kv_heads + kv_head) * params.head_dim + c];
        }
        mixed[(token * params.heads + head) * params.head_dim + c] = sum / total;
    }
}
