//! The relaxed module: the matrix kernels over relaxed-simd's 8-bit dot product.
//!
//! A program of its own, because one relaxed instruction makes browsers without them refuse the
//! whole module it is in. `engine/build.rs` compiles it; it imports the engine's memory and has no
//! data, no stack and no allocator of its own, so it may run over that memory at any time.
//!
//! `i32x4_relaxed_dot_i8x16_i7x16_add` is exact for a second operand of 0 to 127 everywhere. For
//! other bytes a machine does one of three things, always the same one (the specification fixes
//! the choice for an execution environment): it takes them as unsigned (`vpdpbusd`), as signed
//! (`sdot`), or saturates pairs (`pmaddubsw`). [`probe`] lets the engine find out which.
#![no_std]
#![allow(unsafe_code, reason = "vectors are read and written through pointers")]

#[path = "../src/cpu/kernels/job.rs"]
mod job;
#[path = "../src/cpu/kernels/simd128.rs"]
mod simd128;
#[path = "../src/cpu/kernels/tile.rs"]
mod tile;

use core::arch::wasm32::{
    f32x4_convert_i32x4, i8x16_abs, i8x16_lt, i8x16_splat, i8x16_sub, i32x4_extract_lane,
    i32x4_relaxed_dot_i8x16_i7x16_add, i32x4_splat, u8x16_splat, u16x8_shr, v128, v128_and,
    v128_load, v128_load32_splat, v128_xor,
};

use job::{Job, WIDE};
use simd128::Simd128;
use tile::Vectors;

/// The second operand of a dot product is taken as unsigned.
const UNSIGNED: u32 = 0;

/// The second operand of a dot product is taken as signed.
const SIGNED: u32 = 1;

/// The second operand of a dot product has to be 0 to 127.
const SEVEN_BITS: u32 = 2;

/// Two vectors of four lanes on a machine that takes bytes above 127 as `BYTES` says.
#[derive(Clone, Copy)]
struct Relaxed<const BYTES: u32>;

// SAFETY: this file is compiled for wasm with relaxed-simd only; reads and writes are of the
// extents that the trait states.
unsafe impl<const BYTES: u32> Vectors for Relaxed<BYTES> {
    type Input = i8;
    type Codes = [v128; 2];
    type Inputs = v128;
    /// Magnitudes, and all ones where the sign is negative; or the activations twice.
    type WideInputs = (v128, v128);
    type Sums = [v128; 2];
    type Floats = [v128; 2];

    #[inline(always)]
    unsafe fn row(job: &Job, token: usize) -> *const i8 {
        unsafe { job.inputs.add(token * job.n_groups * job.group_len) }
    }

    #[inline(always)]
    unsafe fn start(bias: i32) -> Self::Sums {
        [i32x4_splat(bias); 2]
    }

    #[inline(always)]
    unsafe fn wide_bias(sum: i32) -> i32 {
        match BYTES {
            UNSIGNED => sum * -128,
            _ => 0,
        }
    }

    #[inline(always)]
    unsafe fn codes(at: *const u8) -> Self::Codes {
        unsafe { [v128_load(at.cast()), v128_load(at.add(16).cast())] }
    }

    #[inline(always)]
    unsafe fn wide_codes(at: *const u8) -> Self::Codes {
        let codes = unsafe { Self::codes(at) };
        match BYTES {
            UNSIGNED => codes.map(|codes| v128_xor(codes, i8x16_splat(-128))),
            _ => codes,
        }
    }

    #[inline(always)]
    unsafe fn nibbles([a, b]: Self::Codes) -> (Self::Codes, Self::Codes) {
        let mask = u8x16_splat(0x0f);
        (
            [v128_and(a, mask), v128_and(b, mask)],
            [
                v128_and(u16x8_shr(a, 4), mask),
                v128_and(u16x8_shr(b, 4), mask),
            ],
        )
    }

    #[inline(always)]
    unsafe fn inputs(at: *const i8) -> v128 {
        unsafe { v128_load32_splat(at.cast()) }
    }

    #[inline(always)]
    unsafe fn wide_inputs(at: *const i8) -> (v128, v128) {
        let inputs = unsafe { Self::inputs(at) };
        match BYTES {
            SEVEN_BITS => (i8x16_abs(inputs), i8x16_lt(inputs, i8x16_splat(0))),
            _ => (inputs, inputs),
        }
    }

    #[inline(always)]
    unsafe fn dot(sums: Self::Sums, codes: Self::Codes, inputs: v128) -> Self::Sums {
        [
            i32x4_relaxed_dot_i8x16_i7x16_add(inputs, codes[0], sums[0]),
            i32x4_relaxed_dot_i8x16_i7x16_add(inputs, codes[1], sums[1]),
        ]
    }

    #[inline(always)]
    unsafe fn wide_dot(
        sums: Self::Sums,
        codes: Self::Codes,
        (inputs, signs): (v128, v128),
    ) -> Self::Sums {
        match BYTES {
            SEVEN_BITS => {
                let signed = |codes| i8x16_sub(v128_xor(codes, signs), signs);
                [
                    i32x4_relaxed_dot_i8x16_i7x16_add(signed(codes[0]), inputs, sums[0]),
                    i32x4_relaxed_dot_i8x16_i7x16_add(signed(codes[1]), inputs, sums[1]),
                ]
            }
            _ => unsafe { Self::dot(sums, codes, inputs) },
        }
    }

    #[inline(always)]
    unsafe fn floats(sums: Self::Sums) -> Self::Floats {
        sums.map(|sums| f32x4_convert_i32x4(sums))
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Floats {
        unsafe { Simd128::splat(value) }
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::Floats {
        unsafe { Simd128::load(at) }
    }

    #[inline(always)]
    unsafe fn store(at: *mut f32, floats: Self::Floats) {
        unsafe { Simd128::store(at, floats) }
    }

    #[inline(always)]
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        unsafe { Simd128::mul(a, b) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats {
        unsafe { Simd128::add(a, b) }
    }
}

/// How this machine takes bytes above 127: [`UNSIGNED`], [`SIGNED`] or [`SEVEN_BITS`].
///
/// Tries every activation with every byte, four equal products to a lane, the most that any
/// intermediate can be asked to hold.
#[unsafe(no_mangle)]
extern "C" fn probe() -> u32 {
    let mut unsigned = true;
    let mut signed = true;
    for input in -127_i32..=127 {
        for code in 0_i32..=255 {
            let sums = i32x4_relaxed_dot_i8x16_i7x16_add(
                i8x16_splat(input as i8),
                i8x16_splat(code as i8),
                i32x4_splat(0),
            );
            let sum = i32x4_extract_lane::<0>(sums);
            unsigned &= sum == 4 * input * code;
            signed &= sum == 4 * input * i32::from(code as i8);
        }
    }
    match (unsigned, signed) {
        (true, _) => UNSIGNED,
        (false, true) => SIGNED,
        (false, false) => SEVEN_BITS,
    }
}

/// Runs `job` on a machine of the kind that [`probe`] told.
///
/// # Safety
/// As for `tile::run`.
#[unsafe(no_mangle)]
unsafe extern "C" fn run(job: *const Job, bytes: u32) {
    // SAFETY: the caller's promises are those of `tile::run`.
    unsafe {
        match ((*job).codes, bytes) {
            (WIDE, SIGNED) => tile::panels::<Relaxed<SIGNED>, WIDE, 32, false>(&*job),
            (WIDE, SEVEN_BITS) => tile::panels::<Relaxed<SEVEN_BITS>, WIDE, 32, false>(&*job),
            _ => tile::run::<Relaxed<UNSIGNED>>(&*job),
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
