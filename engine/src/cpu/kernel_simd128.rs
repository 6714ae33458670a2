//! Dot products with wasm's 128-bit vectors: two vectors are the eight lanes.
//!
//! Bit for bit what `kernel_portable.rs` computes.

use std::arch::wasm32::{
    f32x4, f32x4_add, f32x4_convert_i32x4, f32x4_extract_lane, f32x4_mul, f32x4_splat, i8x16,
    i8x16_splat, i8x16_sub, i16x8_extend_high_i8x16, i16x8_extend_low_i8x16,
    i32x4_extend_high_i16x8, i32x4_extend_low_i16x8, u8x16_shr, v128, v128_and,
};

use super::lanes::{LANES, fold};
use crate::quant::QUANT_BLOCK_LEN;

/// The eight running sums.
type Sums = (v128, v128);

/// `sum(a * b)` in the stated order.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = zero();
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        sums = add_products(sums, load(a), load(b));
    }
    let mut sums = store(sums);
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
    let mut sums = zero();
    let blocks = q
        .as_chunks::<QUANT_BLOCK_LEN>()
        .0
        .iter()
        .zip(x.as_chunks::<QUANT_BLOCK_LEN>().0);
    for (scale, (q, x)) in scales.iter().zip(blocks) {
        let mut block = zero();
        for (q, x) in q
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(x.as_chunks::<LANES>().0)
        {
            block = add_products(block, load(q), load(x));
        }
        let scale = f32x4_splat(*scale);
        sums = add_products(sums, (scale, scale), block);
    }
    fold(store(sums))
}

/// Widens 32 signed bytes.
pub(super) fn widen_q8_0(bytes: &[u8; QUANT_BLOCK_LEN], q: &mut [f32; QUANT_BLOCK_LEN]) {
    let (low, high) = q.split_at_mut(QUANT_BLOCK_LEN / 2);
    let halves = bytes.as_chunks::<16>().0;
    widen(load_bytes(&halves[0]), low);
    widen(load_bytes(&halves[1]), high);
}

/// Widens 32 nibbles to -8..=7: low ones first, then high ones.
pub(super) fn widen_q4_0(bytes: &[u8; QUANT_BLOCK_LEN / 2], q: &mut [f32; QUANT_BLOCK_LEN]) {
    let (low, high) = q.split_at_mut(QUANT_BLOCK_LEN / 2);
    let nibbles = load_bytes(bytes);
    let eight = i8x16_splat(8);
    widen(i8x16_sub(v128_and(nibbles, i8x16_splat(0x0f)), eight), low);
    widen(i8x16_sub(u8x16_shr(nibbles, 4), eight), high);
}

/// `sum += share * value`, channel by channel.
pub(super) fn add_scaled(sums: &mut [f32], share: f32, values: &[f32]) {
    let n_whole = sums.len() / LANES * LANES;
    let (whole, rest) = sums.split_at_mut(n_whole);
    let shares = (f32x4_splat(share), f32x4_splat(share));
    let values_rest = &values[n_whole..];
    for (sums, values) in whole
        .as_chunks_mut::<LANES>()
        .0
        .iter_mut()
        .zip(values.as_chunks::<LANES>().0)
    {
        *sums = store(add_products(load(sums), shares, load(values)));
    }
    for (sum, value) in rest.iter_mut().zip(values_rest) {
        *sum += share * value;
    }
}

fn zero() -> Sums {
    (f32x4_splat(0.0), f32x4_splat(0.0))
}

fn add_products(sums: Sums, a: Sums, b: Sums) -> Sums {
    (
        f32x4_add(sums.0, f32x4_mul(a.0, b.0)),
        f32x4_add(sums.1, f32x4_mul(a.1, b.1)),
    )
}

/// Compiles to two loads.
fn load(x: &[f32; LANES]) -> Sums {
    let [a, b, c, d, e, f, g, h] = *x;
    (f32x4(a, b, c, d), f32x4(e, f, g, h))
}

/// Compiles to one load.
fn load_bytes(bytes: &[u8; 16]) -> v128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes.map(u8::cast_signed);
    i8x16(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
}

/// Compiles to two stores.
fn store((low, high): Sums) -> [f32; LANES] {
    [
        f32x4_extract_lane::<0>(low),
        f32x4_extract_lane::<1>(low),
        f32x4_extract_lane::<2>(low),
        f32x4_extract_lane::<3>(low),
        f32x4_extract_lane::<0>(high),
        f32x4_extract_lane::<1>(high),
        f32x4_extract_lane::<2>(high),
        f32x4_extract_lane::<3>(high),
    ]
}

/// Sixteen signed bytes to sixteen floats.
fn widen(bytes: v128, q: &mut [f32]) {
    let low = i16x8_extend_low_i8x16(bytes);
    let high = i16x8_extend_high_i8x16(bytes);
    let first = (convert_low(low), convert_high(low));
    let second = (convert_low(high), convert_high(high));
    let lanes = q.as_chunks_mut::<LANES>().0;
    lanes[0] = store(first);
    lanes[1] = store(second);
}

fn convert_low(words: v128) -> v128 {
    f32x4_convert_i32x4(i32x4_extend_low_i16x8(words))
}

fn convert_high(words: v128) -> v128 {
    f32x4_convert_i32x4(i32x4_extend_high_i16x8(words))
}
