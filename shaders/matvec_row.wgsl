// y[t, r] = sum over c of W[r, c] * x[t, c]: few tokens, one thread to a row.
// Workgroup: 64 threads, one row each and no barrier: barriers cost 18 to 27 times on CPU-backed
// adapters. Dispatch: (rows / 64, tokens), rounded up.

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    let token = id.y;
    if row >= params.rows || token >= batch.tokens {
        return;
    }
    var sum = 0.0;
    var factor = 0.0;
    for (var i = 0u; i < params.blocks; i++) {
        let inputs = inputs_at(token * params.blocks + i);
        sum += product(weights_at(row * params.blocks + i), inputs);
        if GATE != 0u {
            factor += product(weights_at((row + params.gate_rows) * params.blocks + i), inputs);
        }
    }
    store(token, row, sum, factor);
}
