//! Which tensors a llama model has, their shapes, and the weights themselves in their own format.
//!
//! Shapes are `(rows, cols)`: a matrix maps `cols` inputs to `rows` outputs and is stored row by
//! row, so that one output is one contiguous dot product (GGUF states the same as `[cols, rows]`).

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufError, WeightSink};
use crate::quant::Format;

/// The place of a tensor in the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// `token_embd.weight`, `(vocab_size, dim)`.
    TokenEmbedding,
    /// `output_norm.weight`, `(1, dim)`, F32.
    OutputNorm,
    /// `output.weight`, `(vocab_size, dim)`; absent when tied to the embedding.
    Output,
    /// A tensor of block `.0`.
    Layer(usize, LayerSlot),
}

/// The place of a tensor in a block: `blk.N.<name>.weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerSlot {
    /// `attn_norm`, `(1, dim)`, F32.
    AttnNorm,
    /// `attn_q`, `(q_dim, dim)`.
    AttnQ,
    /// `attn_k`, `(kv_dim, dim)`.
    AttnK,
    /// `attn_v`, `(kv_dim, dim)`.
    AttnV,
    /// `attn_output`, `(dim, q_dim)`.
    AttnOutput,
    /// `ffn_norm`, `(1, dim)`, F32.
    FfnNorm,
    /// `ffn_gate`, `(ffn_dim, dim)`.
    FfnGate,
    /// `ffn_up`, `(ffn_dim, dim)`.
    FfnUp,
    /// `ffn_down`, `(dim, ffn_dim)`.
    FfnDown,
}

impl LayerSlot {
    /// Every tensor of a block, in the order a forward pass reads them.
    pub const ALL: [Self; 9] = [
        Self::AttnNorm,
        Self::AttnQ,
        Self::AttnK,
        Self::AttnV,
        Self::AttnOutput,
        Self::FfnNorm,
        Self::FfnGate,
        Self::FfnUp,
        Self::FfnDown,
    ];

    /// The part of the tensor's name between the block number and `.weight`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttnNorm => "attn_norm",
            Self::AttnQ => "attn_q",
            Self::AttnK => "attn_k",
            Self::AttnV => "attn_v",
            Self::AttnOutput => "attn_output",
            Self::FfnNorm => "ffn_norm",
            Self::FfnGate => "ffn_gate",
            Self::FfnUp => "ffn_up",
            Self::FfnDown => "ffn_down",
        }
    }
}

impl Slot {
    /// The slot that a GGUF tensor name stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "token_embd.weight" => return Some(Self::TokenEmbedding),
            "output_norm.weight" => return Some(Self::OutputNorm),
            "output.weight" => return Some(Self::Output),
            _ => {}
        }
        let (layer, name) = name.strip_prefix("blk.")?.split_once('.')?;
        let name = name.strip_suffix(".weight")?;
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
            Self::OutputNorm => "output_norm.weight".to_owned(),
            Self::Output => "output.weight".to_owned(),
            Self::Layer(layer, slot) => format!("blk.{layer}.{}.weight", slot.name()),
        }
    }

    /// True for the gains of a norm: one row, always F32.
    pub fn is_norm(self) -> bool {
        match self {
            Self::OutputNorm | Self::Layer(_, LayerSlot::AttnNorm | LayerSlot::FfnNorm) => true,
            Self::TokenEmbedding | Self::Output | Self::Layer(..) => false,
        }
    }

    /// `(rows, cols)` in a model of `config`.
    pub fn shape(self, config: &ModelConfig) -> (usize, usize) {
        let ModelConfig {
            dim,
            ffn_dim,
            vocab_size,
            ..
        } = *config;
        match self {
            Self::TokenEmbedding | Self::Output => (vocab_size, dim),
            Self::OutputNorm => (1, dim),
            Self::Layer(_, slot) => match slot {
                LayerSlot::AttnNorm | LayerSlot::FfnNorm => (1, dim),
                LayerSlot::AttnQ => (config.q_dim(), dim),
                LayerSlot::AttnK | LayerSlot::AttnV => (config.kv_dim(), dim),
                LayerSlot::AttnOutput => (dim, config.q_dim()),
                LayerSlot::FfnGate | LayerSlot::FfnUp => (ffn_dim, dim),
                LayerSlot::FfnDown => (dim, ffn_dim),
            },
        }
    }

    /// Every tensor of a model, in the order a forward pass reads them.
    pub fn all(config: &ModelConfig) -> impl Iterator<Item = Self> {
        let layers = (0..config.n_layers).flat_map(|layer| {
            LayerSlot::ALL
                .into_iter()
                .map(move |slot| Self::Layer(layer, slot))
        });
        let output = (!config.tied_output).then_some(Self::Output);
        std::iter::once(Self::TokenEmbedding)
            .chain(layers)
            .chain(std::iter::once(Self::OutputNorm))
            .chain(output)
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

/// The weights of one block.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerWeights {
    /// `(dim)`
    pub attn_norm: Vec<f32>,
    /// `(q_dim, dim)`
    pub attn_q: Matrix,
    /// `(kv_dim, dim)`
    pub attn_k: Matrix,
    /// `(kv_dim, dim)`
    pub attn_v: Matrix,
    /// `(dim, q_dim)`
    pub attn_output: Matrix,
    /// `(dim)`
    pub ffn_norm: Vec<f32>,
    /// `(ffn_dim, dim)`
    pub ffn_gate: Matrix,
    /// `(ffn_dim, dim)`
    pub ffn_up: Matrix,
    /// `(dim, ffn_dim)`
    pub ffn_down: Matrix,
}

