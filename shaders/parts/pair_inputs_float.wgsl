// F32 activations of a block of 32, in pairs as those of weights.
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, blocks, 8)

fn inputs_pair(block: u32, j: u32, scale: f32) -> Pair {
    return Pair(x[8u * block + j], x[8u * block + 4u + j]);
}

fn scale_of_inputs(block: u32) -> f32 {
    return 1.0;
}
