//! Which tensors a model has, their shapes, and the weights themselves in their own format.
//!
//! Shapes are `(rows, cols)`: a matrix maps `cols` inputs to `rows` outputs and is stored row by
//! row, so that one output is one contiguous dot product (GGUF states the same as `[cols, rows]`).

use std::collections::BTreeMap;

use crate::arch::{Facts, NormPlace, RequiredBiases};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufError, WeightSink};
use crate::quant::Format;

/// The place of a tensor in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// `token_embd.weight`, `(vocab_size, dim)`.
    TokenEmbedding,
    /// `position_embd.weight`, `(trained_context, dim)`.
    PositionEmbedding,
    /// `token_types.weight`, `(n_token_types, dim)`.
    TokenTypes,
    /// `token_embd_norm.weight`, `(1, dim)`, F32.
    EmbeddingNorm,
    /// `token_embd_norm.bias`, `(1, dim)`, F32.
    EmbeddingNormBias,
    /// `rope_freqs.weight`, `(1, rope_dim / 2)`, F32: divisors of the frequencies.
    RopeFactors,
    /// `rope_factors_long.weight`: the same, for contexts beyond the original one.
    RopeFactorsLong,
    /// `rope_factors_short.weight`: the same, for contexts within the original one.
    RopeFactorsShort,
    /// A tensor of block `.0`.
    Layer(usize, LayerSlot),
    /// `output_norm.weight`, `(1, dim)`, F32.
    OutputNorm,
    /// `output.weight`, `(vocab_size, dim)`; absent when tied to the embedding.
    Output,
}

/// The place of a tensor in a block, `blk.N.<name>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerSlot {
    /// `attn_norm.weight`, `(1, dim)`, F32.
    AttnNorm,
    /// `attn_q.weight`, `(q_dim, dim)`.
    AttnQ,
    /// `attn_q.bias`, `(1, q_dim)`, F32.
    AttnQBias,
    /// `attn_k.weight`, `(kv_dim, dim)`.
    AttnK,
    /// `attn_k.bias`, `(1, kv_dim)`, F32.
    AttnKBias,
    /// `attn_v.weight`, `(kv_dim, dim)`.
    AttnV,
    /// `attn_v.bias`, `(1, kv_dim)`, F32.
    AttnVBias,
    /// `attn_q_norm.weight`, `(1, head_dim)`, F32.
    AttnQNorm,
    /// `attn_k_norm.weight`, `(1, head_dim)`, F32.
    AttnKNorm,
    /// `attn_output.weight`, `(dim, q_dim)`.
    AttnOutput,
    /// `attn_output.bias`, `(1, dim)`, F32.
    AttnOutputBias,
    /// `post_attention_norm.weight`, `(1, dim)`, F32: on the output before it is added.
    AttnPostNorm,
    /// `attn_output_norm.weight`, `(1, dim)`, F32: on the sum.
    AttnOutputNorm,
    /// `attn_output_norm.bias`, `(1, dim)`, F32.
    AttnOutputNormBias,
    /// `ffn_norm.weight`, `(1, dim)`, F32.
    FfnNorm,
    /// `ffn_gate.weight`, `(ffn_dim, dim)`.
    FfnGate,
    /// `ffn_gate.bias`, `(1, ffn_dim)`, F32.
    FfnGateBias,
    /// `ffn_up.weight`, `(ffn_dim, dim)`.
    FfnUp,
    /// `ffn_up.bias`, `(1, ffn_dim)`, F32.
    FfnUpBias,
    /// `ffn_down.weight`, `(dim, ffn_dim)`.
    FfnDown,
    /// `ffn_down.bias`, `(1, dim)`, F32.
    FfnDownBias,
    /// `post_ffw_norm.weight`, `(1, dim)`, F32: on the output before it is added.
    FfnPostNorm,
    /// `layer_output_norm.weight`, `(1, dim)`, F32: on the sum.
    LayerOutputNorm,
    /// `layer_output_norm.bias`, `(1, dim)`, F32.
    LayerOutputNormBias,
}

