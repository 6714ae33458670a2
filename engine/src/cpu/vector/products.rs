//! Sums of products, in eight lanes.

use super::super::eight::{self, load, splat, store};
use super::super::lanes::{LANES, fold};

/// `sum(a * b)`, in the order that [`super::super::lanes`] states.
///
/// # Panics
/// When the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "as many as each other");
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = splat(0.0);
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        sums = eight::add_products(sums, load(a), load(b));
    }
    let mut sums = store(sums);
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += a * b;
    }
    fold(sums)
}

/// `sums += shares * values`: `sums` has `rows` rows that are `sums_stride` apart, `shares` as many
/// that are `shares_stride` apart, and `values`, `(n, cols)`, is whole. Every sum takes its
/// products one after another.
///
/// # Panics
/// When a slice is too short.
pub(in super::super) fn add_products(
    rows: usize,
    cols: usize,
    (sums, sums_stride): (&mut [f32], usize),
    (shares, shares_stride): (&[f32], usize),
    values: &[f32],
) {
    let mut row = 0;
    while row < rows {
        let sums = (&mut sums[row * sums_stride..], sums_stride);
        let shares = (&shares[row * shares_stride..], shares_stride);
        row += match rows - row {
            1 => tile::<1>(cols, sums, shares, values),
            2 => tile::<2>(cols, sums, shares, values),
            3 => tile::<3>(cols, sums, shares, values),
            _ => tile::<4>(cols, sums, shares, values),
        };
    }
}

/// [`add_products`] of the first `ROWS` rows, whose running sums stay in registers; gives how many
/// they are.
fn tile<const ROWS: usize>(
    cols: usize,
    (sums, sums_stride): (&mut [f32], usize),
    (shares, shares_stride): (&[f32], usize),
    values: &[f32],
) -> usize {
    let n = values.len() / cols;
    let shares: [&[f32]; ROWS] = std::array::from_fn(|row| &shares[row * shares_stride..][..n]);
    let n_whole = cols / LANES * LANES;
    for first in (0..n_whole).step_by(LANES) {
        let at = |row| row * sums_stride + first;
        let mut running = [splat(0.0); ROWS];
        for (row, running) in running.iter_mut().enumerate() {
            *running = load(lanes(&sums[at(row)..]));
        }
        for (k, values) in (0..n).zip(values.chunks_exact(cols)) {
            let values = load(lanes(&values[first..]));
            for row in 0..ROWS {
                running[row] = eight::add_products(running[row], splat(shares[row][k]), values);
            }
        }
        for (row, running) in running.into_iter().enumerate() {
            sums[at(row)..][..LANES].copy_from_slice(&store(running));
        }
    }
    for (row, shares) in shares.iter().enumerate() {
        let sums = &mut sums[row * sums_stride..][n_whole..cols];
        for (share, values) in shares.iter().zip(values.chunks_exact(cols)) {
            for (sum, value) in sums.iter_mut().zip(&values[n_whole..]) {
                *sum += share * value;
            }
        }
    }
    ROWS
}

#[inline(always)]
fn lanes(x: &[f32]) -> &[f32; LANES] {
    x.first_chunk().expect("callers cut whole chunks")
}
