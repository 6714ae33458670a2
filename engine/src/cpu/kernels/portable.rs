//! The kernels as a specification: one weight at a time, in safe code, for any machine.

use half::{bf16, f16};

use super::super::activations::Activations;
use super::super::panels::{FloatKind, GroupLayout, Layout, Panels};
use super::Kernels;
use super::floats::CHUNK_LEN;
use super::start::check_sizes;

/// Any machine.
#[derive(Debug)]
pub(super) struct Portable;

impl Kernels for Portable {
    fn name(&self) -> &'static str {
        "portable"
    }

    fn matmul(&self, weights: &Panels, inputs: &Activations, outputs: &mut [f32]) {
        check_sizes(weights, inputs, outputs);
        for row in 0..weights.rows() {
            for token in 0..inputs.tokens() {
                outputs[token * weights.rows() + row] = match weights.layout() {
                    Layout::Groups(layout) => dot(weights, layout, row, inputs, token),
                    Layout::Floats(kind) => dot_floats(weights, kind, row, inputs, token),
                };
            }
        }
    }
}

fn dot(
    weights: &Panels,
    layout: GroupLayout,
    row: usize,
    inputs: &Activations,
    token: usize,
) -> f32 {
    let GroupLayout { group_len, .. } = layout;
    let n_groups = weights.cols() / group_len;
    let marks = &inputs.marks(group_len)[token * n_groups..][..n_groups];
    let inputs = &inputs.codes()[token * weights.cols()..][..weights.cols()];
    let mut codes = [0; 32];
    let codes = &mut codes[..group_len];
    let mut output = 0.0;
    for (group, (inputs, mark)) in inputs.chunks_exact(group_len).zip(marks).enumerate() {
        let (scale, offset) = weights.group(layout, row, group, codes);
        let products = codes.iter().zip(inputs);
        let sum: i32 = products
            .map(|(code, input)| (i32::from(*code) - layout.zero_point) * i32::from(*input))
            .sum();
        output += (scale * mark.scale) * sum as f32;
        if layout.offsets {
            output += (offset * mark.scale) * mark.sum as f32;
        }
    }
    output
}

fn dot_floats(
    weights: &Panels,
    kind: FloatKind,
    row: usize,
    inputs: &Activations,
    token: usize,
) -> f32 {
    let inputs = &inputs.values()[token * weights.cols()..][..weights.cols()];
    let mut output = 0.0;
    for (chunk, inputs) in inputs.chunks(CHUNK_LEN).enumerate() {
        let mut sum = 0.0;
        for (col, input) in inputs.iter().enumerate() {
            sum += weight(weights, kind, row, chunk * CHUNK_LEN + col) * input;
        }
        output += sum;
    }
    output
}

/// One unquantised weight.
pub(in crate::cpu) fn weight(weights: &Panels, kind: FloatKind, row: usize, col: usize) -> f32 {
    let bytes = weights.float_bytes(kind, row, col);
    match (kind, bytes) {
        (FloatKind::F32, [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
        (FloatKind::F16, [a, b]) => f16::from_le_bytes([*a, *b]).to_f32(),
        (FloatKind::Bf16, [a, b]) => bf16::from_le_bytes([*a, *b]).to_f32(),
        (FloatKind::F32 | FloatKind::F16 | FloatKind::Bf16, _) => {
            unreachable!("a weight is as many bytes as its kind says")
        }
    }
}
