//! The eight lanes in plain Rust.
//!
//! `eight_portable.rs`, `eight_simd128.rs` and `eight_sse2.rs` compute the same bits; compilers
//! find the vectors in plain Rust only by chance, and then across the wrong loop.

use super::lanes::LANES;

/// Eight numbers.
pub(crate) type Eight = [f32; LANES];

/// The same number in all lanes.
#[inline]
pub(crate) fn splat(x: f32) -> Eight {
    [x; LANES]
}

/// `sums + a * b`, each product rounded before it is added.
#[inline]
pub(crate) fn add_products(mut sums: Eight, a: Eight, b: Eight) -> Eight {
    for lane in 0..LANES {
        sums[lane] += a[lane] * b[lane];
    }
    sums
}

/// Eight numbers in memory.
#[inline]
pub(crate) fn load(x: &[f32; LANES]) -> Eight {
    *x
}

/// Eight BF16 numbers: number `l` in the lower half of word `l`, number `l + 4` in the upper.
#[inline]
pub(crate) fn load_bf16(words: [u32; LANES / 2]) -> Eight {
    let mut numbers = [0.0; LANES];
    for (lane, word) in words.into_iter().enumerate() {
        numbers[lane] = f32::from_bits(word << 16);
        numbers[lane + LANES / 2] = f32::from_bits(word & 0xffff_0000);
    }
    numbers
}

/// Eight numbers for memory.
#[inline]
pub(crate) fn store(x: Eight) -> [f32; LANES] {
    x
}
