//! Where the bits of each format lie in a block: the one place that knows.

pub(super) mod k;
pub(super) mod legacy;

use half::f16;

/// What a block says, in the arrays of the caller.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// `(block_len)`
    pub(super) codes: &'a mut [i8],
    /// `(groups)`
    pub(super) scales: &'a mut [f32],
    /// `(groups)`; the caller fills it where the format has a zero point instead of an offset.
    pub(super) offsets: &'a mut [f32],
}

/// The f16 that starts at byte `at`.
pub(crate) fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