/// All weights of a model, in memory, in the formats of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// `(vocab_size, dim)`
    pub token_embedding: Matrix,
    /// One per block.
    pub layers: Vec<LayerWeights>,
    /// `(dim)`
    pub output_norm: Vec<f32>,
    /// `(vocab_size, dim)`; none when the embedding serves for both.
    pub output: Option<Matrix>,
}

impl Weights {
    /// The matrix that turns the last hidden state into logits, `(vocab_size, dim)`.
    pub fn head(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.token_embedding)
    }
}

/// A [`WeightSink`] that keeps every tensor in memory, for the CPU paths.
#[derive(Debug, Default)]
pub struct WeightStore {
    tensors: Vec<TensorInfo>,
    /// One buffer per tensor, of exactly its size once it is complete.
    buffers: Vec<Vec<u8>>,
    n_layers: usize,
}

impl WeightSink for WeightStore {
    fn begin(&mut self, config: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError> {
        self.tensors = tensors.to_vec();
        self.buffers = vec![Vec::new(); tensors.len()];
        self.n_layers = config.n_layers;
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
    pub fn into_weights(mut self) -> Result<Weights, EngineError> {
        let layers = (0..self.n_layers)
            .map(|layer| self.take_layer(layer))
            .collect::<Result<_, _>>()?;
        Ok(Weights {
            token_embedding: self.take(Slot::TokenEmbedding)?,
            layers,
            output_norm: self.take_norm(Slot::OutputNorm)?,
            output: match self
                .tensors
                .iter()
                .any(|tensor| tensor.slot == Slot::Output)
            {
                true => Some(self.take(Slot::Output)?),
                false => None,
            },
        })
    }

    fn take_layer(&mut self, layer: usize) -> Result<LayerWeights, EngineError> {
        let slot = |slot| Slot::Layer(layer, slot);
        Ok(LayerWeights {
            attn_norm: self.take_norm(slot(LayerSlot::AttnNorm))?,
            attn_q: self.take(slot(LayerSlot::AttnQ))?,
            attn_k: self.take(slot(LayerSlot::AttnK))?,
            attn_v: self.take(slot(LayerSlot::AttnV))?,
            attn_output: self.take(slot(LayerSlot::AttnOutput))?,
            ffn_norm: self.take_norm(slot(LayerSlot::FfnNorm))?,
            ffn_gate: self.take(slot(LayerSlot::FfnGate))?,
            ffn_up: self.take(slot(LayerSlot::FfnUp))?,
            ffn_down: self.take(slot(LayerSlot::FfnDown))?,
        })
    }

    fn take(&mut self, slot: Slot) -> Result<Matrix, EngineError> {
        let missing = || GgufError::MissingTensor { name: slot.name() };
        let index = self
            .tensors
            .iter()
            .position(|tensor| tensor.slot == slot)
            .ok_or_else(missing)?;
        let info = &self.tensors[index];
        let bytes = std::mem::take(&mut self.buffers[index]);
        if bytes.len() as u64 != info.bytes() {
            return Err(missing().into());
        }
        Ok(Matrix {
            format: info.format,
            rows: info.rows,
            cols: info.cols,
            bytes,
        })
    }

    fn take_norm(&mut self, slot: Slot) -> Result<Vec<f32>, EngineError> {
        let matrix = self.take(slot)?;
        let mut gains = vec![0.0; matrix.cols]; // (dim)
        crate::quant::dequantize(matrix.format, &matrix.bytes, &mut gains);
        Ok(gains)
    }
}
