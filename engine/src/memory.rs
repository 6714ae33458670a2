//! What running a model takes in memory, said before any of it is taken.

use crate::config::ModelConfig;
use crate::cpu::crew::Division;
use crate::cpu::panels::panel_bytes;
use crate::error::EngineError;
use crate::kv::KvFormat;
use crate::weights::TensorInfo;

/// tokens; how many a forward pass takes at most. Enough that a weight read once from memory is
/// used many times, few enough that a pass over a small model stays far below a second.
pub const MAX_BATCH: usize = 32;

/// Bytes that a model needs while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Weights, as the CPU path repacks them.
    pub weight_bytes: u64,
    /// Keys and values for the whole context.
    pub kv_bytes: u64,
    /// Activations of a full batch and the logits.
    pub working_bytes: u64,
    /// What several workers take beside all of this.
    pub crew_bytes: u64,
    /// Positions that `kv_bytes` is for.
    pub context_len: usize,
}

impl MemoryEstimate {
    /// Adds up what `tensors` and a cache of `config.context_len` positions take.
    pub fn new(config: &ModelConfig, tensors: &[TensorInfo]) -> Self {
        let per_token =
            3 * config.dim + 2 * config.q_dim() + 2 * config.kv_dim() + 2 * config.ffn_dim;
        let floats = MAX_BATCH * per_token + config.vocab_size + config.context_len;
        Self {
            weight_bytes: tensors
                .iter()
                .map(|it| panel_bytes(it.format, it.rows, it.cols))
                .sum(),
            kv_bytes: KvFormat::default().position_bytes(config) * config.context_len as u64,
            working_bytes: (floats * size_of::<f32>()) as u64,
            crew_bytes: 0,
            context_len: config.context_len,
        }
    }

    /// The same for so many workers that share the weights; each counts with its own memory.
    pub fn with_workers(self, config: &ModelConfig, workers: usize) -> Self {
        let division = Division::new(config, workers.saturating_sub(1));
        Self {
            crew_bytes: division.memory_bytes(),
            ..self
        }
    }

    /// Everything together.
    pub fn total_bytes(&self) -> u64 {
        self.weight_bytes + self.kv_bytes + self.working_bytes + self.crew_bytes
    }

    /// Compares with what there is.
    ///
    /// # Errors
    /// [`EngineError::DoesNotFit`] with both numbers.
    pub fn fits(&self, available_bytes: u64) -> Result<(), EngineError> {
        let needed_bytes = self.total_bytes();
        if needed_bytes > available_bytes {
            return Err(EngineError::DoesNotFit {
                needed_bytes,
                weight_bytes: self.weight_bytes,
                kv_bytes: self.kv_bytes,
                context_len: self.context_len,
                available_bytes,
            });
        }
        Ok(())
    }
}
