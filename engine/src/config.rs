//! The sizes and constants of a model, read from GGUF metadata and checked.

use std::collections::BTreeSet;

use crate::arch::{Architecture, Facts, PairOrder};
use crate::gguf::{GgufError, Metadata};
use crate::weights::{LayerSlot, Slot};

/// layers; four times the deepest llama published (126 in the 405 B model).
const MAX_LAYERS: u64 = 512;

/// channels; keeps every product of two widths inside 32 bits of a wasm `usize`.
const MAX_DIM: u64 = 32_768;

/// channels of the feed-forward layer; four times [`MAX_DIM`], as the original transformer has it.
const MAX_FFN_DIM: u64 = 4 * MAX_DIM;

/// heads; more than any published model has.
const MAX_HEADS: u64 = 1_024;

/// ids; twice the largest vocabulary published (262,144).
pub(crate) const MAX_VOCAB: usize = 1 << 19;

/// positions; the longest context that llama models state.
const MAX_CONTEXT: u64 = 1 << 24;

/// kinds of text that BERT tells apart where the file does not say: first and second sentence.
const DEFAULT_TOKEN_TYPES: usize = 2;

/// kinds of text; far more than any model has.
const MAX_TOKEN_TYPES: u64 = 64;

/// How positions turn the channels of a head.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Channels of each head that are rotated; even, at most `head_dim`.
    pub dim: usize,
    /// Which of them go together.
    pub order: PairOrder,
    /// Base of the rotation frequencies.
    pub base: f32,
    /// The same, in layers that see a window only.
    pub local_base: f32,
    /// Frequencies are divided by this (linear scaling).
    pub divisor: f32,
    /// The same, in layers that see a window only.
    pub local_divisor: f32,
    /// Cosines and sines are multiplied by this (LongRoPE).
    pub magnitude: f32,
    /// Divisors of the frequencies, one for each pair, if the file has any.
    pub factors: Option<Slot>,
}

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The state of the first token.
    First,
    /// The state of the last token.
    Last,
    /// The mean of all.
    Mean,
}

/// What a model is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `general.architecture`.
    pub architecture: Architecture,
    /// `general.name`, or empty.
    pub name: String,
    /// Transformer blocks.
    pub n_layers: usize,
    /// Channels of the residual stream.
    pub dim: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Channels of one head; even.
    pub head_dim: usize,
    /// Channels of the feed-forward layer.
    pub ffn_dim: usize,
    /// Token ids.
    pub vocab_size: usize,
    /// Positions that a sequence holds: the file's `context_length` or the caller's cap.
    pub context_len: usize,
    /// Positions that the model was trained for, whatever the caller's cap.
    pub trained_context: usize,
    /// Rows of the token type embedding, where there is one.
    pub n_token_types: usize,
    /// The rotation; none for learned positions.
    pub rope: Option<RopeConfig>,
    /// Added under the root of every norm.
    pub norm_eps: f32,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Products of queries and keys are multiplied by this.
    pub attention_scale: f32,
    /// Scores become `cap * tanh(score / cap)`.
    pub attention_softcap: Option<f32>,
    /// Logits become `cap * tanh(logit / cap)`.
    pub logit_softcap: Option<f32>,
    /// Positions that a layer with a window sees, its own included.
    pub window: Option<usize>,
    /// Of so many layers the last sees everything.
    pub window_period: usize,
    /// How an embedding is made; none for models that only continue text.
    pub pooling: Option<Pooling>,
    /// Tensors outside the blocks that the file has, in the order of reading.
    pub slots: Vec<Slot>,
    /// Tensors that every block has, in the order of reading.
    pub layer_slots: Vec<LayerSlot>,
    /// True when the logits are taken with the token embedding (there is no `output.weight`).
    pub tied_output: bool,
}

