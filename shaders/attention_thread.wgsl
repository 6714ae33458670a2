// out[t, h] = sum over p of softmax_p(score(q[t, h] . key[p, h / share])) * value[p, h / share], where
// p runs over what the row sees and share = heads / kv_heads query heads read one key-value head.
// Workgroup: 64 threads, one head of one row each and no barrier: for adapters on which barriers are
// dear. What was mixed is scaled down when a higher score appears.
// Dispatch: (heads * tokens / 64), rounded up.
const THREADS: u32 = 64u;
const MAX_QUADS: u32 = 64u;
// Below every finite score, and finite: WGSL may assume that infinities do not occur.
const LOWEST: f32 = -3.4028234e38;
// tanh is 1 to within f32 beyond it; some implementations overflow far beyond it.
const TANH_CAP: f32 = 15.0;

struct Params {
    heads: u32,
    kv_heads: u32,
    // Vectors of four channels in a head; at most 64.
    quads: u32,
    // Where the queries of a row begin, and how far it is to the next row, in quads.
    q_start: u32,
    q_stride: u32,
    // Positions that a row sees at most, its own included; 0: no window.
    window: u32,
    // Products are multiplied by this.
    scale: f32,
    // Scores become cap * tanh(score / cap); 0: they stay.
    softcap: f32,
}

@group(0) @binding(0) var<uniform> params: Params; // (8) words
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>; // (tokens, q_stride)
@group(0) @binding(7) var<storage, read_write> mixed: array<vec4<f32>>; // (tokens, heads, quads)

fn capped(score: f32) -> f32 {
    if params.softcap == 0.0 {
        return score;
    }
    return params.softcap * tanh(clamp(score / params.softcap, -TANH_CAP, TANH_CAP));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let head = id.x % params.heads;
    let token = id.x / params.heads;
    if token >= batch.tokens {
        return;
    }
    let quads = min(params.quads, MAX_QUADS);
    let kv_head = head / (params.heads / params.kv_heads);
    let query = token * params.q_stride + params.q_start + head * quads;
    let row = rows[token];
    var first = 0u;
    if params.window != 0u && row.position + 1u > params.window {
        first = row.position + 1u - params.window;
    }
    var highest = LOWEST;
    var total = 0.0;
    var mix: array<vec4<f32>, MAX_QUADS>;
    for (var p = first; p < row.end; p++) {
        let slot = slot_of(row, p) * params.kv_heads + kv_head;
        var sum = 0.0;
        for (var i = 0u; i < quads; i++) {
            sum += dot(q[query + i], key(slot, quads, i));
        }
        let score = capped(sum * params.scale);
        if score > highest {
            let kept = exp(highest - score);
            highest = score;
            total *= kept;
            for (var i = 0u; i < quads; i++) {
                mix[i] *= kept;
            }
        }
        let weight = exp(score - highest);
        total += weight;
        for (var i = 0u; i < quads; i++) {
            mix[i] += weight * value(slot, quads, i);
        }
    }
    for (var i = 0u; i < quads; i++) {
        mixed[(token * params.heads + head) * quads + i] = mix[i] / total;
    }
}
