//! Writes small GGUF files with random weights, for tests and for measuring speed.
//!
//! The vocabulary is the byte alphabet, then a beginning-of-text token, then unused ones: the
//! shape of Thrum's default model.

mod mix;
mod split;

pub use mix::{Mix, MixContext};

use std::collections::BTreeSet;

use crate::ModelConfig;
use crate::arch::{Architecture, Facts, NormKind};
use crate::gguf::{GgufReader, ModelHeader, ReadOptions};
use crate::quant::{Format, quantize};
use crate::weights::{LayerSlot, Slot, WeightStore, Weights};

/// token; the first after the 256 bytes.
pub const BOS: u32 = 256;

/// token; the byte `;`.
pub const EOS: u32 = b';' as u32;

/// bytes; GGUF's default.
const ALIGNMENT: usize = 32;

/// Collects metadata and tensors and lays them out as a GGUF file.
#[derive(Debug, Clone)]
pub struct GgufWriter {
    /// The version to state.
    pub version: u32,
    n_pairs: u64,
    pairs: Vec<u8>,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    dims: Vec<u64>,
    type_id: u32,
    bytes: Vec<u8>,
}

impl Default for GgufWriter {
    fn default() -> Self {
        Self {
            version: 3,
            n_pairs: 0,
            pairs: Vec::new(),
            tensors: Vec::new(),
        }
    }
}

impl GgufWriter {
    /// Adds a `u32`.
    pub fn uint(&mut self, key: &str, value: u32) -> &mut Self {
        self.pair(key, 4, &value.to_le_bytes())
    }

    /// Adds an `f32`.
    pub fn float(&mut self, key: &str, value: f32) -> &mut Self {
        self.pair(key, 6, &value.to_le_bytes())
    }

    /// Adds a `bool`.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.pair(key, 7, &[value.into()])
    }

    /// Adds a `string`.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.pair(key, 8, &text_bytes(value))
    }

    /// Adds an array of strings.
    pub fn texts(&mut self, key: &str, values: &[String]) -> &mut Self {
        let texts: Vec<u8> = values.iter().flat_map(|value| text_bytes(value)).collect();
        self.array(key, 8, values.len(), &texts)
    }

    /// Adds an array of `i32`.
    pub fn ints(&mut self, key: &str, values: &[i32]) -> &mut Self {
        let numbers: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.array(key, 5, values.len(), &numbers)
    }

    /// Adds an array of `f32`.
    pub fn floats(&mut self, key: &str, values: &[f32]) -> &mut Self {
        let numbers: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.array(key, 6, values.len(), &numbers)
    }

    /// Adds a pair of any type, its value as it is to stand in the file.
    pub fn pair(&mut self, key: &str, type_id: u32, value: &[u8]) -> &mut Self {
        self.pairs.extend(text_bytes(key));
        self.pairs.extend(type_id.to_le_bytes());
        self.pairs.extend_from_slice(value);
        self.n_pairs += 1;
        self
    }

    /// Adds a tensor; `dims` fastest first.
    pub fn tensor(&mut self, name: &str, dims: &[u64], type_id: u32, bytes: Vec<u8>) -> &mut Self {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            dims: dims.to_vec(),
            type_id,
            bytes,
        });
        self
    }

    /// The stored bytes of a tensor that was added.
    pub fn tensor_mut(&mut self, name: &str) -> Option<&mut Vec<u8>> {
        let mut tensors = self.tensors.iter_mut();
        let tensor = tensors.find(|tensor| tensor.name == name)?;
        Some(&mut tensor.bytes)
    }

    /// The file.
    pub fn finish(&self) -> Vec<u8> {
        self.finish_with_offsets(&self.offsets())
    }

    /// Where the tensors lie in the file, in the order in which they were added.
    pub fn offsets(&self) -> Vec<usize> {
        let mut end = 0_usize;
        let mut offset = |tensor: &Tensor| {
            let start = end;
            end += tensor.bytes.len().next_multiple_of(ALIGNMENT);
            start
        };
        self.tensors.iter().map(&mut offset).collect()
    }

    /// The file, stating offsets that need not be true.
    pub fn finish_with_offsets(&self, offsets: &[usize]) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend(self.n_pairs.to_le_bytes());
        file.extend_from_slice(&self.pairs);
        for (tensor, offset) in self.tensors.iter().zip(offsets) {
            file.extend(text_bytes(&tensor.name));
            file.extend((tensor.dims.len() as u32).to_le_bytes());
            file.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            file.extend(tensor.type_id.to_le_bytes());
            file.extend((*offset as u64).to_le_bytes());
        }
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        for tensor in &self.tensors {
            file.extend_from_slice(&tensor.bytes);
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        }
        file
    }

    fn array(&mut self, key: &str, type_id: u32, n: usize, values: &[u8]) -> &mut Self {
        let head = [&type_id.to_le_bytes()[..], &(n as u64).to_le_bytes()].concat();
        self.pair(key, 9, &[&head, values].concat())
    }
}