impl ModelConfig {
    /// Reads the configuration; `vocab_size` and what is there come from the tensors.
    ///
    /// # Errors
    /// Names the key that is missing, of the wrong type, out of range, or not supported.
    pub(crate) fn from_metadata(
        metadata: &Metadata,
        vocab_size: usize,
        present: &BTreeSet<Slot>,
        max_context: usize,
    ) -> Result<Self, GgufError> {
        let name = metadata.text("general.architecture")?;
        let facts = Facts::of(name).ok_or_else(|| GgufError::UnknownArchitecture {
            name: name.to_owned(),
        })?;
        let keys = Keys { metadata, facts };
        keys.refuse_unsupported()?;
        let dim = keys.size("embedding_length", MAX_DIM)?;
        let n_layers = keys.size("block_count", MAX_LAYERS)?;
        let n_heads = keys.size("attention.head_count", MAX_HEADS)?;
        let n_kv_heads = keys
            .optional_size("attention.head_count_kv", MAX_HEADS)?
            .unwrap_or(n_heads);
        let head_dim = keys.head_dim(dim, n_heads, n_kv_heads)?;
        let trained_context = keys.size("context_length", MAX_CONTEXT)?;
        let context_len = trained_context.min(max_context);
        let layer_slots = layer_slots(facts, present, n_layers)?;
        let slots = slots(facts, present)?;
        let wide = facts.wide_scale_layers == Some(n_layers);
        let scale_dim = if wide { dim / n_heads } else { head_dim };
        let config = Self {
            architecture: facts.architecture,
            name: metadata
                .optional_text("general.name")?
                .unwrap_or_default()
                .to_owned(),
            n_layers,
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn_dim: keys.size("feed_forward_length", MAX_FFN_DIM)?,
            vocab_size,
            context_len,
            trained_context,
            n_token_types: n_token_types(metadata)?,
            rope: keys.rope(head_dim, context_len, present)?,
            norm_eps: keys.norm_eps()?,
            embedding_scale: match facts.scaled_embedding {
                true => libm::sqrt(dim as f64) as f32,
                false => 1.0,
            },
            attention_scale: (1.0 / libm::sqrt(scale_dim as f64)) as f32,
            attention_softcap: keys.softcap(
                "attn_logit_softcapping",
                facts.softcaps.map(|caps| caps.attention),
            )?,
            logit_softcap: keys.softcap(
                "final_logit_softcapping",
                facts.softcaps.map(|caps| caps.logits),
            )?,
            window: match facts.window_period {
                Some(_) => keys
                    .optional_size("attention.sliding_window", MAX_CONTEXT)?
                    .or(facts.window),
                None => None,
            },
            window_period: match facts.window_period {
                Some(period) => keys
                    .optional_size("attention.sliding_window_pattern", MAX_LAYERS)?
                    .unwrap_or(period),
                None => 1,
            },
            pooling: keys.pooling()?,
            tied_output: !slots.contains(&Slot::Output),
            slots,
            layer_slots,
        };
        match keys.optional_uint("vocab_size")? {
            Some(stated) if stated != vocab_size as u64 => Err(bad(
                &keys.key("vocab_size"),
                stated,
                "the rows of the token embedding",
            )),
            Some(_) | None => Ok(config),
        }
    }

    /// The architecture's row of facts.
    pub fn facts(&self) -> &'static Facts {
        self.architecture.facts()
    }

    /// Channels of all query heads together.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Channels of all key heads together; the same for values.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Query heads that share one key and value head.
    pub fn heads_per_kv(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// Positions that layer `layer` sees at most, its own included; none for all.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        let sees_all = (layer + 1).is_multiple_of(self.window_period);
        self.window.filter(|_| !sees_all)
    }

    /// Whether every block has `slot`.
    pub fn has(&self, slot: LayerSlot) -> bool {
        self.layer_slots.contains(&slot)
    }

    /// Whether tokens see only those before them, so that a text can be continued.
    pub fn is_causal(&self) -> bool {
        self.facts().causal
    }
}

fn n_token_types(metadata: &Metadata) -> Result<usize, GgufError> {
    const KEY: &str = "tokenizer.ggml.token_type_count";
    match metadata.optional_uint(KEY)? {
        None => Ok(DEFAULT_TOKEN_TYPES),
        Some(count @ 1..=MAX_TOKEN_TYPES) => Ok(count as usize),
        Some(count) => {
            let expected = format!("between 1 and {MAX_TOKEN_TYPES}");
            Err(bad(KEY, count, &expected))
        }
    }
}

