// Products of four weights of 16 bits with f32 activations.
override BRAIN: bool = false; // true: BF16, the upper half of an f32; false: F16

@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, blocks)
@group(0) @binding(4) var<storage, read> weights: array<vec2<u32>>; // (rows, blocks), two halves to a word

struct Weights {
    values: vec4<f32>,
}

struct Inputs {
    values: vec4<f32>,
}

fn two_halves(word: u32) -> vec2<f32> {
    if BRAIN {
        return bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
    }
    return unpack2x16float(word);
}

fn weights_at(block: u32) -> Weights {
    let pair = weights[block];
    return Weights(vec4<f32>(two_halves(pair.x), two_halves(pair.y)));
}

fn inputs_at(block: u32) -> Inputs {
    return Inputs(x[block]);
}

fn product(w: Weights, x: Inputs) -> f32 {
    return dot(w.values, x.values);
}
