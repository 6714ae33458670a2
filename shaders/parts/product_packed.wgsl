// Products of blocks of 32 coded weights with activations in signed bytes: exact integer sums, then
// one multiplication by the scale of either side.
@group(0) @binding(3) var<storage, read> x: array<vec4<u32>>; // (tokens, blocks, 3), as quantize_rows makes it

struct Weights {
    low: vec4<u32>, // columns 0..16, a signed byte each
    high: vec4<u32>, // columns 16..32
    scales: vec4<f32>,
}

struct Inputs {
    low: vec4<u32>,
    high: vec4<u32>,
    // Scale, sum of the codes of columns 0..16, of columns 16..32.
    scale: vec4<f32>,
}

fn weights_at(block: u32) -> Weights {
    let q = codes_at(block);
    return Weights(q.low, q.high, block_scales(block, params.supers_at));
}

fn inputs_at(block: u32) -> Inputs {
    let at = 3u * block;
    return Inputs(x[at], x[at + 1u], bitcast<vec4<f32>>(x[at + 2u]));
}

fn dots(a: vec4<u32>, b: vec4<u32>) -> f32 {
    return f32(
        dot4I8Packed(a.x, b.x) + dot4I8Packed(a.y, b.y) + dot4I8Packed(a.z, b.z) + dot4I8Packed(a.w, b.w),
    );
}

fn product(w: Weights, x: Inputs) -> f32 {
    // Below 2^24, so that zeros are taken away without rounding.
    let low = dots(w.low, x.low) - ZERO * x.scale.y;
    let high = dots(w.high, x.high) - ZERO * x.scale.z;
    let sum = w.scales.x * low + w.scales.z * high;
    return x.scale.x * (sum + w.scales.y * x.scale.y + w.scales.w * x.scale.z);
}
