//! Every quantised format as groups of weights that share a scale: what CPU panels and GPU layouts
//! are built from.
//!
//! A weight is `scale * code + offset`, in f32 with two roundings and no fused multiply-add. That
//! equals [`dequantize`](super::dequantize) as a number in every format, with no rounding of its
//! own; only the sign of a zero may differ where the format has a [`zero_point`], or no offset.

use super::blocks::{Parts, k, legacy};
use super::{Format, K_BLOCK_LEN};

/// The largest [`Format::block_len`].
pub const MAX_BLOCK_LEN: usize = K_BLOCK_LEN;

/// The largest number of groups in a block.
pub const MAX_GROUPS: usize = 16;

/// How wide a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// 0 to 15 (to 3 for Q2_K, to 7 for Q3_K).
    Nibble,
    /// A signed byte.
    Byte,
}

/// Weights that share scale and offset: 16 or 32.
///
/// # Panics
/// For a format that is not quantised.
pub fn group_len(format: Format) -> usize {
    match format {
        Format::Q8_0
        | Format::Q4_0
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q4_K
        | Format::Q5_K
        | Format::IQ4_NL => 32,
        Format::Q2_K | Format::Q3_K | Format::Q6_K => 16,
        Format::F32 | Format::F16 | Format::BF16 => not_quantised(format),
    }
}

/// Groups in a block.
///
/// # Panics
/// For a format that is not quantised.
pub fn groups_per_block(format: Format) -> usize {
    format.block_len() / group_len(format)
}

/// How wide the codes are.
///
/// # Panics
/// For a format that is not quantised.
pub fn code_kind(format: Format) -> CodeKind {
    match format {
        Format::Q4_0 | Format::Q4_1 | Format::Q2_K | Format::Q3_K | Format::Q4_K => {
            CodeKind::Nibble
        }
        Format::Q8_0
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => CodeKind::Byte,
        Format::F32 | Format::F16 | Format::BF16 => not_quantised(format),
    }
}

/// The code that stands for 0 in a format without offsets: its offset is `-zero_point * scale`.
pub fn zero_point(format: Format) -> i8 {
    match format {
        Format::Q4_0 => 8,
        Format::Q3_K => 4,
        Format::F32
        | Format::F16
        | Format::BF16
        | Format::Q8_0
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => 0,
    }
}

/// True when each group stores an offset of its own.
pub fn has_offset(format: Format) -> bool {
    match format {
        Format::Q4_1 | Format::Q5_1 | Format::Q2_K | Format::Q4_K | Format::Q5_K => true,
        Format::F32
        | Format::F16
        | Format::BF16
        | Format::Q8_0
        | Format::Q4_0
        | Format::Q5_0
        | Format::Q3_K
        | Format::Q6_K
        | Format::IQ4_NL => false,
    }
}

/// Takes one block apart: code `i` belongs to group `i / group_len`, and its weight is
/// `scale * code + offset`.
///
/// # Panics
/// When `block` is not one block, when the slices are not exactly as long as said, or for a format
/// that is not quantised.
pub fn unpack(
    format: Format,
    block: &[u8],
    codes: &mut [i8],    // (block_len)
    scales: &mut [f32],  // (groups_per_block)
    offsets: &mut [f32], // (groups_per_block)
) {
    assert_eq!(codes.len(), format.block_len(), "a code for each weight");
    assert_eq!(scales.len(), groups_per_block(format), "a scale per group");
    assert_eq!(offsets.len(), scales.len(), "an offset per group");
    let parts = Parts {
        codes,
        scales,
        offsets,
    };
    match format {
        Format::Q8_0 => legacy::q8_0(whole(block), parts),
        Format::Q4_0 => legacy::q4_0(whole(block), parts),
        Format::Q4_1 => legacy::q4_1(whole(block), parts),
        Format::Q5_0 => legacy::q5_0(whole(block), parts),
        Format::Q5_1 => legacy::q5_1(whole(block), parts),
        Format::IQ4_NL => legacy::iq4_nl(whole(block), parts),
        Format::Q2_K => k::q2_k(whole(block), parts),
        Format::Q3_K => k::q3_k(whole(block), parts),
        Format::Q4_K => k::q4_k(whole(block), parts),
        Format::Q5_K => k::q5_k(whole(block), parts),
        Format::Q6_K => k::q6_k(whole(block), parts),
        Format::F32 | Format::F16 | Format::BF16 => not_quantised(format),
    }
    if !has_offset(format) {
        let below = -f32::from(zero_point(format));
        for (offset, scale) in offsets.iter_mut().zip(scales) {
            *offset = below * *scale;
        }
    }
}

fn whole<const N: usize>(block: &[u8]) -> &[u8; N] {
    block
        .as_array()
        .expect("the caller passes exactly one block of the format")
}

#[track_caller]
fn not_quantised(format: Format) -> ! {
    panic!("{} weights have no groups", format.name())
}
