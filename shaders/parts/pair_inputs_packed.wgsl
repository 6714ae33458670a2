// Activations of a block of 32 in signed bytes with a scale, in pairs as those of weights.
@group(0) @binding(3) var<storage, read> x: array<u32>; // (tokens, blocks, 12), as quantize_rows makes it

fn inputs_pair(block: u32, j: u32, scale: f32) -> Pair {
    return Pair(scale * bytes(x[12u * block + j]), scale * bytes(x[12u * block + 4u + j]));
}

fn scale_of_inputs(block: u32) -> f32 {
    return bitcast<f32>(x[12u * block + 8u]);
}
