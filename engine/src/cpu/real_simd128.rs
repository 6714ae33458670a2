//! Four floats as [`Real`], in wasm's 128-bit vectors.

use std::arch::wasm32::{
    f32x4_abs, f32x4_add, f32x4_div, f32x4_lt, f32x4_mul, f32x4_ne, f32x4_neg, f32x4_pmax,
    f32x4_pmin, f32x4_splat, f32x4_sub, i32x4_add, i32x4_shl, i32x4_shr, i32x4_splat, i32x4_sub,
    v128, v128_bitselect,
};
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::real::Real;
use super::vector::ROUND;

/// Four floats.
#[derive(Clone, Copy)]
pub(super) struct Four(pub(super) v128);

impl Add for Four {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }
}

impl Div for Four {
    type Output = Self;

    #[inline(always)]
    fn div(self, other: Self) -> Self {
        Self(f32x4_div(self.0, other.0))
    }
}

impl Mul for Four {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(f32x4_mul(self.0, other.0))
    }
}

impl Neg for Four {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        Self(f32x4_neg(self.0))
    }
}

impl Sub for Four {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }
}

impl Real for Four {
    #[inline(always)]
    fn of(value: f32) -> Self {
        Self(f32x4_splat(value))
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(f32x4_abs(self.0))
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        Self(v128_bitselect(sign.0, self.0, f32x4_splat(-0.0)))
    }

    /// `pmin(a, b)` is `a` unless `b < a`.
    #[inline(always)]
    fn at_most(self, limit: f32) -> Self {
        Self(f32x4_pmin(self.0, f32x4_splat(limit)))
    }

    /// `pmax(a, b)` is `a` unless `a < b`.
    #[inline(always)]
    fn at_least(self, limit: f32) -> Self {
        Self(f32x4_pmax(self.0, f32x4_splat(limit)))
    }

    #[inline(always)]
    fn if_below(self, limit: f32, then: Self, otherwise: Self) -> Self {
        let chosen = v128_bitselect(then.0, otherwise.0, f32x4_lt(self.0, f32x4_splat(limit)));
        Self(v128_bitselect(self.0, chosen, f32x4_ne(self.0, self.0)))
    }

    #[inline(always)]
    fn times_two_to(self, rounded: Self) -> Self {
        let n = i32x4_sub(rounded.0, f32x4_splat(ROUND));
        let half = i32x4_shr(n, 1);
        self * power_of_two(half) * power_of_two(i32x4_sub(n, half))
    }
}

#[inline(always)]
fn power_of_two(n: v128) -> Four {
    Four(i32x4_shl(i32x4_add(n, i32x4_splat(127)), 23))
}
