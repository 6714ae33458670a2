//! Dot products with wasm's 128-bit vectors: two vectors are the eight lanes.
//!
//! Bit for bit what `kernel_portable.rs` computes.

use super::lanes::{LANES, fold};
use super::lanes_simd128::{add_products, load, splat, store};

/// `sum(a * b)` in the stated order.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = splat(0.0);
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        sums = add_products(sums, load(a), load(b));
    }
    let mut sums = store(sums);
    for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *sum += a * b;
    }
    fold(sums)
}

/// `sum += share * value`, channel by channel.
pub(super) fn add_scaled(sums: &mut [f32], share: f32, values: &[f32]) {
    let n_whole = sums.len() / LANES * LANES;
    let (whole, rest) = sums.split_at_mut(n_whole);
    let shares = splat(share);
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
