//! Vectors of AVX2 with an 8-bit dot product, in its two encodings.
#![allow(
    unsafe_code,
    reason = "std::arch, and vectors are read and written through pointers"
)]

use std::arch::x86_64::{__m256, __m256i, _mm256_dpbusd_avx_epi32, _mm256_dpbusd_epi32};

use super::super::activations::Activations;
use super::super::panels::Panels;
use super::Kernels;
use super::avx2::{self, Avx2};
use super::floats::FloatJob;
use super::job::Job;
use super::start::{self, Runner};
use super::tile::{self, Vectors};

/// An x86-64 machine with AVX-VNNI.
#[derive(Debug, Clone, Copy)]
pub(super) struct AvxVnni;

/// An x86-64 machine with AVX512-VNNI for short vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512Vnni;

impl AvxVnni {
    pub(super) fn is_supported() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")
    }
}

impl Avx512Vnni {
    pub(super) fn is_supported() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx512vl")
    }
}

/// All of [`Avx2`] but the dot product, which takes any unsigned byte.
macro_rules! vnni {
    ($kind:ident, $name:literal, $dot:ident, $features:literal) => {
        // SAFETY: as for `Avx2`, on machines with the dot product.
        unsafe impl Vectors for $kind {
            type Input = i8;
            type Codes = __m256i;
            type Inputs = __m256i;
            type WideInputs = __m256i;
            type Sums = __m256i;
            type Floats = __m256;

            #[inline(always)]
            unsafe fn row(job: &Job, token: usize) -> *const i8 {
                // SAFETY: the caller's promise; so for all that follow.
                unsafe { Avx2::row(job, token) }
            }

            #[inline(always)]
            unsafe fn start(bias: i32) -> __m256i {
                // SAFETY: as above.
                unsafe { Avx2::start(bias) }
            }

            #[inline(always)]
            unsafe fn wide_bias(sum: i32) -> i32 {
                // SAFETY: as above.
                unsafe { Avx2::wide_bias(sum) }
            }

            #[inline(always)]
            unsafe fn codes(at: *const u8) -> __m256i {
                // SAFETY: as above.
                unsafe { Avx2::codes(at) }
            }

            #[inline(always)]
            unsafe fn wide_codes(at: *const u8) -> __m256i {
                // SAFETY: as above.
                unsafe { Avx2::wide_codes(at) }
            }

            #[inline(always)]
            unsafe fn nibbles(codes: __m256i) -> (__m256i, __m256i) {
                // SAFETY: as above.
                unsafe { Avx2::nibbles(codes) }
            }

            #[inline(always)]
            unsafe fn inputs(at: *const i8) -> __m256i {
                // SAFETY: as above.
                unsafe { Avx2::inputs(at) }
            }

            #[inline(always)]
            unsafe fn wide_inputs(at: *const i8) -> __m256i {
                // SAFETY: as above.
                unsafe { Avx2::inputs(at) }
            }

            #[inline(always)]
            unsafe fn dot(sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i {
                // SAFETY: as above.
                unsafe { $dot(sums, codes, inputs) }
            }

            #[inline(always)]
            unsafe fn wide_dot(sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i {
                // SAFETY: as above.
                unsafe { $dot(sums, codes, inputs) }
            }

            #[inline(always)]
            unsafe fn floats(sums: __m256i) -> __m256 {
                // SAFETY: as above.
                unsafe { Avx2::floats(sums) }
            }

            #[inline(always)]
            unsafe fn splat(value: f32) -> __m256 {
                // SAFETY: as above.
                unsafe { Avx2::splat(value) }
            }

            #[inline(always)]
            unsafe fn load(at: *const f32) -> __m256 {
                // SAFETY: as above.
                unsafe { Avx2::load(at) }
            }

            #[inline(always)]
            unsafe fn store(at: *mut f32, floats: __m256) {
                // SAFETY: as above.
                unsafe { Avx2::store(at, floats) }
            }

            #[inline(always)]
            unsafe fn mul(a: __m256, b: __m256) -> __m256 {
                // SAFETY: as above.
                unsafe { Avx2::mul(a, b) }
            }

            #[inline(always)]
            unsafe fn add(a: __m256, b: __m256) -> __m256 {
                // SAFETY: as above.
                unsafe { Avx2::add(a, b) }
            }
        }

        impl Runner for $kind {
            unsafe fn run(&self, job: &Job) {
                #[target_feature(enable = $features)]
                unsafe fn run(job: &Job) {
                    // SAFETY: the caller's promise.
                    unsafe { tile::run::<$kind>(job) }
                }
                // SAFETY: the caller's promise; this kind is chosen where it is supported.
                unsafe { run(job) }
            }

            unsafe fn run_floats(&self, job: &FloatJob) {
                // SAFETY: the caller's promise; this kind is chosen where AVX2 is supported.
                unsafe { avx2::run_floats(job) }
            }
        }

        impl Kernels for $kind {
            fn name(&self) -> &'static str {
                $name
            }

            fn matmul(&self, weights: &Panels, inputs: &Activations, outputs: &mut [f32]) {
                start::matmul(self, weights, inputs, outputs);
            }
        }
    };
}

vnni!(AvxVnni, "avx-vnni", _mm256_dpbusd_avx_epi32, "avx2,avxvnni");
vnni!(
    Avx512Vnni,
    "avx512-vnni",
    _mm256_dpbusd_epi32,
    "avx2,avx512vnni,avx512vl"
);
