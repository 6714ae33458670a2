// Y[t, r] = sum over c of W[r, c] * X[t, c]: many tokens, two rows and four tokens to a thread, so
// that what is read of W serves four times and what is read of X twice. Not for gates.
// Workgroup: 64 threads, no barrier: for adapters on which barriers are dear.
// Dispatch: (rows / 128, tokens / 4), rounded up.

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = 2u * id.x;
    let first = 4u * id.y;
    if row >= params.rows || first >= batch.tokens {
        return;
    }
    // Past the last row or token the last one is read again, and store drops the sum.
    let top = row * params.blocks;
    let bottom = min(row + 1u, params.rows - 1u) * params.blocks;
    let tokens = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(batch.tokens - 1u));
    let start = tokens * params.blocks;
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    for (var i = 0u; i < params.blocks; i++) {
        let wa = weights_at(top + i);
        let wb = weights_at(bottom + i);
        let x0 = inputs_at(start.x + i);
        let x1 = inputs_at(start.y + i);
        let x2 = inputs_at(start.z + i);
        let x3 = inputs_at(start.w + i);
        a += vec4<f32>(product(wa, x0), product(wa, x1), product(wa, x2), product(wa, x3));
        b += vec4<f32>(product(wb, x0), product(wb, x1), product(wb, x2), product(wb, x3));
    }
    store(first, row, a.x, 0.0);
    store(first + 1u, row, a.y, 0.0);
    store(first + 2u, row, a.z, 0.0);
    store(first + 3u, row, a.w, 0.0);
    store(first, row + 1u, b.x, 0.0);
    store(first + 1u, row + 1u, b.y, 0.0);
    store(first + 2u, row + 1u, b.z, 0.0);
    store(first + 3u, row + 1u, b.w, 0.0);
}
