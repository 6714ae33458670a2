//! Dot products with wasm's 128-bit vectors: two vectors are the eight lanes.
//!
//! Bit for bit what `kernel_portable.rs` computes.

use std::arch::wasm32::{f32x4, f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_splat, v128};

use super::lanes::{LANES, fold};

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
