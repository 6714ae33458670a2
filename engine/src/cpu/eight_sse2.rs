//! The eight lanes as two of x86-64's 128-bit vectors; the same bits as `eight_portable.rs`.

#![allow(
    unsafe_code,
    reason = "vector instructions; SSE2 is part of every x86-64"
)]

use std::arch::x86_64::{
    __m128, _mm_add_ps, _mm_and_si128, _mm_castsi128_ps, _mm_mul_ps, _mm_set1_epi32, _mm_set1_ps,
    _mm_setr_epi32, _mm_setr_ps, _mm_slli_epi32,
};

use super::lanes::LANES;

/// Eight numbers.
pub(crate) type Eight = (__m128, __m128);

/// The same number in all lanes.
#[inline]
pub(crate) fn splat(x: f32) -> Eight {
    // SAFETY: every x86-64 has SSE2.
    let x = unsafe { _mm_set1_ps(x) };
    (x, x)
}

/// `sums + a * b`, each product rounded before it is added.
#[inline]
pub(crate) fn add_products(sums: Eight, a: Eight, b: Eight) -> Eight {
    // SAFETY: every x86-64 has SSE2.
    let add = |sum, a, b| unsafe { _mm_add_ps(sum, _mm_mul_ps(a, b)) };
    (add(sums.0, a.0, b.0), add(sums.1, a.1, b.1))
}

/// Compiles to two loads.
#[inline]
pub(crate) fn load(x: &[f32; LANES]) -> Eight {
    let [a, b, c, d, e, f, g, h] = *x;
    // SAFETY: every x86-64 has SSE2.
    unsafe { (_mm_setr_ps(a, b, c, d), _mm_setr_ps(e, f, g, h)) }
}

/// Eight BF16 numbers: number `l` in the lower half of word `l`, number `l + 4` in the upper. One
/// load, one shift, one mask.
#[inline]
pub(crate) fn load_bf16([a, b, c, d]: [u32; LANES / 2]) -> Eight {
    // Closures over arrays are not always inlined, which costs ten times the work itself.
    let (a, b, c, d) = (
        a.cast_signed(),
        b.cast_signed(),
        c.cast_signed(),
        d.cast_signed(),
    );
    // SAFETY: every x86-64 has SSE2.
    unsafe {
        let both = _mm_setr_epi32(a, b, c, d);
        let upper = _mm_set1_epi32(0xffff_0000_u32.cast_signed());
        (
            _mm_castsi128_ps(_mm_slli_epi32(both, 16)),
            _mm_castsi128_ps(_mm_and_si128(both, upper)),
        )
    }
}

/// Compiles to two stores.
#[inline]
pub(crate) fn store((low, high): Eight) -> [f32; LANES] {
    bytemuck::cast([low, high])
}
