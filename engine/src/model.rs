//! A loaded model, whichever back end computes it.

use crate::config::ModelConfig;
use crate::cpu::CpuModel;
use crate::error::EngineError;
use crate::gpu::GpuModel;
use crate::reference::ReferenceModel;

/// A model and its KV cache.
#[derive(Debug)]
pub enum Model {
    /// Quantised weights and vector kernels: what a tab without a GPU uses.
    Cpu(Box<CpuModel>),
    /// WGSL kernels.
    Gpu(Box<GpuModel>),
    /// The specification, slow.
    Reference(Box<ReferenceModel>),
}

impl Model {
    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        match self {
            Self::Cpu(model) => model.config(),
            Self::Gpu(model) => model.config(),
            Self::Reference(model) => model.config(),
        }
    }

    /// Another model on the same weights, with keys and values of its own and none cached: what
    /// answers that are computed in turns need.
    ///
    /// # Errors
    /// As [`GpuModel::fork`].
    pub fn fork(&self) -> Result<Self, EngineError> {
        Ok(match self {
            Self::Cpu(model) => Self::Cpu(Box::new(model.fork())),
            Self::Gpu(model) => Self::Gpu(Box::new(model.fork()?)),
            Self::Reference(model) => Self::Reference(Box::new(model.fork())),
        })
    }

    /// Feeds 1 to [`crate::memory::MAX_BATCH`] `tokens` from position `start_pos` on; returns the
    /// logits after the last, `(vocab_size)`. What was cached from `start_pos` on is forgotten, so
    /// a new prompt starts at 0.
    ///
    /// # Errors
    /// As [`crate::kv::check_batch`], and [`EngineError::GpuLost`].
    ///
    /// # Cancel safety
    /// A call that was dropped can be made again with the same arguments.
    pub async fn forward(
        &mut self,
        tokens: &[u32],
        start_pos: usize,
    ) -> Result<Vec<f32>, EngineError> {
        match self {
            Self::Cpu(model) => model.forward(tokens, start_pos),
            Self::Gpu(model) => model.forward(tokens, start_pos).await,
            Self::Reference(model) => model.forward(tokens, start_pos),
        }
    }
}