impl LayerSlot {
    /// Every tensor of a block, in the order a forward pass reads them.
    pub const ALL: [Self; 24] = [
        Self::AttnNorm,
        Self::AttnQ,
        Self::AttnQBias,
        Self::AttnK,
        Self::AttnKBias,
        Self::AttnV,
        Self::AttnVBias,
        Self::AttnQNorm,
        Self::AttnKNorm,
        Self::AttnOutput,
        Self::AttnOutputBias,
        Self::AttnPostNorm,
        Self::AttnOutputNorm,
        Self::AttnOutputNormBias,
        Self::FfnNorm,
        Self::FfnGate,
        Self::FfnGateBias,
        Self::FfnUp,
        Self::FfnUpBias,
        Self::FfnDown,
        Self::FfnDownBias,
        Self::FfnPostNorm,
        Self::LayerOutputNorm,
        Self::LayerOutputNormBias,
    ];

    /// The tensor's name after the block number.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttnNorm => "attn_norm.weight",
            Self::AttnQ => "attn_q.weight",
            Self::AttnQBias => "attn_q.bias",
            Self::AttnK => "attn_k.weight",
            Self::AttnKBias => "attn_k.bias",
            Self::AttnV => "attn_v.weight",
            Self::AttnVBias => "attn_v.bias",
            Self::AttnQNorm => "attn_q_norm.weight",
            Self::AttnKNorm => "attn_k_norm.weight",
            Self::AttnOutput => "attn_output.weight",
            Self::AttnOutputBias => "attn_output.bias",
            Self::AttnPostNorm => "post_attention_norm.weight",
            Self::AttnOutputNorm => "attn_output_norm.weight",
            Self::AttnOutputNormBias => "attn_output_norm.bias",
            Self::FfnNorm => "ffn_norm.weight",
            Self::FfnGate => "ffn_gate.weight",
            Self::FfnGateBias => "ffn_gate.bias",
            Self::FfnUp => "ffn_up.weight",
            Self::FfnUpBias => "ffn_up.bias",
            Self::FfnDown => "ffn_down.weight",
            Self::FfnDownBias => "ffn_down.bias",
            Self::FfnPostNorm => "post_ffw_norm.weight",
            Self::LayerOutputNorm => "layer_output_norm.weight",
            Self::LayerOutputNormBias => "layer_output_norm.bias",
        }
    }

    /// Whether a file of this architecture is incomplete without it.
    pub fn is_required(self, facts: &Facts) -> bool {
        match self {
            Self::AttnQ
            | Self::AttnK
            | Self::AttnV
            | Self::AttnOutput
            | Self::FfnUp
            | Self::FfnDown => true,
            Self::AttnNorm | Self::FfnNorm => facts.norm_place != NormPlace::After,
            Self::AttnPostNorm | Self::FfnPostNorm => facts.norm_place == NormPlace::Around,
            Self::AttnOutputNorm | Self::LayerOutputNorm => facts.norm_place == NormPlace::After,
            Self::AttnQNorm | Self::AttnKNorm => facts.head_norms,
            Self::FfnGate => facts.activation.is_gated(),
            Self::AttnQBias | Self::AttnKBias | Self::AttnVBias => {
                facts.biases != RequiredBiases::None
            }
            Self::AttnOutputBias | Self::FfnUpBias | Self::FfnDownBias => {
                facts.biases == RequiredBiases::All
            }
            Self::AttnOutputNormBias | Self::LayerOutputNormBias => {
                facts.norm_place == NormPlace::After
            }
            Self::FfnGateBias => false,
        }
    }

    /// Whether the architecture has a use for it: what it requires, and the biases of matrices.
    pub fn is_allowed(self, facts: &Facts) -> bool {
        match self {
            Self::AttnQBias
            | Self::AttnKBias
            | Self::AttnVBias
            | Self::AttnOutputBias
            | Self::FfnUpBias
            | Self::FfnDownBias => true,
            Self::FfnGateBias => facts.activation.is_gated(),
            Self::AttnNorm
            | Self::AttnQ
            | Self::AttnK
            | Self::AttnV
            | Self::AttnQNorm
            | Self::AttnKNorm
            | Self::AttnOutput
            | Self::AttnPostNorm
            | Self::AttnOutputNorm
            | Self::AttnOutputNormBias
            | Self::FfnNorm
            | Self::FfnGate
            | Self::FfnUp
            | Self::FfnDown
            | Self::FfnPostNorm
            | Self::LayerOutputNorm
            | Self::LayerOutputNormBias => self.is_required(facts),
        }
    }

    /// True for a matrix, false for a single row that is always F32: a gain or a bias.
    pub fn is_matrix(self) -> bool {
        match self {
            Self::AttnQ
            | Self::AttnK
            | Self::AttnV
            | Self::AttnOutput
            | Self::FfnGate
            | Self::FfnUp
            | Self::FfnDown => true,
            Self::AttnNorm
            | Self::AttnQBias
            | Self::AttnKBias
            | Self::AttnVBias
            | Self::AttnQNorm
            | Self::AttnKNorm
            | Self::AttnOutputBias
            | Self::AttnPostNorm
            | Self::AttnOutputNorm
            | Self::AttnOutputNormBias
            | Self::FfnNorm
            | Self::FfnGateBias
            | Self::FfnUpBias
            | Self::FfnDownBias
            | Self::FfnPostNorm
            | Self::LayerOutputNorm
            | Self::LayerOutputNormBias => false,
        }
    }

    /// `(rows, cols)` in a model of `config`.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let ModelConfig {
            dim,
            ffn_dim,
            head_dim,
            ..
        } = *config;
        match self {
            Self::AttnQ => (config.q_dim(), dim),
            Self::AttnK | Self::AttnV => (config.kv_dim(), dim),
            Self::AttnOutput => (dim, config.q_dim()),
            Self::FfnGate | Self::FfnUp => (ffn_dim, dim),
            Self::FfnDown => (dim, ffn_dim),
            Self::AttnQBias => (1, config.q_dim()),
            Self::AttnKBias | Self::AttnVBias => (1, config.kv_dim()),
            Self::AttnQNorm | Self::AttnKNorm => (1, head_dim),
            Self::FfnGateBias | Self::FfnUpBias => (1, ffn_dim),
            Self::AttnNorm
            | Self::AttnOutputBias
            | Self::AttnPostNorm
            | Self::AttnOutputNorm
            | Self::AttnOutputNormBias
            | Self::FfnNorm
            | Self::FfnDownBias
            | Self::FfnPostNorm
            | Self::LayerOutputNorm
            | Self::LayerOutputNormBias => (1, dim),
        }
    }
}

