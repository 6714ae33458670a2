// Weights of a block of 32 in 16 bytes: pair j is columns 4 j .. 4 j + 4 and those 16 further on.
const PAIRS: u32 = 4u;

@group(0) @binding(4) var<storage, read> codes: array<u32>; // (rows, cols / 8), eight nibbles to a word

fn weights_pair(block: u32, j: u32, scales: vec4<f32>) -> Pair {
    let q = codes[4u * block + j];
    return Pair(
        scales.x * (bytes(q & 0x0f0f0f0fu) - ZERO) + scales.y,
        scales.z * (bytes((q >> 4u) & 0x0f0f0f0fu) - ZERO) + scales.w,
    );
}

fn scales_of_weights(block: u32) -> vec4<f32> {
    return block_scales(block, params.supers_at);
}
