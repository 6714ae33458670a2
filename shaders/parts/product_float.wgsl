// Products of four f32 weights with f32 activations.
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, blocks)
@group(0) @binding(4) var<storage, read> weights: array<vec4<f32>>; // (rows, blocks)

struct Weights {
    values: vec4<f32>,
}

struct Inputs {
    values: vec4<f32>,
}

fn weights_at(block: u32) -> Weights {
    return Weights(weights[block]);
}

fn inputs_at(block: u32) -> Inputs {
    return Inputs(x[block]);
}

fn product(w: Weights, x: Inputs) -> f32 {
    return dot(w.values, x.values);
}
