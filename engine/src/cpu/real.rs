//! What curves are computed with: a float, or a machine's vector of floats, with the same bits.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Floats that are computed with together. Every operation is rounded on its own.
pub trait Real:
    Copy
    + Add<Output = Self>
    + Div<Output = Self>
    + Mul<Output = Self>
    + Neg<Output = Self>
    + Sub<Output = Self>
{
    /// The same float in every place.
    fn of(value: f32) -> Self;
    /// Without the sign.
    fn abs(self) -> Self;
    /// With the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;
    /// `limit` where it is less; a NaN stays one.
    fn at_most(self, limit: f32) -> Self;
    /// `limit` where it is more; a NaN stays one.
    fn at_least(self, limit: f32) -> Self;
    /// `then` where it is below `limit`, `otherwise` where it is not; a NaN stays one.
    fn if_below(self, limit: f32, then: Self, otherwise: Self) -> Self;
    /// Times `2^n`, where `rounded` is `n + 1.5 * 2^23` and `n` is -200 to 200.
    fn times_two_to(self, rounded: Self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn of(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }

    #[inline(always)]
    fn copysign(self, sign: Self) -> Self {
        f32::copysign(self, sign)
    }

    #[inline(always)]
    fn at_most(self, limit: f32) -> Self {
        if self > limit { limit } else { self }
    }

    #[inline(always)]
    fn at_least(self, limit: f32) -> Self {
        if self < limit { limit } else { self }
    }

    #[inline(always)]
    fn if_below(self, limit: f32, then: Self, otherwise: Self) -> Self {
        let chosen = if self < limit { then } else { otherwise };
        if self.is_nan() { self } else { chosen }
    }

    /// Two powers of two, since one would leave the range of exponents at both ends.
    #[inline(always)]
    fn times_two_to(self, rounded: Self) -> Self {
        let n = rounded
            .to_bits()
            .wrapping_sub(super::vector::ROUND.to_bits())
            .cast_signed();
        let half = n >> 1;
        self * power_of_two(half) * power_of_two(n.wrapping_sub(half))
    }
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23)
}
