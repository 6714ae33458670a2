// y[t, r] = sum over c of W[r, c] * x[t, c]: few tokens, one thread to four rows, so that what is
// read of x serves four times. Not for gates.
// Workgroup: 64 threads, four rows each, no barrier. Dispatch: (rows / 256, tokens), rounded up.

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = 4u * id.x;
    let token = id.y;
    if row >= params.rows || token >= batch.tokens {
        return;
    }
    // Past the last row the last one is read again, and store drops the sum.
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.rows - 1u));
    let first = rows * params.blocks;
    var sums = vec4<f32>(0.0);
    for (var i = 0u; i < params.blocks; i++) {
        let inputs = inputs_at(token * params.blocks + i);
        sums += vec4<f32>(
            product(weights_at(first.x + i), inputs),
            product(weights_at(first.y + i), inputs),
            product(weights_at(first.z + i), inputs),
            product(weights_at(first.w + i), inputs),
        );
    }
    store(token, row, sums.x, 0.0);
    store(token, row + 1u, sums.y, 0.0);
    store(token, row + 2u, sums.z, 0.0);
    store(token, row + 3u, sums.w, 0.0);
}
