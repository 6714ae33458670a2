//! Dot products in plain Rust, in eight lanes that compilers turn into whatever vectors there are.

use super::lanes::{LANES, fold};
use crate::quant::QUANT_BLOCK_LEN;

/// `sum(a * b)` in the stated order.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += a * b;
    }
    fold(sums)
}

/// `sum(scale * sum(q * x))` over blocks, in the stated order.
pub(super) fn dot_blocks(
    scales: &[f32], // (blocks)
    q: &[f32],      // (blocks * 32)
    x: &[f32],      // (blocks * 32)
) -> f32 {
    let mut sums = [0.0; LANES];
    let blocks = q
        .as_chunks::<QUANT_BLOCK_LEN>()
        .0
        .iter()
        .zip(x.as_chunks::<QUANT_BLOCK_LEN>().0);
    for (scale, (q, x)) in scales.iter().zip(blocks) {
        let mut block = [0.0; LANES];
        for (q, x) in q
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(x.as_chunks::<LANES>().0)
        {
            for lane in 0..LANES {
                block[lane] += q[lane] * x[lane];
            }
        }
        for lane in 0..LANES {
            sums[lane] += scale * block[lane];
        }
    }
    fold(sums)
}

/// Widens 32 signed bytes.
pub(super) fn widen_q8_0(bytes: &[u8; QUANT_BLOCK_LEN], q: &mut [f32; QUANT_BLOCK_LEN]) {
    for (q, byte) in q.iter_mut().zip(bytes) {
        *q = f32::from(byte.cast_signed());
    }
}

/// Widens 32 nibbles to -8..=7: low ones first, then high ones.
pub(super) fn widen_q4_0(bytes: &[u8; QUANT_BLOCK_LEN / 2], q: &mut [f32; QUANT_BLOCK_LEN]) {
    let (low, high) = q.split_at_mut(QUANT_BLOCK_LEN / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = f32::from((byte & 0x0f).cast_signed() - 8);
        *high = f32::from((byte >> 4).cast_signed() - 8);
    }
}

/// `sum += share * value`, channel by channel.
pub(super) fn add_scaled(sums: &mut [f32], share: f32, values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += share * value;
    }
}
