//! What a token needs beside matrix products: the same bits on every target, in plain loops that
//! compilers turn into vectors.
//!
//! No call leaves a loop: exponentials are polynomials, branches are selections. Where compilers
//! make no vectors of a loop, `kernel_simd128.rs` spells them out. Sums are taken in
//! the order that [`super::lanes`] states; every operation is rounded on its own (no fused
//! multiply-add). NaN in, NaN out.

mod curves;
pub(super) mod half;
mod products;

pub(super) use curves::{Curve, ROUND};
pub use curves::{erfc, exp, gelu_erf, gelu_tanh_mul, silu_mul, soft_cap, softmax, tanh};
pub use half::{f16_from_f32, f32_from_f16, widen_f16};
pub(super) use products::add_products;
pub use products::dot;

use super::kernel;
use super::lanes::{LANES, fold};

/// `sum += value`.
///
/// # Panics
/// When the lengths differ; so for all functions of two slices here.
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
    kernel::max(x)
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

#[cfg(test)]
mod tests;
