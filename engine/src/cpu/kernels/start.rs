//! From safe slices to the jobs that kernels run.
#![allow(
    unsafe_code,
    reason = "jobs are pointers; here they are made from slices"
)]

use super::super::activations::Activations;
use super::super::panels::{GroupLayout, Layout, Panels};
use super::floats::FloatJob;
use super::job::{Job, PANEL_ROWS};

/// What a machine does with whole panels.
pub(super) trait Runner {
    /// Multiplies quantised panels.
    ///
    /// # Safety
    /// As for `tile::run`.
    unsafe fn run(&self, job: &Job);

    /// Multiplies unquantised panels.
    ///
    /// # Safety
    /// As for `floats::run`.
    unsafe fn run_floats(&self, job: &FloatJob);
}

/// # Panics
/// When the sizes do not agree.
pub(super) fn check_sizes(weights: &Panels, inputs: &Activations, outputs: &[f32]) {
    assert_eq!(inputs.cols(), weights.cols(), "one input a column");
    assert_eq!(
        outputs.len(),
        inputs.tokens() * weights.rows(),
        "one output a row, for each token"
    );
}

/// Multiplies with `runner`, segment by segment.
///
/// # Panics
/// When the sizes do not agree.
pub(super) fn matmul(
    runner: &impl Runner,
    weights: &Panels,
    inputs: &Activations,
    outputs: &mut [f32],
) {
    check_sizes(weights, inputs, outputs);
    if inputs.tokens() == 0 {
        return;
    }
    let mut tail = [0.0_f32; PANEL_ROWS];
    let mut first_row = 0;
    for segment in weights.segments() {
        let n_panels = segment.len() / weights.panel_bytes();
        let n_rows = (weights.rows() - first_row).min(n_panels * PANEL_ROWS);
        let to = outputs[first_row..].as_mut_ptr();
        match weights.layout() {
            Layout::Groups(GroupLayout {
                group_len,
                codes,
                offsets,
                zero_point,
                ..
            }) => {
                let job = Job {
                    panels: segment.as_ptr(),
                    n_panels,
                    n_rows,
                    n_groups: weights.cols() / group_len,
                    group_len,
                    codes,
                    offsets: u32::from(offsets),
                    zero_point,
                    n_tokens: inputs.tokens(),
                    inputs: inputs.codes().as_ptr(),
                    words: inputs.words().as_ptr(),
                    marks: inputs.marks(group_len).as_ptr(),
                    outputs: to,
                    output_stride: weights.rows(),
                    tail: tail.as_mut_ptr(),
                };
                // SAFETY: the sizes agree: quantised columns are whole groups, activations have
                // codes for them, and outputs hold every row of every token.
                unsafe { runner.run(&job) };
            }
            Layout::Floats(kind) => {
                let job = FloatJob {
                    panels: segment.as_ptr(),
                    kind,
                    n_panels,
                    n_rows,
                    n_cols: weights.cols(),
                    n_tokens: inputs.tokens(),
                    inputs: inputs.values().as_ptr(),
                    outputs: to,
                    output_stride: weights.rows(),
                    tail: tail.as_mut_ptr(),
                };
                // SAFETY: the sizes agree, as above.
                unsafe { runner.run_floats(&job) };
            }
        }
        first_row += n_rows;
    }
}
