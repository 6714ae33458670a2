// Four f32 weights and four f32 activations, and nothing beside them.
const PAIRS: u32 = 1u;

@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, blocks)
@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>; // (rows, blocks)

fn weights_pair(block: u32, j: u32, scales: vec4<f32>) -> Pair {
    return Pair(weights[block], vec4<f32>(0.0));
}

fn inputs_pair(block: u32, j: u32, scale: f32) -> Pair {
    return Pair(x[block], vec4<f32>(0.0));
}

fn scales_of_weights(block: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn scale_of_inputs(block: u32) -> f32 {
    return 1.0;
}
