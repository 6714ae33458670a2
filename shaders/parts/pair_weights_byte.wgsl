// Weights of a block of 32 in 32 bytes: pair j is columns 4 j .. 4 j + 4 and those 16 further on.
const PAIRS: u32 = 4u;

@group(0) @binding(4) var<storage, read> codes: array<u32>; // (rows, cols / 4), four signed bytes to a word

fn weights_pair(block: u32, j: u32, scales: vec4<f32>) -> Pair {
    return Pair(
        scales.x * (bytes(codes[8u * block + j]) - ZERO) + scales.y,
        scales.z * (bytes(codes[8u * block + 4u + j]) - ZERO) + scales.w,
    );
}

fn scales_of_weights(block: u32) -> vec4<f32> {
    return block_scales(block, params.supers_at);
}
