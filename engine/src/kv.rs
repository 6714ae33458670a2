//! How keys and values are kept, and what is asked of a batch of one sequence.

use crate::config::ModelConfig;

/// channels; how many of a cached row share a scale in [`KvFormat::Q8`].
pub const Q8_GROUP: usize = 32;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvFormat {
    /// 16-bit floats: what peers use, so that they agree.
    #[default]
    F16,
    /// Signed bytes, [`Q8_GROUP`] of them with one f32 scale: a little more than half the memory.
    Q8,
}

impl KvFormat {
    /// Bytes of the keys and values of one position, in every layer.
    pub fn position_bytes(self, config: &ModelConfig) -> u64 {
        let kv_dim = config.kv_dim() as u64;
        let row = match self {
            Self::F16 => 2 * kv_dim,
            Self::Q8 => kv_dim + 4 * kv_dim.div_ceil(Q8_GROUP as u64),
        };
        2 * config.n_layers as u64 * row
    }
}
