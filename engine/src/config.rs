//! The sizes and constants of a llama-architecture model, read from GGUF metadata and checked.

use crate::gguf::{GgufError, Metadata};

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

/// What a llama-architecture model is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
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
    /// Positions the KV cache is sized for: the file's `context_length` or the caller's cap.
    pub context_len: usize,
    /// Channels of each head that are rotated; even, at most `head_dim`.
    /// Pairs are neighbours, `(2i, 2i + 1)`, as GGUF's llama architecture stores them.
    pub rope_dim: usize,
    /// Base of the rotation frequencies.
    pub rope_base: f32,
    /// Added to the mean square inside RMSNorm.
    pub norm_eps: f32,
    /// True when the logits are taken with the token embedding (there is no `output.weight`).
    pub tied_output: bool,
}

impl ModelConfig {
    /// Reads the configuration; `vocab_size` and `tied_output` come from the tensors.
    ///
    /// # Errors
    /// Names the key that is missing, of the wrong type, out of range, or not supported.
    pub(crate) fn from_metadata(
        metadata: &Metadata,
        vocab_size: usize,
        tied_output: bool,
        max_context: usize,
    ) -> Result<Self, GgufError> {
        let architecture = metadata.text("general.architecture")?;
        if architecture != "llama" {
            return Err(GgufError::UnknownArchitecture {
                name: architecture.to_owned(),
            });
        }
        refuse_unsupported(metadata)?;
        let dim = size(metadata, "llama.embedding_length", MAX_DIM)?;
        let n_heads = size(metadata, "llama.attention.head_count", MAX_HEADS)?;
        let n_kv_heads =
            optional_size(metadata, "llama.attention.head_count_kv", MAX_HEADS)?.unwrap_or(n_heads);
        let head_dim = match optional_size(metadata, "llama.attention.key_length", MAX_DIM)? {
            Some(head_dim) => head_dim,
            None if dim % n_heads == 0 => dim / n_heads,
            None => {
                return Err(bad(
                    "llama.attention.head_count",
                    n_heads,
                    "divides the width",
                ));
            }
        };
        let rope_dim =
            optional_size(metadata, "llama.rope.dimension_count", MAX_DIM)?.unwrap_or(head_dim);
        let value_dim =
            optional_size(metadata, "llama.attention.value_length", MAX_DIM)?.unwrap_or(head_dim);
        if n_heads % n_kv_heads != 0 {
            return Err(bad(
                "llama.attention.head_count_kv",
                n_kv_heads,
                "divides the head count",
            ));
        }
        if head_dim % 2 != 0 || (n_heads * head_dim) as u64 > MAX_DIM {
            return Err(bad(
                "llama.attention.key_length",
                head_dim,
                "even and of sane size",
            ));
        }
        if value_dim != head_dim {
            return Err(bad(
                "llama.attention.value_length",
                value_dim,
                "equal to key_length",
            ));
        }
        if rope_dim % 2 != 0 || rope_dim > head_dim {
            return Err(bad(
                "llama.rope.dimension_count",
                rope_dim,
                "even and within a head",
            ));
        }
        let config = Self {
            name: metadata
                .optional_text("general.name")?
                .unwrap_or_default()
                .to_owned(),
            n_layers: size(metadata, "llama.block_count", MAX_LAYERS)?,
            dim,
            n_heads,
            n_kv_heads,
            head_dim,
            ffn_dim: size(metadata, "llama.feed_forward_length", MAX_FFN_DIM)?,
            vocab_size,
            context_len: size(metadata, "llama.context_length", MAX_CONTEXT)?.min(max_context),
            rope_dim,
            rope_base: float_between(metadata, "llama.rope.freq_base", 10_000.0, 1.0, 1e12)?,
            norm_eps: norm_eps(metadata)?,
            tied_output,
        };
        match metadata.optional_uint("llama.vocab_size")? {
            Some(stated) if stated != vocab_size as u64 => Err(bad(
                "llama.vocab_size",
                stated,
                "the rows of the token embedding",
            )),
            Some(_) | None => Ok(config),
        }
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

    /// Bytes of keys and values, in f32, for `context_len` positions.
    pub fn kv_bytes(&self) -> u64 {
        let floats = 2 * self.n_layers as u64 * self.context_len as u64 * self.kv_dim() as u64;
        floats * size_of::<f32>() as u64
    }
}

/// What would change the arithmetic and is not implemented is refused, never skipped.
fn refuse_unsupported(metadata: &Metadata) -> Result<(), GgufError> {
    if let Some(kind) = metadata.optional_text("llama.rope.scaling.type")?
        && kind != "none"
    {
        return Err(bad("llama.rope.scaling.type", kind, "none"));
    }
    if let Some(experts) = metadata.optional_uint("llama.expert_count")?
        && experts != 0
    {
        return Err(bad(
            "llama.expert_count",
            experts,
            "0 (mixtures of experts are not read)",
        ));
    }
    Ok(())
}

fn norm_eps(metadata: &Metadata) -> Result<f32, GgufError> {
    const KEY: &str = "llama.attention.layer_norm_rms_epsilon";
    if metadata.get(KEY).is_none() {
        return Err(GgufError::MissingKey {
            key: KEY.to_owned(),
        });
    }
    float_between(metadata, KEY, 1e-5, 0.0, 1.0)
}

fn size(metadata: &Metadata, key: &str, max: u64) -> Result<usize, GgufError> {
    optional_size(metadata, key, max)?.ok_or_else(|| GgufError::MissingKey {
        key: key.to_owned(),
    })
}

fn optional_size(metadata: &Metadata, key: &str, max: u64) -> Result<Option<usize>, GgufError> {
    let Some(value) = metadata.optional_uint(key)? else {
        return Ok(None);
    };
    if value == 0 || value > max {
        return Err(bad(key, value, &format!("between 1 and {max}")));
    }
    // Every maximum above fits in 32 bits.
    Ok(Some(value as usize))
}

fn float_between(
    metadata: &Metadata,
    key: &str,
    default: f32,
    min: f32,
    max: f32,
) -> Result<f32, GgufError> {
    let value = metadata.optional_float(key)?.unwrap_or(default);
    if !(min..=max).contains(&value) {
        return Err(bad(key, value, &format!("between {min} and {max}")));
    }
    Ok(value)
}

fn bad(key: &str, value: impl ToString, expected: &str) -> GgufError {
    GgufError::BadValue {
        key: key.to_owned(),
        value: value.to_string(),
        expected: expected.to_owned(),
    }
}
