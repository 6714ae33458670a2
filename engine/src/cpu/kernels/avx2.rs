//! Vectors of AVX2: one is a panel's eight rows.
#![allow(
    unsafe_code,
    reason = "std::arch, and vectors are read and written through pointers"
)]

use std::arch::x86_64::{
    __m256, __m256i, _mm_load_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_and_si256,
    _mm256_castsi256_ps, _mm256_cmpgt_epi32, _mm256_cvtepi16_epi32, _mm256_cvtepi32_ps,
    _mm256_load_ps, _mm256_load_si256, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_mul_ps,
    _mm256_or_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_slli_epi32, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_xor_si256,
};

use super::super::activations::Activations;
use super::super::panels::Panels;
use super::Kernels;
use super::floats::{self, FloatJob, FloatVectors};
use super::job::Job;
use super::start::{self, Runner};
use super::tile::{self, Vectors};

/// What an f16's exponent lacks when its bits are moved to an f32's place: 2^112.
const F16_BIAS: f32 = f32::from_bits((127 + 112) << 23);

/// An x86-64 machine with AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2;

impl Avx2 {
    pub(super) fn is_supported() -> bool {
        is_x86_feature_detected!("avx2")
    }
}

// SAFETY: reads and writes are of the extents that the trait states, panels are aligned to 32
// bytes, and `Avx2` runs on machines with AVX2 only.
unsafe impl Vectors for Avx2 {
    type Input = i8;
    type Codes = __m256i;
    type Inputs = __m256i;
    type WideInputs = __m256i;
    type Sums = __m256i;
    type Floats = __m256;

    #[inline(always)]
    unsafe fn row(job: &Job, token: usize) -> *const i8 {
        // SAFETY: there are `n_tokens` rows of activations.
        unsafe { job.inputs.add(token * job.n_groups * job.group_len) }
    }

    #[inline(always)]
    unsafe fn start(bias: i32) -> __m256i {
        // SAFETY: AVX2, as for every method here.
        unsafe { _mm256_set1_epi32(bias) }
    }

    #[inline(always)]
    unsafe fn wide_bias(sum: i32) -> i32 {
        sum * -128
    }

    #[inline(always)]
    unsafe fn codes(at: *const u8) -> __m256i {
        // SAFETY: 32 bytes are readable and aligned.
        unsafe { _mm256_load_si256(at.cast()) }
    }

    /// Less -128: unsigned bytes.
    #[inline(always)]
    unsafe fn wide_codes(at: *const u8) -> __m256i {
        // SAFETY: 32 bytes are readable and aligned.
        unsafe { _mm256_xor_si256(Self::codes(at), _mm256_set1_epi8(i8::MIN)) }
    }

    #[inline(always)]
    unsafe fn nibbles(codes: __m256i) -> (__m256i, __m256i) {
        // SAFETY: AVX2.
        unsafe {
            let mask = _mm256_set1_epi8(0x0f);
            (
                _mm256_and_si256(codes, mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(codes), mask),
            )
        }
    }

    #[inline(always)]
    unsafe fn inputs(at: *const i8) -> __m256i {
        // SAFETY: four activations are readable.
        unsafe { _mm256_set1_epi32(at.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn wide_inputs(at: *const i8) -> __m256i {
        // SAFETY: four activations are readable.
        unsafe { Self::inputs(at) }
    }

    /// A pair of products is at most 2 * 127 * 127, below where 16 bits saturate.
    #[inline(always)]
    unsafe fn dot(sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: AVX2.
        unsafe {
            let pairs = _mm256_maddubs_epi16(codes, inputs);
            let quads = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            _mm256_add_epi32(sums, quads)
        }
    }

    /// The lower seven bits and the highest, each of which stays below where 16 bits saturate.
    #[inline(always)]
    unsafe fn wide_dot(sums: __m256i, codes: __m256i, inputs: __m256i) -> __m256i {
        // SAFETY: AVX2.
        unsafe {
            let low = _mm256_and_si256(codes, _mm256_set1_epi8(i8::MAX));
            let high = _mm256_and_si256(codes, _mm256_set1_epi8(i8::MIN));
            Self::dot(Self::dot(sums, low, inputs), high, inputs)
        }
    }

    #[inline(always)]
    unsafe fn floats(sums: __m256i) -> __m256 {
        // SAFETY: AVX2.
        unsafe { _mm256_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: AVX2.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> __m256 {
        // SAFETY: eight floats of a panel are readable and aligned.
        unsafe { _mm256_load_ps(at) }
    }

    #[inline(always)]
    unsafe fn store(at: *mut f32, floats: __m256) {
        // SAFETY: eight floats are writable.
        unsafe { _mm256_storeu_ps(at, floats) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: AVX2.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: AVX2.
        unsafe { _mm256_add_ps(a, b) }
    }
}

// SAFETY: as above.
unsafe impl FloatVectors for Avx2 {
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> __m256 {
        // SAFETY: 16 bytes are readable and aligned.
        unsafe {
            // The sign fills the upper half, so one shift puts it and the magnitude in place.
            let words = _mm256_cvtepi16_epi32(_mm_load_si128(at.cast()));
            let moved = _mm256_slli_epi32::<13>(words);
            let mask = _mm256_set1_epi32(0x8fff_e000_u32.cast_signed());
            let bits = _mm256_castsi256_ps(_mm256_and_si256(moved, mask));
            let magnitude = _mm256_and_si256(moved, _mm256_set1_epi32(0x0fff_e000));
            let infinite = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32((0x7c00 << 13) - 1));
            let exponent = _mm256_and_si256(infinite, _mm256_set1_epi32(0x7f80_0000));
            _mm256_or_ps(
                _mm256_mul_ps(bits, _mm256_set1_ps(F16_BIAS)),
                _mm256_castsi256_ps(exponent),
            )
        }
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> __m256 {
        // SAFETY: 16 bytes are readable and aligned.
        unsafe {
            let words = _mm256_cvtepi16_epi32(_mm_load_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn run(job: &Job) {
    // SAFETY: the caller's promise.
    unsafe { tile::run::<Avx2>(job) }
}

/// Multiplies unquantised panels: what the other x86-64 kernels do too.
///
/// # Safety
/// As for `floats::run`, on a machine with AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn run_floats(job: &FloatJob) {
    // SAFETY: the caller's promise.
    unsafe { floats::run::<Avx2>(job) }
}

impl Runner for Avx2 {
    unsafe fn run(&self, job: &Job) {
        // SAFETY: the caller's promise, and this kind is chosen on machines with AVX2.
        unsafe { run(job) }
    }

    unsafe fn run_floats(&self, job: &FloatJob) {
        // SAFETY: the caller's promise, and this kind is chosen on machines with AVX2.
        unsafe { run_floats(job) }
    }
}

impl Kernels for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn matmul(&self, weights: &Panels, inputs: &Activations, outputs: &mut [f32]) {
        start::matmul(self, weights, inputs, outputs);
    }
}