impl Slot {
    /// Every tensor outside the blocks, in the order a forward pass reads them.
    pub const OUTSIDE: [Self; 10] = [
        Self::TokenEmbedding,
        Self::PositionEmbedding,
        Self::TokenTypes,
        Self::EmbeddingNorm,
        Self::EmbeddingNormBias,
        Self::RopeFactors,
        Self::RopeFactorsLong,
        Self::RopeFactorsShort,
        Self::OutputNorm,
        Self::Output,
    ];

    /// The slot that a GGUF tensor name stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(slot) = Self::OUTSIDE.into_iter().find(|slot| slot.name() == name) {
            return Some(slot);
        }
        let (layer, name) = name.strip_prefix("blk.")?.split_once('.')?;
        let slot = LayerSlot::ALL
            .into_iter()
            .find(|slot| slot.name() == name)?;
        let number: usize = layer.parse().ok()?;
        (number.to_string() == layer).then_some(Self::Layer(number, slot))
    }

    /// The tensor's name in a GGUF file.
    pub fn name(self) -> String {
        match self {
            Self::TokenEmbedding => "token_embd.weight".to_owned(),
            Self::PositionEmbedding => "position_embd.weight".to_owned(),
            Self::TokenTypes => "token_types.weight".to_owned(),
            Self::EmbeddingNorm => "token_embd_norm.weight".to_owned(),
            Self::EmbeddingNormBias => "token_embd_norm.bias".to_owned(),
            Self::RopeFactors => "rope_freqs.weight".to_owned(),
            Self::RopeFactorsLong => "rope_factors_long.weight".to_owned(),
            Self::RopeFactorsShort => "rope_factors_short.weight".to_owned(),
            Self::Layer(layer, slot) => format!("blk.{layer}.{}", slot.name()),
            Self::OutputNorm => "output_norm.weight".to_owned(),
            Self::Output => "output.weight".to_owned(),
        }
    }

    /// Whether a file of this architecture is incomplete without it.
    pub fn is_required(self, facts: &Facts) -> bool {
        match self {
            Self::TokenEmbedding => true,
            Self::PositionEmbedding
            | Self::TokenTypes
            | Self::EmbeddingNorm
            | Self::EmbeddingNormBias => facts.rope.is_none(),
            Self::RopeFactors | Self::RopeFactorsLong | Self::RopeFactorsShort | Self::Output => {
                false
            }
            Self::Layer(_, slot) => slot.is_required(facts),
            Self::OutputNorm => facts.norm_place != NormPlace::After,
        }
    }

    /// Whether the architecture has a use for it.
    pub fn is_allowed(self, facts: &Facts) -> bool {
        match self {
            Self::RopeFactors | Self::RopeFactorsLong | Self::RopeFactorsShort => {
                facts.rope.is_some()
            }
            Self::Output => facts.causal,
            Self::Layer(_, slot) => slot.is_allowed(facts),
            Self::TokenEmbedding
            | Self::PositionEmbedding
            | Self::TokenTypes
            | Self::EmbeddingNorm
            | Self::EmbeddingNormBias
            | Self::OutputNorm => self.is_required(facts),
        }
    }

    /// True for a matrix, false for a single row that is always F32: gains, biases, factors.
    pub fn is_matrix(self) -> bool {
        match self {
            Self::TokenEmbedding | Self::PositionEmbedding | Self::TokenTypes | Self::Output => {
                true
            }
            Self::EmbeddingNorm
            | Self::EmbeddingNormBias
            | Self::RopeFactors
            | Self::RopeFactorsLong
            | Self::RopeFactorsShort
            | Self::OutputNorm => false,
            Self::Layer(_, slot) => slot.is_matrix(),
        }
    }

    /// `(rows, cols)` in a model of `config`.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let dim = config.dim;
        match self {
            Self::TokenEmbedding | Self::Output => (config.vocab_size, dim),
            Self::PositionEmbedding => (config.trained_context, dim),
            Self::TokenTypes => (config.n_token_types, dim),
            Self::EmbeddingNorm | Self::EmbeddingNormBias | Self::OutputNorm => (1, dim),
            Self::RopeFactors | Self::RopeFactorsLong | Self::RopeFactorsShort => {
                (1, config.rope.as_ref().map_or(0, |rope| rope.dim / 2))
            }
            Self::Layer(_, slot) => slot.shape(config),
        }
    }

    /// Every tensor of a model, in the order a forward pass reads them.
    pub fn all(config: &ModelConfig) -> impl Iterator<Item = Self> {
        let is_last = |slot: &Self| matches!(slot, Self::OutputNorm | Self::Output);
        let first = config.slots.iter().copied().filter(move |it| !is_last(it));
        let last = config.slots.iter().copied().filter(is_last);
        let layers = (0..config.n_layers).flat_map(|layer| {
            config
                .layer_slots
                .iter()
                .map(move |slot| Self::Layer(layer, *slot))
        });
        first.chain(layers).chain(last)
    }
}

