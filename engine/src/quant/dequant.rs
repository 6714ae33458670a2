//! Turns stored blocks into f32: the definition of what every format's bytes mean.

use half::{bf16, f16};

use super::groups::{
    MAX_BLOCK_LEN, MAX_GROUPS, group_len, groups_per_block, has_offset, unpack, zero_point,
};
use super::{Encoding, Format};

/// Writes the weights stored in `bytes` to `out`, bit for bit as Python's `gguf` 0.19 does.
///
/// # Panics
/// When `bytes` is not exactly the blocks that `out.len()` weights take.
pub fn dequantize(format: Format, bytes: &[u8], out: &mut [f32] /* (weights) */) {
    assert_eq!(
        out.len() % format.block_len(),
        0,
        "a row is a whole number of blocks"
    );
    assert_eq!(
        bytes.len(),
        format.row_bytes(out.len()),
        "one block of bytes per block of weights"
    );
    match format.encoding() {
        Encoding::F32 => {
            for (weight, raw) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *weight = f32::from_le_bytes(*raw);
            }
        }
        Encoding::F16 => {
            for (weight, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *weight = f16::from_le_bytes(*raw).to_f32();
            }
        }
        Encoding::Bf16 => {
            for (weight, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *weight = bf16::from_le_bytes(*raw).to_f32();
            }
        }
        Encoding::Blocks => {
            let blocks = bytes.chunks_exact(format.block_bytes());
            for (weights, block) in out.chunks_exact_mut(format.block_len()).zip(blocks) {
                dequantize_block(format, block, weights);
            }
        }
    }
}

fn dequantize_block(format: Format, block: &[u8], weights: &mut [f32]) {
    let mut codes = [0; MAX_BLOCK_LEN];
    let mut scales = [0.0; MAX_GROUPS];
    let mut offsets = [0.0; MAX_GROUPS];
    let codes = &mut codes[..weights.len()];
    let scales = &mut scales[..groups_per_block(format)];
    let offsets = &mut offsets[..scales.len()];
    unpack(format, block, codes, scales, offsets);
    let group_len = group_len(format);
    let zero_point = zero_point(format);
    let groups = weights
        .chunks_exact_mut(group_len)
        .zip(codes.chunks_exact(group_len))
        .zip(scales.iter().zip(offsets.iter()));
    for ((weights, codes), (scale, offset)) in groups {
        let pairs = weights.iter_mut().zip(codes);
        if has_offset(format) {
            pairs.for_each(|(weight, code)| *weight = scale * f32::from(*code) + offset);
        } else {
            pairs.for_each(|(weight, code)| *weight = scale * f32::from(code - zero_point));
        }
    }
}
