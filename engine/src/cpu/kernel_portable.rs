//! Loops over floats in plain Rust, which compilers turn into whatever vectors there are.

use super::activations::GROUP_LEN;
use super::lanes::{LANES, fold};
use super::vector::{Curve, ROUND, f32_from_f16};

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

/// `sum += share * value`, channel by channel.
pub(super) fn add_scaled(sums: &mut [f32], share: f32, values: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += share * value;
    }
}

/// [`super::vector::add_products`] of the first `ROWS` rows; gives how many they are.
pub(super) fn add_products<const ROWS: usize>(
    cols: usize,
    (sums, sums_stride): (&mut [f32], usize),
    (shares, shares_stride): (&[f32], usize),
    values: &[f32],
) -> usize {
    let n = values.len() / cols;
    let shares: [&[f32]; ROWS] = std::array::from_fn(|row| &shares[row * shares_stride..][..n]);
    for first in (0..cols).step_by(LANES) {
        let width = LANES.min(cols - first);
        let mut running = [[0.0; LANES]; ROWS];
        for (row, running) in running.iter_mut().enumerate() {
            running[..width].copy_from_slice(&sums[row * sums_stride + first..][..width]);
        }
        for (at, values) in (0..n).zip(values.chunks_exact(cols)) {
            if let Some(values) = values[first..].first_chunk::<LANES>() {
                for (running, shares) in running.iter_mut().zip(&shares) {
                    for lane in 0..LANES {
                        running[lane] += shares[at] * values[lane];
                    }
                }
            } else {
                for (running, shares) in running.iter_mut().zip(&shares) {
                    for (running, value) in running.iter_mut().zip(&values[first..]) {
                        *running += shares[at] * value;
                    }
                }
            }
        }
        for (row, running) in running.iter().enumerate() {
            sums[row * sums_stride + first..][..width].copy_from_slice(&running[..width]);
        }
    }
    ROWS
}

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
