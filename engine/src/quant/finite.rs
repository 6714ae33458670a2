//! Finds weights that are no finite numbers without making weights of them.

use super::{Encoding, Format, HALF_BYTES, Q2_K_BLOCK_BYTES, Q3_K_BLOCK_BYTES, Q6_K_BLOCK_BYTES};

/// Exponent bits: all ones in what is infinite or not a number.
const F32_EXPONENT: u32 = 0x7f80_0000;
const F16_EXPONENT: u16 = 0x7c00;
const BF16_EXPONENT: u16 = 0x7f80;

/// Index of the first block of `bytes`, which are whole blocks, with a weight that is infinite or
/// not a number; of the first weight in the formats that have no blocks.
pub(crate) fn first_damaged_block(format: Format, bytes: &[u8]) -> Option<usize> {
    match format.encoding() {
        Encoding::F32 => bytes
            .as_chunks()
            .0
            .iter()
            .position(|raw| u32::from_le_bytes(*raw) & F32_EXPONENT == F32_EXPONENT),
        Encoding::Bf16 => bytes
            .as_chunks()
            .0
            .iter()
            .position(|raw| u16::from_le_bytes(*raw) & BF16_EXPONENT == BF16_EXPONENT),
        Encoding::F16 | Encoding::Blocks => {
            let halves = half_offsets(format);
            let damaged = |block: &[u8]| {
                halves.iter().any(|at| {
                    u16::from_le_bytes([block[*at], block[at + 1]]) & F16_EXPONENT == F16_EXPONENT
                })
            };
            bytes.chunks_exact(format.block_bytes()).position(damaged)
        }
    }
}

/// Where the f16 numbers of a block start, in bytes from its start: all that can be infinite or
/// not a number in a quantised block.
pub(crate) fn half_offsets(format: Format) -> &'static [usize] {
    match format {
        Format::F32 | Format::BF16 => &[],
        Format::F16 | Format::Q8_0 | Format::Q4_0 | Format::Q5_0 | Format::IQ4_NL => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, HALF_BYTES],
        Format::Q2_K => &[
            Q2_K_BLOCK_BYTES - 2 * HALF_BYTES,
            Q2_K_BLOCK_BYTES - HALF_BYTES,
        ],
        Format::Q3_K => &[Q3_K_BLOCK_BYTES - HALF_BYTES],
        Format::Q6_K => &[Q6_K_BLOCK_BYTES - HALF_BYTES],
    }
}
