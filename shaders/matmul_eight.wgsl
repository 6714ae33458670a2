// Y[t, r] = sum over c of W[r, c] * X[t, c]: many tokens, eight rows and eight tokens to a thread, so
// that what is read and decoded of either side serves eight times. Not for gates.
// Workgroup: 64 threads, no barrier: for adapters that are a CPU, on which a read or a product of
// packed bytes costs as much as many products of floats, and a barrier far more.
// Dispatch: (rows / 512, tokens / 8), rounded up.

fn four_rows(a: Pair, b: Pair, c: Pair, d: Pair, x: Pair) -> vec4<f32> {
    return vec4<f32>(
        dot(a.low, x.low) + dot(a.high, x.high),
        dot(b.low, x.low) + dot(b.high, x.high),
        dot(c.low, x.low) + dot(c.high, x.high),
        dot(d.low, x.low) + dot(d.high, x.high),
    );
}

fn store_token(token: u32, row: u32, upper: vec4<f32>, lower: vec4<f32>) {
    store(token, row, upper.x, 0.0);
    store(token, row + 1u, upper.y, 0.0);
    store(token, row + 2u, upper.z, 0.0);
    store(token, row + 3u, upper.w, 0.0);
    store(token, row + 4u, lower.x, 0.0);
    store(token, row + 5u, lower.y, 0.0);
    store(token, row + 6u, lower.z, 0.0);
    store(token, row + 7u, lower.w, 0.0);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = 8u * id.x;
    let first = 8u * id.y;
    if row >= params.rows || first >= batch.tokens {
        return;
    }
    // Past the last row or token the last one is read again, and store drops the sum.
    let four = vec4<u32>(0u, 1u, 2u, 3u);
    let upper = min(vec4<u32>(row) + four, vec4<u32>(params.rows - 1u)) * params.blocks;
    let lower = min(vec4<u32>(row + 4u) + four, vec4<u32>(params.rows - 1u)) * params.blocks;
    let near = min(vec4<u32>(first) + four, vec4<u32>(batch.tokens - 1u)) * params.blocks;
    let far = min(vec4<u32>(first + 4u) + four, vec4<u32>(batch.tokens - 1u)) * params.blocks;
    var a0 = vec4<f32>(0.0);
    var a1 = vec4<f32>(0.0);
    var a2 = vec4<f32>(0.0);
    var a3 = vec4<f32>(0.0);
    var a4 = vec4<f32>(0.0);
    var a5 = vec4<f32>(0.0);
    var a6 = vec4<f32>(0.0);
    var a7 = vec4<f32>(0.0);
    var b0 = vec4<f32>(0.0);
    var b1 = vec4<f32>(0.0);
    var b2 = vec4<f32>(0.0);
    var b3 = vec4<f32>(0.0);
    var b4 = vec4<f32>(0.0);
    var b5 = vec4<f32>(0.0);
    var b6 = vec4<f32>(0.0);
    var b7 = vec4<f32>(0.0);
    for (var i = 0u; i < params.blocks; i++) {
        let s0 = scales_of_weights(upper.x + i);
        let s1 = scales_of_weights(upper.y + i);
        let s2 = scales_of_weights(upper.z + i);
        let s3 = scales_of_weights(upper.w + i);
        let s4 = scales_of_weights(lower.x + i);
        let s5 = scales_of_weights(lower.y + i);
        let s6 = scales_of_weights(lower.z + i);
        let s7 = scales_of_weights(lower.w + i);
        let t0 = scale_of_inputs(near.x + i);
        let t1 = scale_of_inputs(near.y + i);
        let t2 = scale_of_inputs(near.z + i);
        let t3 = scale_of_inputs(near.w + i);
        let t4 = scale_of_inputs(far.x + i);
        let t5 = scale_of_inputs(far.y + i);
        let t6 = scale_of_inputs(far.z + i);
        let t7 = scale_of_inputs(far.w + i);
        for (var j = 0u; j < PAIRS; j++) {
            let w0 = weights_pair(upper.x + i, j, s0);
            let w1 = weights_pair(upper.y + i, j, s1);
            let w2 = weights_pair(upper.z + i, j, s2);
            let w3 = weights_pair(upper.w + i, j, s3);
            let w4 = weights_pair(lower.x + i, j, s4);
            let w5 = weights_pair(lower.y + i, j, s5);
            let w6 = weights_pair(lower.z + i, j, s6);
            let w7 = weights_pair(lower.w + i, j, s7);
            let x0 = inputs_pair(near.x + i, j, t0);
            a0 += four_rows(w0, w1, w2, w3, x0);
            b0 += four_rows(w4, w5, w6, w7, x0);
            let x1 = inputs_pair(near.y + i, j, t1);
            a1 += four_rows(w0, w1, w2, w3, x1);
            b1 += four_rows(w4, w5, w6, w7, x1);
            let x2 = inputs_pair(near.z + i, j, t2);
            a2 += four_rows(w0, w1, w2, w3, x2);
            b2 += four_rows(w4, w5, w6, w7, x2);
            let x3 = inputs_pair(near.w + i, j, t3);
            a3 += four_rows(w0, w1, w2, w3, x3);
            b3 += four_rows(w4, w5, w6, w7, x3);
            let x4 = inputs_pair(far.x + i, j, t4);
            a4 += four_rows(w0, w1, w2, w3, x4);
            b4 += four_rows(w4, w5, w6, w7, x4);
            let x5 = inputs_pair(far.y + i, j, t5);
            a5 += four_rows(w0, w1, w2, w3, x5);
            b5 += four_rows(w4, w5, w6, w7, x5);
            let x6 = inputs_pair(far.z + i, j, t6);
            a6 += four_rows(w0, w1, w2, w3, x6);
            b6 += four_rows(w4, w5, w6, w7, x6);
            let x7 = inputs_pair(far.w + i, j, t7);
            a7 += four_rows(w0, w1, w2, w3, x7);
            b7 += four_rows(w4, w5, w6, w7, x7);
        }
    }
    store_token(first, row, a0, b0);
    store_token(first + 1u, row, a1, b1);
    store_token(first + 2u, row, a2, b2);
    store_token(first + 3u, row, a3, b3);
    store_token(first + 4u, row, a4, b4);
    store_token(first + 5u, row, a5, b5);
    store_token(first + 6u, row, a6, b6);
    store_token(first + 7u, row, a7, b7);
}
