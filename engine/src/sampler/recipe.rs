//! What a machine that holds the logits needs to choose tokens as [`super::Sampler`] would.
//!
//! [`Recipe::choose`] is the specification; `gpu/drawing.rs` does the same with kernels. Both cut the
//! same tokens off and walk what is left by ascending id, so that they choose the same token unless
//! the number drawn, or the share that top-p wants, falls on a boundary between two tokens to within
//! the rounding of exponentials and sums: some 2^-20 of the probability.

use super::cut::Limits;
use super::{TokenMask, check_finite, penalties, pick};
use crate::error::EngineError;

/// Logits of a row that a recipe changes at most, 16 bytes each to upload: a whole repetition window
/// and every bias are as many. Who wants more has the logits brought to the CPU.
pub const MAX_ADJUSTMENTS: usize = super::MAX_REPETITION_WINDOW as usize + super::MAX_LOGIT_BIASES;

/// How the logit of one token is changed: in this order, each result kept finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjustment {
    /// Whose logit; ids the model does not have are passed over.
    pub id: u32,
    /// Added.
    pub bias: f32,
    /// Then divides what is positive and multiplies what is not.
    pub repetition: f32,
    /// Then taken off.
    pub penalty: f32,
}

/// How one token is chosen, or several in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// By ascending id, each once; at most [`MAX_ADJUSTMENTS`].
    pub(crate) adjustments: Vec<Adjustment>,
    /// The tokens that may come; all where there is none.
    pub(crate) allowed: Option<TokenMask>,
    pub(crate) limits: Limits,
    /// 0 takes the likeliest.
    pub(crate) temperature: f32,
    /// The number drawn for each step, in `[0, 1)`.
    pub(crate) uniforms: Vec<f64>,
}

impl Adjustment {
    /// Changes nothing.
    pub(super) fn none(id: u32) -> Self {
        Self {
            id,
            bias: 0.0,
            repetition: 1.0,
            penalty: 0.0,
        }
    }
}

impl Recipe {
    /// The token of step `step`, of whose logits this makes use.
    ///
    /// # Errors
    /// As [`super::Sampler::choose`], with the step for an index.
    ///
    /// # Panics
    /// When the recipe has no number for `step`.
    pub fn choose(&self, logits: &mut [f32], step: usize) -> Result<u32, EngineError> {
        check_finite(logits, step)?;
        for adjustment in &self.adjustments {
            penalties::adjust(logits, adjustment);
        }
        if let Some(allowed) = &self.allowed {
            allowed.exclude(logits);
        }
        let uniform = self.uniforms[step];
        pick(logits, self.limits, self.temperature, uniform)
            .ok_or(EngineError::NothingAllowed { index: step })
    }

    /// Steps that it has numbers for.
    pub fn steps(&self) -> usize {
        self.uniforms.len()
    }
}
