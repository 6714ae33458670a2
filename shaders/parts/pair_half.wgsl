// Four weights of 16 bits and four f32 activations, and nothing beside them.
override BRAIN: bool = false; // true: BF16, the upper half of an f32; false: F16

const PAIRS: u32 = 1u;

@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (tokens, blocks)
@group(0) @binding(4) var<storage, read> weights: array<vec2<u32>>; // (rows, blocks), two halves to a word

fn two_halves(word: u32) -> vec2<f32> {
    if BRAIN {
        return bitcast<vec2<f32>>(vec2<u32>(word << 16u, word & 0xffff0000u));
    }
    return unpack2x16float(word);
}

fn weights_pair(block: u32, j: u32, scales: vec4<f32>) -> Pair {
    let pair = weights[block];
    return Pair(vec4<f32>(two_halves(pair.x), two_halves(pair.y)), vec4<f32>(0.0));
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
