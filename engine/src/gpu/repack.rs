//! How GGUF blocks are laid out for the kernels: quants in one buffer, scales in another.
//!
//! A GGUF block is 34 or 18 bytes, so that most of its words straddle what a shader can address.
//! Split, every quant is in an aligned vector and every scale in half a word; no byte is changed.

use super::plan::no_kernel;
use crate::quant::Format;

/// bytes; a block's f16 scale, which comes first in it.
pub(super) const SCALE_BYTES: usize = 2;

/// bytes; WebGPU writes whole words.
const WORD_BYTES: usize = 4;

/// The bytes of whole blocks, split for the GPU; each part is a whole number of words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// Weights or quants, in the order of the blocks.
    pub(super) quants: Vec<u8>,
    /// F16 scales, in the order of the blocks; empty for the float formats.
    pub(super) scales: Vec<u8>,
}

/// True for the formats that the kernels read.
pub(super) fn has_kernels(format: Format) -> bool {
    matches!(
        format,
        Format::F32 | Format::F16 | Format::Q4_0 | Format::Q8_0
    )
}

/// Bytes of a block that go to the quants; the rest is its scale.
pub(super) fn quant_bytes(format: Format) -> usize {
    match format {
        Format::F32 | Format::F16 => format.block_bytes(),
        Format::Q4_0 | Format::Q8_0 => format.block_bytes() - SCALE_BYTES,
        Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => no_kernel(),
    }
}

/// Splits `blocks`, whole blocks of `format`, reusing what `parts` has allocated.
pub(super) fn split(format: Format, blocks: &[u8], parts: &mut Parts) {
    parts.quants.clear();
    parts.scales.clear();
    match format {
        Format::F32 | Format::F16 => parts.quants.extend_from_slice(blocks),
        Format::Q4_0 | Format::Q8_0 => {
            for block in blocks.chunks_exact(format.block_bytes()) {
                let (scale, quants) = block.split_at(SCALE_BYTES);
                parts.scales.extend_from_slice(scale);
                parts.quants.extend_from_slice(quants);
            }
        }
        Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => no_kernel(),
    }
    for part in [&mut parts.quants, &mut parts.scales] {
        part.resize(part.len().next_multiple_of(WORD_BYTES), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, blocks: &[u8], quants: &[u8], scales: &[u8]) {
        let mut parts = Parts {
            quants: vec![9; 7],
            scales: vec![9; 7],
        };
        split(format, blocks, &mut parts);
        assert_eq!(parts.quants, quants, "{format:?}");
        assert_eq!(parts.scales, scales, "{format:?}");
    }

    #[test]
    fn splits_blocks_and_pads_to_words() {
        let two_q4: Vec<u8> = (0..36).collect();
        let quants: Vec<u8> = (2..18).chain(20..36).collect();
        check(Format::Q4_0, &two_q4, &quants, &[0, 1, 18, 19]);

        let one_q8: Vec<u8> = (0..34).collect();
        let quants: Vec<u8> = (2..34).collect();
        check(Format::Q8_0, &one_q8, &quants, &[0, 1, 0, 0]);

        check(
            Format::F16,
            &[1, 2, 3, 4, 5, 6],
            &[1, 2, 3, 4, 5, 6, 0, 0],
            &[],
        );
        check(Format::F32, &[1, 2, 3, 4], &[1, 2, 3, 4], &[]);
    }
}
