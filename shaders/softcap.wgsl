// Y[t, c] = cap * tanh(Y[t, c] / cap), in place.
// Workgroup: 64 threads, one value each, no barrier.
// Dispatch: (groups of columns up to 32768, tokens, further groups).
const THREADS: u32 = 64u;
// tanh is 1 to within f32 beyond it; some implementations overflow far beyond it.
const TANH_CAP: f32 = 15.0;

struct Params {
    cols: u32,
    cap: f32,
}

struct Batch {
    // Rows in use.
    tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params; // (2) words
@group(0) @binding(1) var<uniform> batch: Batch; // (1) word
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // (tokens, cols)

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let col = (group.z * groups.x + group.x) * THREADS + thread;
    if col >= params.cols || group.y >= batch.tokens {
        return;
    }
    let at = group.y * params.cols + col;
    y[at] = params.cap * tanh(clamp(y[at] / params.cap, -TANH_CAP, TANH_CAP));
}
