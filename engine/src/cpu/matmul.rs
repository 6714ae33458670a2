//! Matrix times several vectors: each weight row is widened once and used for all of them.

use super::kernel;
use crate::quant::{
    Format, Q4_0_BLOCK_BYTES, Q8_0_BLOCK_BYTES, QUANT_BLOCK_LEN, dequantize, half_at,
};
use crate::weights::Matrix;

/// A weight row, widened, and room for the next.
#[derive(Debug, Clone, Default)]
pub(super) struct RowScratch {
    /// `(cols)`; for Q4_0 and Q8_0 without their scales.
    weights: Vec<f32>,
    /// `(cols / 32)`; empty where the weights are whole.
    scales: Vec<f32>,
}

/// Writes `W x` for each `x` in `inputs` to `outputs`.
///
/// Every output is the same bits whether its input came alone or among others.
///
/// # Panics
/// When the sizes do not agree.
pub fn matmul(
    matrix: &Matrix,     // (rows, cols)
    inputs: &[f32],      // (tokens, cols)
    outputs: &mut [f32], // (tokens, rows)
) {
    let mut scratch = RowScratch::default();
    matmul_with(&mut scratch, matrix, inputs, outputs);
}

/// As [`matmul`], with scratch that outlives the call.
pub(super) fn matmul_with(
    scratch: &mut RowScratch,
    matrix: &Matrix,     // (rows, cols)
    inputs: &[f32],      // (tokens, cols)
    outputs: &mut [f32], // (tokens, rows)
) {
    let Matrix { rows, cols, .. } = *matrix;
    assert_eq!(inputs.len() % cols, 0, "inputs are whole vectors");
    assert_eq!(
        outputs.len(),
        inputs.len() / cols * rows,
        "one output row per input row"
    );
    for row in 0..rows {
        scratch.widen(matrix, row);
        for (token, x) in inputs.chunks_exact(cols).enumerate() {
            outputs[token * rows + row] = scratch.dot(x);
        }
    }
}

impl RowScratch {
    fn dot(&self, x: &[f32] /* (cols) */) -> f32 {
        if self.scales.is_empty() {
            kernel::dot(&self.weights, x)
        } else {
            kernel::dot_blocks(&self.scales, &self.weights, x)
        }
    }

    fn widen(&mut self, matrix: &Matrix, row: usize) {
        let bytes = matrix.row(row);
        self.weights.resize(matrix.cols, 0.0);
        self.scales.clear();
        match matrix.format {
            Format::F32
            | Format::F16
            | Format::BF16
            | Format::Q4_1
            | Format::Q5_0
            | Format::Q5_1
            | Format::Q2_K
            | Format::Q3_K
            | Format::Q4_K
            | Format::Q5_K
            | Format::Q6_K
            | Format::IQ4_NL => dequantize(matrix.format, bytes, &mut self.weights),
            Format::Q4_0 => {
                let q = self.weights.as_chunks_mut::<QUANT_BLOCK_LEN>().0;
                for (q, block) in q.iter_mut().zip(bytes.as_chunks::<Q4_0_BLOCK_BYTES>().0) {
                    self.scales.push(half_at(block, 0));
                    let nibbles = block.last_chunk().expect("a block is a scale and 16 bytes");
                    kernel::widen_q4_0(nibbles, q);
                }
            }
            Format::Q8_0 => {
                let q = self.weights.as_chunks_mut::<QUANT_BLOCK_LEN>().0;
                for (q, block) in q.iter_mut().zip(bytes.as_chunks::<Q8_0_BLOCK_BYTES>().0) {
                    self.scales.push(half_at(block, 0));
                    let signed = block.last_chunk().expect("a block is a scale and 32 bytes");
                    kernel::widen_q8_0(signed, q);
                }
            }
        }
    }
}
