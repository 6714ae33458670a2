//! What a token needs beside matrix products: the same bits on every target, in plain loops that
//! compilers turn into vectors.
//!
//! No call leaves a loop: exponentials are polynomials, branches are selections. Sums are taken in
//! the order that [`super::lanes`] states; every operation is rounded on its own (no fused
//! multiply-add). NaN in, NaN out.

mod curves;
mod half;

pub use curves::{erfc, exp, tanh};
pub use half::{f16_from_f32, f32_from_f16, narrow_f16, widen_f16};

use super::kernel;
use super::lanes::{LANES, fold};

/// `sum(a * b)`.
///
/// # Panics
/// When the lengths differ; so for all functions of two slices here.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "as many as each other");
    kernel::dot(a, b)
}

/// `sum += share * value`.
pub fn add_scaled(sums: &mut [f32], share: f32, values: &[f32]) {
    assert_eq!(sums.len(), values.len(), "as many as each other");
    kernel::add_scaled(sums, share, values);
}

/// `sum += value`.
pub fn add(sums: &mut [f32], values: &[f32]) {
    assert_eq!(sums.len(), values.len(), "as many as each other");
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

/// `sum(x)`.
pub fn sum(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += x;
    }
    fold(sums)
}

/// The largest, or NaN where there is one; minus infinity of nothing.
pub fn max(x: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a >= b || a.is_nan() { a } else { b };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut largest = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], chunk[lane]);
        }
    }
    largest
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| larger(a, *b))
}

/// `x * scale * gain` with `scale = 1 / sqrt(mean(x^2) + eps)`.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    assert!(
        x.len() == gain.len() && x.len() == out.len(),
        "as many as each other"
    );
    let scale = rms_scale(x, eps);
    for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
        *out = x * scale * gain;
    }
}

/// As [`rms_norm`], in place.
pub fn rms_norm_in_place(x: &mut [f32], gain: &[f32], eps: f32) {
    assert_eq!(x.len(), gain.len(), "as many as each other");
    let scale = rms_scale(x, eps);
    for (x, gain) in x.iter_mut().zip(gain) {
        *x = *x * scale * gain;
    }
}

fn rms_scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

/// [`rms_norm`] of `x` less its mean, then `+ bias`.
pub fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    assert!(
        x.len() == gain.len() && x.len() == bias.len(),
        "as many as each other"
    );
    assert_eq!(x.len(), out.len(), "as many as each other");
    let mean = sum(x) / x.len() as f32;
    for (out, x) in out.iter_mut().zip(x) {
        *out = x - mean;
    }
    let scale = rms_scale(out, eps);
    for ((out, gain), bias) in out.iter_mut().zip(gain).zip(bias) {
        *out = *out * scale * gain + bias;
    }
}

/// `exp(x - max(x)) / sum(exp(x - max(x)))`: the shares of a softmax, each the exponential times
/// the reciprocal of the sum.
pub fn softmax(x: &mut [f32]) {
    let largest = max(x);
    for x in &mut *x {
        *x = exp(*x - largest);
    }
    let share = 1.0 / sum(x);
    for x in x {
        *x *= share;
    }
}

/// `gate = silu(gate) * up`, where `silu(x) = x / (1 + exp(-x))`.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "as many as each other");
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + exp(-*gate)) * up;
    }
}

/// `gate = gelu(gate) * up`, where `gelu(x) = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
pub fn gelu_tanh_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "as many as each other");
    for (gate, up) in gate.iter_mut().zip(up) {
        let x = *gate;
        // sqrt(2 / pi)
        let inner = 0.797_884_6 * (x + 0.044_715 * (x * x * x));
        *gate = 0.5 * x * (1.0 + tanh(inner)) * up;
    }
}

/// `x = gelu(x)`, where `gelu(x) = x / 2 * erfc(-x / sqrt(2))`.
pub fn gelu_erf(x: &mut [f32]) {
    for x in x {
        *x = 0.5 * *x * erfc(*x * -std::f32::consts::FRAC_1_SQRT_2);
    }
}

/// `x = cap * tanh(x / cap)`.
pub fn soft_cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * tanh(*x / cap);
    }
}

#[cfg(test)]
mod tests;
