//! The eight lanes as two of wasm's 128-bit vectors; the same bits as `eight_portable.rs`.

use std::arch::wasm32::{
    f32x4, f32x4_add, f32x4_extract_lane, f32x4_mul, f32x4_splat, u32x4, u32x4_shl, u32x4_splat,
    v128, v128_and,
};

use super::lanes::LANES;

/// Eight numbers.
pub(crate) type Eight = (v128, v128);

/// The same number in all lanes.
#[inline]
pub(crate) fn splat(x: f32) -> Eight {
    (f32x4_splat(x), f32x4_splat(x))
}

/// `sums + a * b`, each product rounded before it is added.
#[inline]
pub(crate) fn add_products(sums: Eight, a: Eight, b: Eight) -> Eight {
    (
        f32x4_add(sums.0, f32x4_mul(a.0, b.0)),
        f32x4_add(sums.1, f32x4_mul(a.1, b.1)),
    )
}

/// Compiles to two loads.
#[inline]
pub(crate) fn load(x: &[f32; LANES]) -> Eight {
    let [a, b, c, d, e, f, g, h] = *x;
    (f32x4(a, b, c, d), f32x4(e, f, g, h))
}

/// Eight BF16 numbers: number `l` in the lower half of word `l`, number `l + 4` in the upper. One
/// load, one shift, one mask.
#[inline]
pub(crate) fn load_bf16([a, b, c, d]: [u32; LANES / 2]) -> Eight {
    let both = u32x4(a, b, c, d);
    (
        u32x4_shl(both, 16),
        v128_and(both, u32x4_splat(0xffff_0000)),
    )
}

/// Compiles to two stores.
#[inline]
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