/// A tensor of the file, checked: known, of the right shape, in a format the engine reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its place in the model.
    pub slot: Slot,
    /// How its weights are stored.
    pub format: Format,
    /// Outputs.
    pub rows: usize,
    /// Inputs; a multiple of the format's block length.
    pub cols: usize,
    /// First byte, from the start of the file's tensor data.
    pub offset: u64,
}

impl TensorInfo {
    /// Bytes of the whole tensor.
    pub fn bytes(&self) -> u64 {
        self.rows as u64 * self.format.row_bytes(self.cols) as u64
    }
}

/// A matrix in the format of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// How the weights are stored.
    pub format: Format,
    /// Outputs.
    pub rows: usize,
    /// Inputs.
    pub cols: usize,
    /// `(rows, row_bytes)`.
    pub bytes: Vec<u8>,
}

impl Matrix {
    /// The stored blocks of one row.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn row(&self, row: usize) -> &[u8] {
        let row_bytes = self.format.row_bytes(self.cols);
        &self.bytes[row * row_bytes..(row + 1) * row_bytes]
    }
}

/// All weights of a model, in memory, in the formats of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<Slot, Matrix>,
}

impl Weights {
    /// The tensor in `slot`, if the model has it.
    pub fn get(&self, slot: Slot) -> Option<&Matrix> {
        self.tensors.get(&slot)
    }