fn text_bytes(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// A model to be made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticModel {
    /// What is built.
    pub architecture: Architecture,
    /// Transformer blocks.
    pub n_layers: usize,
    /// Channels of the residual stream; a multiple of `n_heads`.
    pub dim: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Channels of the feed-forward layer.
    pub ffn_dim: usize,
    /// Token ids; at least 257.
    pub vocab_size: usize,
    /// Positions.
    pub context_len: usize,
    /// How matrices are stored; F32 where their rows are not whole blocks.
    pub format: Format,
    /// Without an `output.weight` of its own.
    pub tied_output: bool,
    /// What the weights are drawn from.
    pub seed: u64,
}

impl SyntheticModel {
    /// The smallest model that has everything: odd counts, shared heads, whole blocks.
    pub const SMALL: Self = Self {
        architecture: Architecture::Llama,
        n_layers: 2,
        dim: 64,
        n_heads: 4,
        n_kv_heads: 2,
        ffn_dim: 96,
        vocab_size: 320,
        context_len: 128,
        format: Format::Q8_0,
        tied_output: true,
        seed: 1,
    };

    /// What a reader will say of it.
    pub fn config(&self) -> ModelConfig {
        let mut writer = GgufWriter::default();
        self.add_shape(&mut writer);
        let metadata = crate::gguf::metadata_of(&writer.finish()).expect("a good header");
        ModelConfig::from_metadata(&metadata, self.vocab_size, &self.present(), usize::MAX)
            .expect("a good configuration")
    }

    /// What a reader makes of the file.
    ///
    /// # Panics
    /// When the sizes make no model.
    pub fn load(&self) -> (ModelHeader, Weights) {
        let mut reader = GgufReader::new(ReadOptions {
            file_bytes: None,
            available_bytes: None,
            max_context: self.context_len,
        });
        let mut store = WeightStore::default();
        reader.push(&self.gguf(), &mut store).expect("a good file");
        let header = reader.finish(&mut store).expect("a whole file");
        (header, store.into_weights().expect("every tensor"))
    }

    /// The tensors of the file: what the architecture requires, and an output of its own.
    fn present(&self) -> BTreeSet<Slot> {
        let facts = self.architecture.facts();
        let outside = Slot::OUTSIDE
            .into_iter()
            .filter(|slot| slot.is_required(facts));
        let output = (facts.causal && !self.tied_output).then_some(Slot::Output);
        let layers = (0..self.n_layers).flat_map(|layer| {
            LayerSlot::ALL
                .into_iter()
                .filter(|slot| slot.is_required(facts))
                .map(move |slot| Slot::Layer(layer, slot))
        });
        outside.chain(output).chain(layers).collect()
    }

    /// The file.
    pub fn gguf(&self) -> Vec<u8> {
        self.gguf_as(Mix::One(self.format))
    }

    /// The file with its matrices stored as `mix` says, whatever [`SyntheticModel::format`] is.
    pub fn gguf_as(&self, mix: Mix) -> Vec<u8> {
        let mut writer = self.metadata();
        self.add_tensors_as(&mut writer, mix);
        writer.finish()
    }

    /// Its metadata, without tokenizer and tensors.
    pub fn shape_metadata(&self) -> GgufWriter {
        let mut writer = GgufWriter::default();
        self.add_shape(&mut writer);
        writer
    }

    /// Its metadata, without tensors.
    pub fn metadata(&self) -> GgufWriter {
        let mut writer = self.shape_metadata();
        self.add_tokenizer(&mut writer);
        writer
    }

    /// Adds every tensor, in the order of [`Slot::all`], fused as the architecture's files are.
    pub fn add_tensors(&self, writer: &mut GgufWriter) {
        self.add_tensors_as(writer, Mix::One(self.format));
    }

    fn add_tensors_as(&self, writer: &mut GgufWriter, mix: Mix) {
        let config = self.config();
        let fused = self.architecture.facts().fused;
        let mut pending: Vec<u8> = Vec::new();
        let mut pending_rows = 0;
        for (n, slot) in Slot::all(&config).enumerate() {
            let (rows, cols) = slot.shape(&config);
            let name = match fused {
                true => fused_name(slot),
                false => slot.name(),
            };
            let context = MixContext {
                cols,
                n_layers: self.n_layers,
                tied_output: self.tied_output,
            };
            let format = if slot.is_matrix() {
                mix.format(&name, context)
            } else {
                Format::F32
            };
            pending.extend(quantize(format, &self.weights(n, slot, rows, cols)));
            pending_rows += rows;
            let more = [LayerSlot::AttnQ, LayerSlot::AttnK, LayerSlot::FfnGate];
            if fused && matches!(slot, Slot::Layer(_, slot) if more.contains(&slot)) {
                continue;
            }
            let dims = match slot.is_matrix() {
                true => vec![cols as u64, pending_rows as u64],
                false => vec![cols as u64],
            };
            let bytes = std::mem::take(&mut pending);
            writer.tensor(&name, &dims, format.type_id(), bytes);
            pending_rows = 0;
        }
    }

