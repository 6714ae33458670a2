//! Dot products in plain Rust, in eight lanes that compilers turn into whatever vectors there are.

use super::lanes::{LANES, fold};

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
