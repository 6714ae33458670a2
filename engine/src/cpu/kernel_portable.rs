//! Loops over floats in plain Rust, which compilers turn into whatever vectors there are.

use super::activations::GROUP_LEN;
use super::lanes::LANES;
use super::vector::{Curve, ROUND, f32_from_f16};

/// `x = curve(x, y)`.
pub(super) fn map(x: &mut [f32], y: f32, curve: impl Curve) {
    for x in x {
        *x = curve.at(*x, y);
    }
}

/// `x = curve(x, y)`, pair by pair.
pub(super) fn map_pairs(x: &mut [f32], y: &[f32], curve: impl Curve) {
    for (x, y) in x.iter_mut().zip(y) {
        *x = curve.at(*x, *y);
    }
}

/// The largest, or NaN where there is one; minus infinity of nothing.
pub(super) fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], chunk[lane]);
        }
    }
    largest
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| larger(a, *b))
}

/// The floats of halves.
pub(super) fn widen_f16(bits: &[u16], out: &mut [f32]) {
    for (out, bits) in out.iter_mut().zip(bits) {
        *out = f32_from_f16(*bits);
    }
}

/// The largest magnitude of a group, or a NaN or infinity where there is one.
pub(super) fn largest_magnitude(values: &[f32; GROUP_LEN]) -> f32 {
    // Magnitudes in the order of their bits: what is not finite is above all that is.
    let mut largest = [0_i32; LANES];
    for values in values.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            let bits = (values[lane].to_bits() & 0x7fff_ffff).cast_signed();
            largest[lane] = largest[lane].max(bits);
        }
    }
    let largest = largest.iter().fold(0, |a, b| a.max(*b));
    f32::from_bits(largest.cast_unsigned())
}

/// `values * inverse`, at most 127 in size, rounded to the nearest, halves to even, in both widths;
/// gives the sums of both halves.
pub(super) fn round_codes(
    values: &[f32; GROUP_LEN],
    inverse: f32,
    codes: &mut [i8; GROUP_LEN],
    words: &mut [i16; GROUP_LEN],
) -> [i32; 2] {
    for (word, value) in words.iter_mut().zip(values) {
        let rounded = (value * inverse + ROUND).to_bits();
        *word = rounded.wrapping_sub(ROUND.to_bits()).cast_signed() as i16;
    }
    for (code, word) in codes.iter_mut().zip(&*words) {
        *code = *word as i8;
    }
    let (first, second) = words.split_at(GROUP_LEN / 2);
    [first, second].map(|half| i32::from(half.iter().sum::<i16>()))
}