/// The tensors of a block that the file has, the same in every block.
fn layer_slots(
    facts: &Facts,
    present: &BTreeSet<Slot>,
    n_layers: usize,
) -> Result<Vec<LayerSlot>, GgufError> {
    let mut slots = Vec::new();
    for slot in LayerSlot::ALL {
        let in_first = present.contains(&Slot::Layer(0, slot));
        let required = slot.is_required(facts);
        if !(required || in_first) {
            if let Some(odd) = (0..n_layers).find(|l| present.contains(&Slot::Layer(*l, slot))) {
                return Err(GgufError::UnexpectedTensor {
                    tensor: Slot::Layer(odd, slot).name(),
                });
            }
            continue;
        }
        if !slot.is_allowed(facts) {
            return Err(GgufError::UnexpectedTensor {
                tensor: Slot::Layer(0, slot).name(),
            });
        }
        for layer in 0..n_layers {
            let slot = Slot::Layer(layer, slot);
            if !present.contains(&slot) {
                return Err(GgufError::MissingTensor { name: slot.name() });
            }
        }
        slots.push(slot);
    }
    Ok(slots)
}

/// The tensors outside the blocks that the file has.
fn slots(facts: &Facts, present: &BTreeSet<Slot>) -> Result<Vec<Slot>, GgufError> {
    let mut slots = Vec::new();
    for slot in Slot::OUTSIDE {
        match (present.contains(&slot), slot.is_required(facts)) {
            (true, _) if !slot.is_allowed(facts) => {
                return Err(GgufError::UnexpectedTensor {
                    tensor: slot.name(),
                });
            }
            (true, _) => slots.push(slot),
            (false, true) => return Err(GgufError::MissingTensor { name: slot.name() }),
            (false, false) => {}
        }
    }
    Ok(slots)
}

/// The metadata of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    facts: &'static Facts,
}