    /// Every tensor.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Matrix)> {
        self.tensors.iter().map(|(slot, matrix)| (*slot, matrix))
    }

    /// Takes a tensor out, so that another form of it can take its place in memory.
    pub fn take(&mut self, slot: Slot) -> Option<Matrix> {
        self.tensors.remove(&slot)
    }

    /// The weights in `slot` as floats, `(rows, cols)`; empty where the model has no such tensor.
    pub fn floats(&self, slot: Slot) -> Vec<f32> {
        let Some(matrix) = self.tensors.get(&slot) else {
            return Vec::new();
        };
        let mut floats = vec![0.0; matrix.rows * matrix.cols];
        crate::quant::dequantize(matrix.format, &matrix.bytes, &mut floats);
        floats
    }
}

/// A [`WeightSink`] that keeps every tensor in memory, for the CPU paths.
#[derive(Debug, Default)]
pub struct WeightStore {
    tensors: Vec<TensorInfo>,
    /// One buffer per tensor, of exactly its size once it is complete.
    buffers: Vec<Vec<u8>>,
}

impl WeightSink for WeightStore {
    fn begin(&mut self, _config: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError> {
        self.tensors = tensors.to_vec();
        self.buffers = vec![Vec::new(); tensors.len()];
        Ok(())
    }

    fn write(&mut self, tensor: usize, _offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let buffer = &mut self.buffers[tensor];
        if buffer.is_empty() {
            // Exactly once and not before its first bytes arrive: a lying header reserves nothing.
            let needed_bytes = self.tensors[tensor].bytes();
            let needed = usize::try_from(needed_bytes).unwrap_or(usize::MAX);
            buffer
                .try_reserve_exact(needed)
                .map_err(|_| EngineError::OutOfMemory {
                    what: self.tensors[tensor].slot.name(),
                    needed_bytes,
                })?;
        }
        buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

impl WeightStore {
    /// The weights, once the reader has finished.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`] for the first tensor that was not written whole.
    pub fn into_weights(self) -> Result<Weights, EngineError> {
        let mut tensors = BTreeMap::new();
        for (info, bytes) in self.tensors.into_iter().zip(self.buffers) {
            if bytes.len() as u64 != info.bytes() {
                let name = info.slot.name();
                return Err(GgufError::MissingTensor { name }.into());
            }
            let matrix = Matrix {
                format: info.format,
                rows: info.rows,
                cols: info.cols,
                bytes,
            };
            tensors.insert(info.slot, matrix);
        }
        Ok(Weights { tensors })
    }
}
