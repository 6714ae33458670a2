// Products of blocks of 32 coded weights with f32 activations.
override OFFSETS: bool = false; // whether weights have an offset besides their scale

@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, blocks, 8)

struct Weights {
    low: mat4x4<f32>, // columns 0..16
    high: mat4x4<f32>, // columns 16..32
    scales: vec4<f32>,
}

struct Inputs {
    low: mat4x4<f32>,
    high: mat4x4<f32>,
}

fn weights_at(block: u32) -> Weights {
    let q = codes_at(block);
    return Weights(four_values(q.low), four_values(q.high), block_scales(block, params.supers_at));
}

fn inputs_at(block: u32) -> Inputs {
    let at = 8u * block;
    return Inputs(
        mat4x4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]),
        mat4x4<f32>(x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]),
    );
}

fn dots(a: mat4x4<f32>, b: mat4x4<f32>) -> f32 {
    return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3]);
}

fn total(a: mat4x4<f32>) -> f32 {
    return dot(a[0] + a[1] + a[2] + a[3], vec4<f32>(1.0));
}

fn product(w: Weights, x: Inputs) -> f32 {
    let sum = w.scales.x * dots(w.low, x.low) + w.scales.z * dots(w.high, x.high);
    if OFFSETS {
        return sum + w.scales.y * total(x.low) + w.scales.w * total(x.high);
    }
    return sum;
}
