//! Vectors of wasm's simd128: every browser since 2023.
//!
//! Codes are widened to 16 bits and multiplied in pairs, so a row's sum is kept in two parts.
#![allow(unsafe_code, reason = "vectors are read and written through pointers")]

use core::arch::wasm32::{
    f32x4_add, f32x4_convert_i32x4, f32x4_mul, f32x4_splat, i16x8_extend_high_i8x16,
    i16x8_extend_low_i8x16, i32x4_add, i32x4_dot_i16x8, i32x4_shuffle, i64x2_splat, u8x16_shr,
    u8x16_splat, v128, v128_and, v128_load, v128_load64_splat, v128_store,
};

use super::job::Job;
use super::tile::Vectors;

/// Two vectors of four lanes, without relaxed instructions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Simd128;

// SAFETY: this file is compiled for wasm with simd128 only; reads and writes are of the extents
// that the trait states.
unsafe impl Vectors for Simd128 {
    type Input = i16;
    type Codes = [v128; 2];
    type Inputs = v128;
    type WideInputs = v128;
    /// Two rows a vector, two parts a row.
    type Sums = [v128; 4];
    type Floats = [v128; 2];

    #[inline(always)]
    unsafe fn row(job: &Job, token: usize) -> *const i16 {
        // SAFETY: there are `n_tokens` rows of activations.
        unsafe { job.words.add(token * job.n_groups * job.group_len) }
    }

    #[inline(always)]
    unsafe fn start(bias: i32) -> Self::Sums {
        [i64x2_splat(i64::from(bias.cast_unsigned())); 4]
    }

    #[inline(always)]
    unsafe fn wide_bias(_sum: i32) -> i32 {
        0
    }

    #[inline(always)]
    unsafe fn codes(at: *const u8) -> Self::Codes {
        // SAFETY: 32 bytes are readable.
        unsafe { [v128_load(at.cast()), v128_load(at.add(16).cast())] }
    }

    #[inline(always)]
    unsafe fn wide_codes(at: *const u8) -> Self::Codes {
        // SAFETY: 32 bytes are readable.
        unsafe { Self::codes(at) }
    }

    #[inline(always)]
    unsafe fn nibbles([a, b]: Self::Codes) -> (Self::Codes, Self::Codes) {
        let mask = u8x16_splat(0x0f);
        (
            [v128_and(a, mask), v128_and(b, mask)],
            [u8x16_shr(a, 4), u8x16_shr(b, 4)],
        )
    }

    #[inline(always)]
    unsafe fn inputs(at: *const i16) -> v128 {
        // SAFETY: four activations are readable.
        unsafe { v128_load64_splat(at.cast()) }
    }

    #[inline(always)]
    unsafe fn wide_inputs(at: *const i16) -> v128 {
        // SAFETY: four activations are readable.
        unsafe { Self::inputs(at) }
    }

    #[inline(always)]
    unsafe fn dot([a, b, c, d]: Self::Sums, codes: Self::Codes, inputs: v128) -> Self::Sums {
        let low = |codes| i32x4_dot_i16x8(i16x8_extend_low_i8x16(codes), inputs);
        let high = |codes| i32x4_dot_i16x8(i16x8_extend_high_i8x16(codes), inputs);
        [
            i32x4_add(a, low(codes[0])),
            i32x4_add(b, high(codes[0])),
            i32x4_add(c, low(codes[1])),
            i32x4_add(d, high(codes[1])),
        ]
    }

    #[inline(always)]
    unsafe fn wide_dot(sums: Self::Sums, codes: Self::Codes, inputs: v128) -> Self::Sums {
        // SAFETY: as for `dot`, which takes signed codes here.
        unsafe { Self::dot(sums, codes, inputs) }
    }

    #[inline(always)]
    unsafe fn floats([a, b, c, d]: Self::Sums) -> Self::Floats {
        let fold = |a, b| {
            let even = i32x4_shuffle::<0, 2, 4, 6>(a, b);
            let odd = i32x4_shuffle::<1, 3, 5, 7>(a, b);
            f32x4_convert_i32x4(i32x4_add(even, odd))
        };
        [fold(a, b), fold(c, d)]
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Floats {
        [f32x4_splat(value); 2]
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::Floats {
        // SAFETY: eight floats are readable.
        unsafe { [v128_load(at.cast()), v128_load(at.add(4).cast())] }
    }

    #[inline(always)]
    unsafe fn store(at: *mut f32, floats: Self::Floats) {
        // SAFETY: eight floats are writable.
        unsafe {
            v128_store(at.cast(), floats[0]);
            v128_store(at.add(4).cast(), floats[1]);
        }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        [f32x4_mul(a[0], b[0]), f32x4_mul(a[1], b[1])]
    }

    #[inline(always)]
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        [f32x4_add(a[0], b[0]), f32x4_add(a[1], b[1])]
    }
}