    /// The variance of a sum over `cols` stays about 1; gains and factors stay about 1, biases
    /// about 0.
    fn weights(&self, n: usize, slot: Slot, rows: usize, cols: usize) -> Vec<f32> {
        // An even step: `Random` makes seeds odd, and no two tensors shall be alike.
        let mut random = Random(self.seed.wrapping_add(2 * n as u64));
        let is_bias = slot.name().ends_with(".bias");
        let (mean, spread) = match (slot.is_matrix(), is_bias) {
            (true, _) => (0.0, (3.0 / cols as f32).sqrt()),
            (false, true) => (0.0, 0.2),
            (false, false) => (1.0, 0.2),
        };
        (0..rows * cols)
            .map(|_| mean + spread * random.symmetric())
            .collect()
    }

    fn add_shape(&self, writer: &mut GgufWriter) {
        let facts: &Facts = self.architecture.facts();
        let head_dim = self.dim / self.n_heads;
        let key = |name: &str| format!("{}.{name}", facts.name);
        let eps = match facts.norm {
            NormKind::Layer => "attention.layer_norm_epsilon",
            NormKind::Rms => "attention.layer_norm_rms_epsilon",
        };
        writer
            .text("general.architecture", facts.name)
            .text("general.name", "synthetic")
            .uint(&key("block_count"), self.n_layers as u32)
            .uint(&key("embedding_length"), self.dim as u32)
            .uint(&key("attention.head_count"), self.n_heads as u32)
            .uint(&key("attention.head_count_kv"), self.n_kv_heads as u32)
            .uint(&key("feed_forward_length"), self.ffn_dim as u32)
            .uint(&key("context_length"), self.context_len as u32)
            .float(&key(eps), 1e-5);
        if facts.rope.is_some() {
            writer
                .uint(&key("rope.dimension_count"), head_dim as u32)
                .float(&key("rope.freq_base"), 10_000.0);
        }
        if facts.window_period.is_some() {
            // Shorter than any test's text, so that it shows.
            writer.uint(&key("attention.sliding_window"), 16);
        }
        if self.architecture == Architecture::Gemma2 {
            writer
                .float(&key("attn_logit_softcapping"), 50.0)
                .float(&key("final_logit_softcapping"), 30.0);
        }
    }

    fn add_tokenizer(&self, writer: &mut GgufWriter) {
        let control = |id: usize| {
            if id == BOS as usize {
                "<|begin|>".to_owned()
            } else {
                format!("<|unused{id}|>")
            }
        };
        let tokens: Vec<String> = byte_spellings()
            .into_iter()
            .chain((256..self.vocab_size).map(control))
            .collect();
        let kinds: Vec<i32> = (0..self.vocab_size)
            .map(|id| if id < 256 { 1 } else { 3 })
            .collect();
        writer
            .text("tokenizer.ggml.model", "gpt2")
            .text("tokenizer.ggml.pre", "gpt-2")
            .texts("tokenizer.ggml.tokens", &tokens)
            .ints("tokenizer.ggml.token_type", &kinds)
            .texts("tokenizer.ggml.merges", &[])
            .uint("tokenizer.ggml.bos_token_id", BOS)
            .uint("tokenizer.ggml.eos_token_id", EOS)
            .bool("tokenizer.ggml.add_bos_token", true);
    }
}

/// How a byte-level vocabulary spells each byte.
pub fn byte_spellings() -> [String; 256] {
    crate::tokenizer::bytes::alphabet().map(String::from)
}

/// The tensor that holds `slot` in files that keep several in one.
fn fused_name(slot: Slot) -> String {
    let qkv = [LayerSlot::AttnQ, LayerSlot::AttnK, LayerSlot::AttnV];
    let gate_up = [LayerSlot::FfnGate, LayerSlot::FfnUp];
    if let Slot::Layer(layer, part) = slot {
        if qkv.contains(&part) {
            return format!("blk.{layer}.attn_qkv.weight");
        }
        if gate_up.contains(&part) {
            return format!("blk.{layer}.ffn_up.weight");
        }
    }
    slot.name()
}

/// Numbers that look random and are the same everywhere (Marsaglia's xorshift64*).
#[derive(Debug, Clone, Copy)]
pub struct Random(pub u64);

impl Random {
    /// The next 32 bits.
    pub fn bits(&mut self) -> u32 {
        // An xorshift must not be at 0; odd seeds never get there.
        self.0 |= 1;
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// A number between -1 and 1.
    pub fn symmetric(&mut self) -> f32 {
        // 24 bits are exact in f32.
        (self.bits() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}
