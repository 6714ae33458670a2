//! The eight lanes as two of wasm's 128-bit vectors.

use std::arch::wasm32::{f32x4, f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_splat, v128};

use super::lanes::LANES;

/// Eight numbers.
pub(crate) type Eight = (v128, v128);

/// The same number in all lanes.
pub(crate) fn splat(x: f32) -> Eight {
    (f32x4_splat(x), f32x4_splat(x))
}

/// `sums + a * b`, each product rounded before it is added.
pub(crate) fn add_products(sums: Eight, a: Eight, b: Eight) -> Eight {
    (
        f32x4_add(sums.0, f32x4_mul(a.0, b.0)),
        f32x4_add(sums.1, f32x4_mul(a.1, b.1)),
    )
}

/// Compiles to two loads.
pub(crate) fn load(x: &[f32; LANES]) -> Eight {
    let [a, b, c, d, e, f, g, h] = *x;
    (f32x4(a, b, c, d), f32x4(e, f, g, h))
}

/// Compiles to two stores.
pub(crate) fn store((low, high): Eight) -> [f32; LANES] {
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
