//! Norms, activations and caps of the CPU path.

use super::kernel;
use crate::arch::{Activation, NormKind};

/// `norm(x) * gain + bias` for every row.
pub(super) fn norm(
    kind: NormKind,
    x: &[f32],    // (rows, width)
    gain: &[f32], // (width)
    bias: Option<&[f32]>,
    eps: f32,
    out: &mut [f32], // (rows, width)
) {
    let width = gain.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        out.copy_from_slice(x);
        if kind == NormKind::Layer {
            let mean = x.iter().sum::<f32>() / width as f32;
            out.iter_mut().for_each(|it| *it -= mean);
        }
        norm_in_place(out, gain, eps);
        if let Some(bias) = bias {
            kernel::add_scaled(out, 1.0, bias);
        }
    }
}

/// `x / sqrt(mean(x^2) + eps) * gain` for every row of the width of `gain`.
pub(super) fn norm_in_place(x: &mut [f32], gain: &[f32], eps: f32) {
    for x in x.chunks_exact_mut(gain.len()) {
        let scale = 1.0 / (kernel::dot(x, x) / gain.len() as f32 + eps).sqrt();
        for (x, gain) in x.iter_mut().zip(gain) {
            *x = *x * scale * gain;
        }
    }
}

/// `gate = activation(gate) * up`, or `up = activation(up)`; gives `up` back.
pub(super) fn activate(activation: Activation, gate: &mut [f32], mut up: Vec<f32>) -> Vec<f32> {
    match activation {
        Activation::GeluErf => {
            for it in &mut up {
                *it = *it * 0.5 * (1.0 + libm::erff(*it * std::f32::consts::FRAC_1_SQRT_2));
            }
        }
        Activation::GeluTanhGated => {
            for (gate, up) in gate.iter_mut().zip(&up) {
                let cubed = *gate * *gate * *gate;
                // sqrt(2 / pi)
                let inner = 0.797_884_6 * (*gate + 0.044_715 * cubed);
                *gate = 0.5 * *gate * (1.0 + libm::tanhf(inner)) * up;
            }
        }
        Activation::SiluGated => {
            for (gate, up) in gate.iter_mut().zip(&up) {
                *gate = *gate / (1.0 + libm::expf(-*gate)) * up;
            }
        }
    }
    up
}

/// `cap * tanh(x / cap)`.
pub(super) fn cap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * libm::tanhf(*x / cap);
    }
}
