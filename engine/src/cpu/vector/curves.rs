//! Exponential, hyperbolic tangent and error function, without branches or calls, of one float or
//! of a vector of them.

use super::super::kernel;
use super::super::real::Real;

/// Adding this to a float below 2^22 rounds it to a whole number, halves to even.
pub(in super::super) const ROUND: f32 = 12_582_912.0;

/// The upper bits of ln 2: whole numbers below 2^9 times this are exact.
const LN_2_HIGH: f32 = 0.693_359_4;

/// What [`LN_2_HIGH`] lacks.
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// `e^x`, within 2 units in the last place; 0 below -103.98 and infinite above 88.73.
#[inline(always)]
#[must_use]
pub fn exp<R: Real>(x: R) -> R {
    let clamped = x.at_most(89.0).at_least(-105.0);
    let rounded = clamped * R::of(std::f32::consts::LOG2_E) + R::of(ROUND);
    let n = rounded - R::of(ROUND);
    let r = clamped - n * R::of(LN_2_HIGH) - n * R::of(LN_2_LOW);
    // Cephes' polynomial: e^r = 1 + r + r^2 p(r) for |r| <= ln(2) / 2.
    let p = polynomial(
        r,
        [
            1.987_569_1e-4,
            1.398_2e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            5e-1,
        ],
    );
    (p * (r * r) + r + R::of(1.0)).times_two_to(rounded)
}

/// `tanh(x)`, within 3 units in the last place.
#[inline(always)]
#[must_use]
pub fn tanh<R: Real>(x: R) -> R {
    let size = x.abs();
    // Cephes' polynomial, for small sizes.
    let square = x * x;
    let p = polynomial(
        square,
        [
            -5.704_988_7e-3,
            2.063_909e-2,
            -5.373_971_6e-2,
            1.333_144_2e-1,
            -3.333_328e-1,
        ],
    );
    let small = p * square * x + x;
    let above = R::of(2.0) / (exp(R::of(2.0) * size) + R::of(1.0));
    let large = (R::of(1.0) - above).copysign(x);
    size.if_below(0.625, small, large)
}

/// `1 - erf(x)`: below zero within 6 units in the last place of the result, above within 2^-17 of
/// it, and 0 above 10.
#[inline(always)]
#[must_use]
pub fn erfc<R: Real>(x: R) -> R {
    let size = x.abs().at_most(10.5);
    // exp(x^2) erfc(x) as a polynomial in t, fitted by least relative squares; off by 5e-7.
    let t = R::of(1.0) / (R::of(1.0) + R::of(0.3) * size);
    let p = polynomial(
        t,
        [
            -1.284_291_3e-1,
            4.791_879_4e-1,
            -4.961_352_6e-1,
            5.244_533e-1,
            -7.365_116e-2,
            2.026_389_7e-1,
            1.529_922_8e-1,
            1.696_170_6e-1,
            1.693_344e-1,
            -8.392_697e-6,
        ],
    );
    let tail = p * exp(-(size * size));
    x.if_below(0.0, R::of(2.0) - tail, tail)
}

/// Coefficients from the highest power down.
#[inline(always)]
fn polynomial<R: Real, const N: usize>(x: R, coefficients: [f32; N]) -> R {
    let mut sum = R::of(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = sum * x + R::of(*coefficient);
    }
    sum
}

/// A function of two floats that replaces the first.
pub(in super::super) trait Curve: Copy {
    /// Of one float, or of a vector of them.
    fn at<R: Real>(self, x: R, y: R) -> R;
}

/// `e^(x - y)`.
#[derive(Clone, Copy)]
struct Exponential;

/// `silu(x) * y`.
#[derive(Clone, Copy)]
struct Silu;

/// `gelu(x) * y`, by the hyperbolic tangent.
#[derive(Clone, Copy)]
struct GeluTanh;

/// `gelu(x)`, by the error function.
#[derive(Clone, Copy)]
struct GeluErf;

/// `cap * tanh(x / cap)`.
#[derive(Clone, Copy)]
struct SoftCap;

impl Curve for Exponential {
    #[inline(always)]
    fn at<R: Real>(self, x: R, largest: R) -> R {
        exp(x - largest)
    }
}

impl Curve for Silu {
    #[inline(always)]
    fn at<R: Real>(self, gate: R, up: R) -> R {
        gate / (R::of(1.0) + exp(-gate)) * up
    }
}

impl Curve for GeluTanh {
    #[inline(always)]
    fn at<R: Real>(self, x: R, up: R) -> R {
        // sqrt(2 / pi)
        let inner = R::of(0.797_884_6) * (x + R::of(0.044_715) * (x * x * x));
        R::of(0.5) * x * (R::of(1.0) + tanh(inner)) * up
    }
}

impl Curve for GeluErf {
    #[inline(always)]
    fn at<R: Real>(self, x: R, _: R) -> R {
        R::of(0.5) * x * erfc(x * R::of(-std::f32::consts::FRAC_1_SQRT_2))
    }
}

impl Curve for SoftCap {
    #[inline(always)]
    fn at<R: Real>(self, x: R, cap: R) -> R {
        cap * tanh(x / cap)
    }
}

/// `exp(x - max(x)) / sum(exp(x - max(x)))`: the shares of a softmax, each the exponential times
/// the reciprocal of the sum.
pub fn softmax(x: &mut [f32]) {
    kernel::map(x, super::max(x), Exponential);
    let share = 1.0 / super::sum(x);
    for x in x {
        *x *= share;
    }
}

/// `gate = silu(gate) * up`, where `silu(x) = x / (1 + exp(-x))`.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "as many as each other");
    kernel::map_pairs(gate, up, Silu);
}

/// `gate = gelu(gate) * up`, where `gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
pub fn gelu_tanh_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "as many as each other");
    kernel::map_pairs(gate, up, GeluTanh);
}

/// `x = gelu(x)`, where `gelu(x) = x / 2 * erfc(-x / sqrt(2))`.
pub fn gelu_erf(x: &mut [f32]) {
    kernel::map(x, 0.0, GeluErf);
}

/// `x = cap * tanh(x / cap)`.
pub fn soft_cap(x: &mut [f32], cap: f32) {
    kernel::map(x, cap, SoftCap);
}