impl Keys<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.facts.name)
    }

    /// What would change the arithmetic and is not implemented is refused, never skipped.
    fn refuse_unsupported(&self) -> Result<(), GgufError> {
        let key = self.key("rope.scaling.type");
        if let Some(kind) = self.metadata.optional_text(&key)?
            && !["none", "linear", "longrope"].contains(&kind)
        {
            return Err(bad(&key, kind, "none, linear or longrope"));
        }
        let key = self.key("expert_count");
        if let Some(experts) = self.metadata.optional_uint(&key)?
            && experts != 0
        {
            return Err(bad(&key, experts, "0 (mixtures of experts are not read)"));
        }
        Ok(())
    }

    fn head_dim(&self, dim: usize, n_heads: usize, n_kv_heads: usize) -> Result<usize, GgufError> {
        let head_dim = match self.optional_size("attention.key_length", MAX_DIM)? {
            Some(head_dim) => head_dim,
            None if dim.is_multiple_of(n_heads) => dim / n_heads,
            None => {
                let key = self.key("attention.head_count");
                return Err(bad(&key, n_heads, "divides the width"));
            }
        };
        let value_dim = self
            .optional_size("attention.value_length", MAX_DIM)?
            .unwrap_or(head_dim);
        if !n_heads.is_multiple_of(n_kv_heads) {
            let key = self.key("attention.head_count_kv");
            return Err(bad(&key, n_kv_heads, "divides the head count"));
        }
        if !head_dim.is_multiple_of(2) || (n_heads * head_dim) as u64 > MAX_DIM {
            let key = self.key("attention.key_length");
            return Err(bad(&key, head_dim, "even and of sane size"));
        }
        if value_dim != head_dim {
            let key = self.key("attention.value_length");
            return Err(bad(&key, value_dim, "equal to key_length"));
        }
        Ok(head_dim)
    }

    fn rope(
        &self,
        head_dim: usize,
        context_len: usize,
        present: &BTreeSet<Slot>,
    ) -> Result<Option<RopeConfig>, GgufError> {
        let Some(order) = self.facts.rope else {
            return Ok(None);
        };
        let dim = self
            .optional_size("rope.dimension_count", MAX_DIM)?
            .unwrap_or(head_dim);
        if !dim.is_multiple_of(2) || dim > head_dim {
            let key = self.key("rope.dimension_count");
            return Err(bad(&key, dim, "even and within a head"));
        }
        let base = self.float("rope.freq_base", 10_000.0, 1.0, 1e12)?;
        let local_base = match self.facts.local_rope_base {
            Some(default) => self.float("rope.freq_base_swa", default, 1.0, 1e12)?,
            None => base,
        };
        let original = self
            .optional_size("rope.scaling.original_context_length", MAX_CONTEXT)?
            .unwrap_or(usize::MAX);
        let long = match context_len > original {
            true => Slot::RopeFactorsLong,
            false => Slot::RopeFactorsShort,
        };
        let factors = [Slot::RopeFactors, long]
            .into_iter()
            .find(|slot| present.contains(slot));
        let divisor = self.rope_divisor()?;
        Ok(Some(RopeConfig {
            dim,
            order,
            base,
            local_base,
            divisor,
            local_divisor: match self.facts.local_rope_base {
                Some(_) => 1.0,
                None => divisor,
            },
            magnitude: self.float("rope.scaling.attn_factor", 1.0, 1e-3, 1e3)?,
            factors,
        }))
    }

    /// Linear scaling: as in llama.cpp, a stated factor counts unless the type is "none", older files
    /// spell it `rope.scale_linear`, and 0 is the same as no factor.
    fn rope_divisor(&self) -> Result<f32, GgufError> {
        let kind = self.key("rope.scaling.type");
        if self.metadata.optional_text(&kind)? == Some("none") {
            return Ok(1.0);
        }
        let names = ["rope.scaling.factor", "rope.scale_linear"];
        let stated = names.map(|name| (name, self.metadata.get(&self.key(name)).is_some()));
        let Some((name, _)) = stated.into_iter().find(|(_, is_there)| *is_there) else {
            return Ok(1.0);
        };
        match self.float(name, 0.0, 0.0, 1e6)? {
            0.0 => Ok(1.0),
            divisor if divisor < 1e-3 => Err(bad(&self.key(name), divisor, "0, or 0.001 or more")),
            divisor => Ok(divisor),
        }
    }

    fn norm_eps(&self) -> Result<f32, GgufError> {
        let name = match self.facts.norm {
            crate::arch::NormKind::Layer => "attention.layer_norm_epsilon",
            crate::arch::NormKind::Rms => "attention.layer_norm_rms_epsilon",
        };
        let key = self.key(name);
        if self.metadata.get(&key).is_none() {
            return Err(GgufError::MissingKey { key });
        }
        self.float(name, 1e-5, 0.0, 1.0)
    }

    /// A stated 0 is none.
    fn softcap(&self, name: &str, default: Option<f32>) -> Result<Option<f32>, GgufError> {
        let cap = self.float(name, default.unwrap_or(0.0), 0.0, 1e6)?;
        Ok((cap > 0.0).then_some(cap))
    }

    fn pooling(&self) -> Result<Option<Pooling>, GgufError> {
        let key = self.key("pooling_type");
        match self.metadata.optional_uint(&key)? {
            None | Some(0) if self.facts.causal => Ok(None),
            None | Some(0 | 1) => Ok(Some(Pooling::Mean)),
            Some(2) => Ok(Some(Pooling::First)),
            Some(3) => Ok(Some(Pooling::Last)),
            Some(other) => Err(bad(&key, other, "0 to 3")),
        }
    }

    fn size(&self, name: &str, max: u64) -> Result<usize, GgufError> {
        self.optional_size(name, max)?
            .ok_or_else(|| GgufError::MissingKey {
                key: self.key(name),
            })
    }

    fn optional_size(&self, name: &str, max: u64) -> Result<Option<usize>, GgufError> {
        let Some(value) = self.optional_uint(name)? else {
            return Ok(None);
        };
        if value == 0 || value > max {
            return Err(bad(&self.key(name), value, &format!("between 1 and {max}")));
        }
        // Every maximum above fits in 32 bits.
        Ok(Some(value as usize))
    }

    fn optional_uint(&self, name: &str) -> Result<Option<u64>, GgufError> {
        self.metadata.optional_uint(&self.key(name))
    }

    fn float(&self, name: &str, default: f32, min: f32, max: f32) -> Result<f32, GgufError> {
        let key = self.key(name);
        let value = self.metadata.optional_float(&key)?.unwrap_or(default);
        if !(min..=max).contains(&value) {
            return Err(bad(&key, value, &format!("between {min} and {max}")));
        }
        Ok(value)
    }
}

fn bad(key: &str, value: impl ToString, expected: &str) -> GgufError {
    GgufError::BadValue {
        key: key.to_owned(),
        value: value.to_string(),
        expected: expected.to_owned(),
    }
}
