//! What simd128 does with jobs, and how it widens 16-bit floats.
#![allow(unsafe_code, reason = "vectors are read through pointers")]

use std::arch::wasm32::{
    f32x4_mul, f32x4_splat, i32x4_extend_high_i16x8, i32x4_extend_low_i16x8, i32x4_gt, i32x4_shl,
    i32x4_splat, v128, v128_and, v128_load, v128_or,
};

use super::super::activations::Activations;
use super::super::panels::Panels;
use super::Kernels;
use super::floats::{self, FloatJob, FloatVectors};
use super::job::Job;
use super::simd128::Simd128;
use super::start::{self, Runner};
use super::tile;

/// What an f16's exponent lacks when its bits are moved to an f32's place: 2^112.
const F16_BIAS: f32 = f32::from_bits((127 + 112) << 23);

// SAFETY: this file is compiled for wasm with simd128 only.
unsafe impl FloatVectors for Simd128 {
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> [v128; 2] {
        let widen = |words| {
            // The sign fills the upper half, so one shift puts it and the magnitude in place.
            let moved = i32x4_shl(words, 13);
            let bits = v128_and(moved, i32x4_splat(0x8fff_e000_u32.cast_signed()));
            let magnitude = v128_and(moved, i32x4_splat(0x0fff_e000));
            let infinite = i32x4_gt(magnitude, i32x4_splat((0x7c00 << 13) - 1));
            let exponent = v128_and(infinite, i32x4_splat(0x7f80_0000));
            v128_or(f32x4_mul(bits, f32x4_splat(F16_BIAS)), exponent)
        };
        // SAFETY: 16 bytes are readable.
        let words = unsafe { v128_load(at.cast()) };
        [
            widen(i32x4_extend_low_i16x8(words)),
            widen(i32x4_extend_high_i16x8(words)),
        ]
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> [v128; 2] {
        // SAFETY: 16 bytes are readable.
        let words = unsafe { v128_load(at.cast()) };
        [
            i32x4_shl(i32x4_extend_low_i16x8(words), 16),
            i32x4_shl(i32x4_extend_high_i16x8(words), 16),
        ]
    }
}

impl Runner for Simd128 {
    unsafe fn run(&self, job: &Job) {
        // SAFETY: the caller's promise.
        unsafe { tile::run::<Self>(job) }
    }

    unsafe fn run_floats(&self, job: &FloatJob) {
        // SAFETY: the caller's promise.
        unsafe { floats::run::<Self>(job) }
    }
}

impl Kernels for Simd128 {
    fn name(&self) -> &'static str {
        "simd128"
    }

    fn matmul(&self, weights: &Panels, inputs: &Activations, outputs: &mut [f32]) {
        start::matmul(self, weights, inputs, outputs);
    }
}
