// out[t, h] = sum over p of softmax_p(score(q[t, h] . key[p, h / share])) * value[p, h / share], where
// p runs over what the row sees and share = heads / kv_heads query heads read one key-value head.
// Workgroup: 64 threads share one head of one row. Positions stream through in chunks of 64: one to
// a thread for the scores, then channels are dealt out for the mix; what was mixed before is scaled
// down when a higher score appears. Three barriers to a chunk; no buffer as long as the context.
// Dispatch: (heads, tokens).
const THREADS: u32 = 64u;
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

var<workgroup> scores: array<f32, THREADS>;
var<workgroup> slots: array<u32, THREADS>;
var<workgroup> shares: array<vec4<f32>, THREADS>;

fn capped(score: f32) -> f32 {
    if params.softcap == 0.0 {
        return score;
    }
    return params.softcap * tanh(clamp(score / params.softcap, -TANH_CAP, TANH_CAP));
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let head = group.x;
    let token = group.y;
    let quads = params.quads;
    let kv_head = head / (params.heads / params.kv_heads);
    let query = token * params.q_stride + params.q_start + head * quads;
    let row = rows[token];
    var first = 0u;
    if params.window != 0u && row.position + 1u > params.window {
        first = row.position + 1u - params.window;
    }
    // Threads mix quads of channels, as many positions at a time as there are threads for.
    let turns = THREADS / quads;
    let turn = thread / quads;
    let channel = thread % quads;
    var highest = LOWEST;
    var total = 0.0;
    var mix = vec4<f32>(0.0);
    for (var start = first; start < row.end; start += THREADS) {
        let count = min(row.end - start, THREADS);
        var score = LOWEST;
        if thread < count {
            let slot = slot_of(row, start + thread) * params.kv_heads + kv_head;
            var sum = 0.0;
            for (var i = 0u; i < quads; i++) {
                sum += dot(q[query + i], key(slot, quads, i));
            }
            score = capped(sum * params.scale);
            slots[thread] = slot;
        }
        scores[thread] = score;
        workgroupBarrier();
        var higher = highest;
        for (var i = 0u; i < count; i++) {
            higher = max(higher, scores[i]);
        }
        // Every thread has read the scores before the weights take their place.
        workgroupBarrier();
        scores[thread] = exp(score - higher);
        workgroupBarrier();
        let kept = exp(highest - higher);
        highest = higher;
        total *= kept;
        mix *= kept;
        for (var i = 0u; i < count; i++) {
            total += scores[i];
        }
        if turn < turns {
            for (var i = turn; i < count; i += turns) {
                mix += scores[i] * value(slots[i], quads, channel);
            }
        }
        workgroupBarrier();
    }
    shares[thread] = mix;
    workgroupBarrier();
    if thread < quads {
        var sum = vec4<f32>(0.0);
        for (var i = 0u; i < turns; i++) {
            sum += shares[i * quads + thread];
        }
        mixed[(token * params.heads + head) * quads + thread] = sum / total;
    }
}
