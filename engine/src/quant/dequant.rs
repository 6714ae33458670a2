//! Turns stored blocks into f32: the definition of what every format's bytes mean.

use half::f16;

use super::{Format, Q4_0_BLOCK_BYTES, Q8_0_BLOCK_BYTES, QUANT_BLOCK_LEN};

/// Writes the weights stored in `bytes` to `out`.
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
    match format {
        Format::F32 => {
            for (weight, raw) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *weight = f32::from_le_bytes(*raw);
            }
        }
        Format::F16 => {
            for (weight, raw) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *weight = f16::from_le_bytes(*raw).to_f32();
            }
        }
        Format::Q4_0 => {
            let blocks = bytes.as_chunks::<Q4_0_BLOCK_BYTES>().0;
            for (weights, block) in out
                .as_chunks_mut::<QUANT_BLOCK_LEN>()
                .0
                .iter_mut()
                .zip(blocks)
            {
                dequantize_q4_0(block, weights);
            }
        }
        Format::Q8_0 => {
            let blocks = bytes.as_chunks::<Q8_0_BLOCK_BYTES>().0;
            for (weights, block) in out
                .as_chunks_mut::<QUANT_BLOCK_LEN>()
                .0
                .iter_mut()
                .zip(blocks)
            {
                dequantize_q8_0(block, weights);
            }
        }
    }
}

/// The f16 that opens a quantised block.
pub(crate) fn block_scale(block: &[u8]) -> f32 {
    f16::from_le_bytes([block[0], block[1]]).to_f32()
}

fn dequantize_q4_0(block: &[u8; Q4_0_BLOCK_BYTES], weights: &mut [f32; QUANT_BLOCK_LEN]) {
    let scale = block_scale(block);
    for (i, byte) in block[2..].iter().enumerate() {
        weights[i] = scale * (f32::from(byte & 0x0f) - 8.0);
        weights[i + QUANT_BLOCK_LEN / 2] = scale * (f32::from(byte >> 4) - 8.0);
    }
}

fn dequantize_q8_0(block: &[u8; Q8_0_BLOCK_BYTES], weights: &mut [f32; QUANT_BLOCK_LEN]) {
    let scale = block_scale(block);
    for (weight, byte) in weights.iter_mut().zip(&block[2..]) {
        *weight = scale * f32::from(byte.cast_signed());
    }
}
