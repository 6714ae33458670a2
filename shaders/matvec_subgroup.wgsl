// y[t, r] = sum over c of W[r, c] * x[t, c]: few tokens, one subgroup to a row, no barrier.
// Workgroup: 64 threads; the subgroups of all workgroups take the rows in turns, so that any
// subgroup size will do. Dispatch: (groups of rows, tokens).

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    let token = group.y;
    let subgroups = max(THREADS / lanes, 1u);
    // The same number of turns for everybody, whatever the size of a subgroup: what is past the last
    // row costs nothing and adds nothing.
    let turns = (params.rows + groups.x - 1u) / groups.x;
    for (var turn = 0u; turn < turns; turn++) {
        let row = (turn * groups.x + group.x) * subgroups + thread / lanes;
        var sums = vec2<f32>(0.0);
        if row < params.rows {
            for (var i = lane; i < params.blocks; i += lanes) {
                let inputs = inputs_at(token * params.blocks + i);
                sums.x += product(weights_at(row * params.blocks + i), inputs);
                if GATE != 0u {
                    sums.y += product(weights_at((row + params.gate_rows) * params.blocks + i), inputs);
                }
            }
        }
        let sum = subgroupAdd(sums.x);
        let factor = subgroupAdd(sums.y);
        if lane == 0u {
            store(token, row, sum, factor);
        }
    }
}
