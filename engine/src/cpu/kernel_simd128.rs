//! Loops over floats with wasm's 128-bit vectors: two vectors are eight lanes.
//!
//! Bit for bit what `kernel_portable.rs` computes.

use std::arch::wasm32::{
    f32x4, f32x4_abs, f32x4_add, f32x4_extract_lane, f32x4_ge, f32x4_max, f32x4_mul, f32x4_splat,
    i8x16_narrow_i16x8, i16x8_narrow_i32x4, i32x4_add, i32x4_extadd_pairwise_i16x8,
    i32x4_extend_high_i16x8, i32x4_extend_low_i16x8, i32x4_max, i32x4_shl, i32x4_splat, i32x4_sub,
    u16x8, v128, v128_and, v128_or,
};

use super::activations::GROUP_LEN;
use super::eight::{load, splat, store};
use super::lanes::LANES;
use super::real_simd128::Four;
use super::vector::half::BIAS;
use super::vector::{Curve, ROUND, f32_from_f16};

/// `x = curve(x, y)`.
pub(super) fn map(x: &mut [f32], y: f32, curve: impl Curve) {
    let ys = Four(f32x4_splat(y));
    let (fours, rest) = x.as_chunks_mut::<4>();
    for x in fours {
        *x = store_four(curve.at(load_four(x), ys));
    }
    for x in rest {
        *x = curve.at(*x, y);
    }
}

/// `x = curve(x, y)`, pair by pair.
pub(super) fn map_pairs(x: &mut [f32], y: &[f32], curve: impl Curve) {
    let (x_fours, x_rest) = x.as_chunks_mut::<4>();
    let (y_fours, y_rest) = y.as_chunks::<4>();
    for (x, y) in x_fours.iter_mut().zip(y_fours) {
        *x = store_four(curve.at(load_four(x), load_four(y)));
    }
    for (x, y) in x_rest.iter_mut().zip(y_rest) {
        *x = curve.at(*x, *y);
    }
}

/// The largest, or NaN where there is one; minus infinity of nothing.
pub(super) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let least = splat(f32::NEG_INFINITY);
    let largest = chunks.iter().fold(least, |largest, chunk| {
        let chunk = load(chunk);
        (f32x4_max(largest.0, chunk.0), f32x4_max(largest.1, chunk.1))
    });
    store(largest)
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| larger(a, *b))
}

/// The floats of halves.
pub(super) fn widen_f16(bits: &[u16], out: &mut [f32]) {
    let (bits, bits_rest) = bits.as_chunks::<LANES>();
    let (out, out_rest) = out.as_chunks_mut::<LANES>();
    for (out, bits) in out.iter_mut().zip(bits) {
        let [a, b, c, d, e, f, g, h] = *bits;
        let bits = u16x8(a, b, c, d, e, f, g, h);
        *out = store((
            widen_four(i32x4_extend_low_i16x8(bits)),
            widen_four(i32x4_extend_high_i16x8(bits)),
        ));
    }
    for (out, bits) in out_rest.iter_mut().zip(bits_rest) {
        *out = f32_from_f16(*bits);
    }
}

/// Of halves as signed numbers.
#[inline(always)]
fn widen_four(bits: v128) -> v128 {
    /// The sign, and all that a half has below it.
    const KEPT: i32 = 0x8fff_e000_u32.cast_signed();
    let moved = v128_and(i32x4_shl(bits, 13), i32x4_splat(KEPT));
    let scaled = f32x4_mul(moved, f32x4_splat(BIAS));
    // 2^16, which only infinities and NaNs reach.
    let infinite = f32x4_ge(f32x4_abs(scaled), f32x4_splat(65_536.0));
    v128_or(scaled, v128_and(infinite, i32x4_splat(0x7f80_0000)))
}

/// The largest magnitude of a group, or a NaN or infinity where there is one.
pub(super) fn largest_magnitude(values: &[f32; GROUP_LEN]) -> f32 {
    // Magnitudes in the order of their bits: what is not finite is above all that is.
    let magnitudes = i32x4_splat(0x7fff_ffff);
    let largest = (values.as_chunks::<4>().0.iter())
        .map(|values| v128_and(load_four(values).0, magnitudes))
        .fold(i32x4_splat(0), |a, b| i32x4_max(a, b));
    let largest: [i32; 4] = bytemuck::cast(largest);
    f32::from_bits(largest.iter().fold(0, |a, b| a.max(*b)).cast_unsigned())
}

/// `values * inverse`, at most 127 in size, rounded to the nearest, halves to even, in both widths;
/// gives the sums of both halves.
pub(super) fn round_codes(
    values: &[f32; GROUP_LEN],
    inverse: f32,
    codes: &mut [i8; GROUP_LEN],
    words: &mut [i16; GROUP_LEN],
) -> [i32; 2] {
    let (inverse, round) = (f32x4_splat(inverse), f32x4_splat(ROUND));
    let rounded = |values: &[f32; 4]| {
        let rounded = f32x4_add(f32x4_mul(load_four(values).0, inverse), round);
        i32x4_sub(rounded, round)
    };
    let mut sums = [0; 2];
    let halves = (values.as_chunks::<16>().0.iter())
        .zip(codes.as_chunks_mut::<16>().0)
        .zip(words.as_chunks_mut::<16>().0);
    for (((values, codes), words), sum) in halves.zip(&mut sums) {
        let fours = values.as_chunks::<4>().0;
        let low = i16x8_narrow_i32x4(rounded(&fours[0]), rounded(&fours[1]));
        let high = i16x8_narrow_i32x4(rounded(&fours[2]), rounded(&fours[3]));
        *words = bytemuck::cast([low, high]);
        *codes = bytemuck::cast(i8x16_narrow_i16x8(low, high));
        let pairs = i32x4_add(
            i32x4_extadd_pairwise_i16x8(low),
            i32x4_extadd_pairwise_i16x8(high),
        );
        let pairs: [i32; 4] = bytemuck::cast(pairs);
        *sum = pairs.iter().sum();
    }
    sums
}

#[inline(always)]
fn load_four([a, b, c, d]: &[f32; 4]) -> Four {
    Four(f32x4(*a, *b, *c, *d))
}

#[inline(always)]
fn store_four(Four(x): Four) -> [f32; 4] {
    [
        f32x4_extract_lane::<0>(x),
        f32x4_extract_lane::<1>(x),
        f32x4_extract_lane::<2>(x),
        f32x4_extract_lane::<3>(x),
    ]
}
