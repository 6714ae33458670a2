// y[t, r] = sum over c of W[r, c] * x[t, c]: few tokens, SPAN threads to a row, so that neighbours
// read neighbouring weights; their sums meet in a tree.
// Workgroup: 64 threads for 64 / SPAN rows, log2(SPAN) + 1 barriers.
// Dispatch: (groups of rows up to 32768, tokens, further groups).
override SPAN: u32 = 16u; // threads that share a row; a power of two

var<workgroup> partial: array<vec2<f32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let lane = thread % SPAN;
    let row = (group.z * groups.x + group.x) * (THREADS / SPAN) + thread / SPAN;
    // Nobody may leave before the barriers: past the last row the last one is read again.
    let source = min(row, params.rows - 1u);
    let token = group.y;
    var sums = vec2<f32>(0.0);
    for (var i = lane; i < params.blocks; i += SPAN) {
        let inputs = inputs_at(token * params.blocks + i);
        sums.x += product(weights_at(source * params.blocks + i), inputs);
        if GATE != 0u {
            sums.y += product(weights_at((source + params.gate_rows) * params.blocks + i), inputs);
        }
    }
    partial[thread] = sums;
    for (var step = SPAN / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step {
            partial[thread] += partial[thread + step];
        }
    }
    if lane == 0u {
        store(token, row, partial[thread].x, partial[thread].y);
    }
}
