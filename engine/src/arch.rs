//! What sets one model architecture apart from another: one row of facts each, and nothing else.
//!
//! [`crate::config`] reads the sizes, [`crate::plan`] turns facts and sizes into one list of
//! operations, and every back end interprets that list.

/// An architecture that the engine computes, by its `general.architecture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Architecture {
    /// The BERT encoder, for embeddings.
    Bert,
    /// Gemma 2.
    Gemma2,
    /// Gemma 3, text.
    Gemma3,
    /// Llama and what is built like it: TinyLlama, SmolLM2, Llama 3.x, Mistral.
    Llama,
    /// Phi-3 and Phi-3.5 mini.
    Phi3,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3, dense.
    Qwen3,
}

/// How a row of activations is brought to a common scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// `(x - mean) / sqrt(variance + eps) * gain + bias`.
    Layer,
    /// `x / sqrt(mean(x^2) + eps) * gain`.
    Rms,
}

/// Where the norms of a block stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlace {
    /// On the residual stream, after each addition (BERT).
    After,
    /// On the input of attention and feed-forward.
    Before,
    /// On their input, and on their output before it is added (Gemma).
    Around,
}

/// Which channels of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PairOrder {
    /// `(i, i + rope_dim / 2)`, "neox".
    Halves,
    /// `(2i, 2i + 1)`, as GGUF stores the llama architecture.
    Neighbours,
}

/// What the feed-forward layer does between its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `gelu(up)`, with the error function.
    GeluErf,
    /// `gelu(gate) * up`, with the tanh approximation.
    GeluTanhGated,
    /// `silu(gate) * up`.
    SiluGated,
}

impl Activation {
    /// Whether there is a gate beside the up projection.
    pub fn is_gated(self) -> bool {
        match self {
            Self::GeluErf => false,
            Self::GeluTanhGated | Self::SiluGated => true,
        }
    }
}

/// Which biases a file must have; others are used where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredBiases {
    /// Every matrix and every norm has one.
    All,
    /// None has to have one.
    None,
    /// Queries, keys and values.
    Qkv,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Facts {
    /// Which architecture.
    pub architecture: Architecture,
    /// `general.architecture`, and the prefix of its metadata keys.
    pub name: &'static str,
    /// Kind of every norm but those of heads, which are always [`NormKind::Rms`].
    pub norm: NormKind,
    /// Where the norms of a block stand.
    pub norm_place: NormPlace,
    /// The rotation; none where positions have learned embeddings.
    pub rope: Option<PairOrder>,
    /// Between the matrices of the feed-forward layer.
    pub activation: Activation,
    /// Biases without which a file is incomplete.
    pub biases: RequiredBiases,
    /// Queries and keys are normed head by head before they are rotated.
    pub head_norms: bool,
    /// Embeddings are multiplied by `sqrt(dim)`.
    pub scaled_embedding: bool,
    /// The file keeps queries, keys and values in one tensor, and gate and up in another.
    pub fused: bool,
    /// Of so many layers the last sees everything and the others a window; none: all see all.
    pub window_period: Option<usize>,
    /// positions; the window of a file that does not state one.
    pub window: Option<usize>,
    /// Caps of scores and of logits, in files that do not state them.
    pub softcaps: Option<Softcaps>,
    /// Base of the rotation in layers with a window, where it is another.
    pub local_rope_base: Option<f32>,
    /// A model of exactly so many layers divides scores by `sqrt(dim / n_heads)`, not
    /// `sqrt(head_dim)` (the 27 B Gemmas, told apart as llama.cpp does).
    pub wide_scale_layers: Option<usize>,
    /// A token sees only those before it.
    pub causal: bool,
}

/// `cap * tanh(x / cap)`, in two places.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softcaps {
    /// Of the scores of attention.
    pub attention: f32,
    /// Of the logits.
    pub logits: f32,
}

const LLAMA: Facts = Facts {
    architecture: Architecture::Llama,
    name: "llama",
    norm: NormKind::Rms,
    norm_place: NormPlace::Before,
    rope: Some(PairOrder::Neighbours),
    activation: Activation::SiluGated,
    biases: RequiredBiases::None,
    head_norms: false,
    scaled_embedding: false,
    fused: false,
    window_period: None,
    window: None,
    softcaps: None,
    local_rope_base: None,
    wide_scale_layers: None,
    causal: true,
};

/// Every architecture. Sources: the models' papers and configurations, and llama.cpp's reading of
/// their GGUF files.
pub const TABLE: [Facts; 7] = [
    Facts {
        architecture: Architecture::Bert,
        name: "bert",
        norm: NormKind::Layer,
        norm_place: NormPlace::After,
        rope: None,
        activation: Activation::GeluErf,
        biases: RequiredBiases::All,
        causal: false,
        ..LLAMA
    },
    Facts {
        architecture: Architecture::Gemma2,
        name: "gemma2",
        norm_place: NormPlace::Around,
        rope: Some(PairOrder::Halves),
        activation: Activation::GeluTanhGated,
        scaled_embedding: true,
        window_period: Some(2),
        window: Some(4_096),
        softcaps: Some(Softcaps {
            attention: 50.0,
            logits: 30.0,
        }),
        wide_scale_layers: Some(46),
        ..LLAMA
    },
    Facts {
        architecture: Architecture::Gemma3,
        name: "gemma3",
        norm_place: NormPlace::Around,
        rope: Some(PairOrder::Halves),
        activation: Activation::GeluTanhGated,
        head_norms: true,
        scaled_embedding: true,
        window_period: Some(6),
        local_rope_base: Some(10_000.0),
        wide_scale_layers: Some(62),
        ..LLAMA
    },
    LLAMA,
    Facts {
        architecture: Architecture::Phi3,
        name: "phi3",
        rope: Some(PairOrder::Halves),
        fused: true,
        ..LLAMA
    },
    Facts {
        architecture: Architecture::Qwen2,
        name: "qwen2",
        rope: Some(PairOrder::Halves),
        biases: RequiredBiases::Qkv,
        ..LLAMA
    },
    Facts {
        architecture: Architecture::Qwen3,
        name: "qwen3",
        rope: Some(PairOrder::Halves),
        head_norms: true,
        ..LLAMA
    },
];

impl Facts {
    /// The row of `general.architecture` = `name`.
    pub fn of(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|facts| facts.name == name)
    }
}

impl Architecture {
    /// Its row.
    pub fn facts(self) -> &'static Facts {
        TABLE
            .iter()
            .find(|facts| facts.architecture == self)
            .expect("the table has a row for every architecture; a test looks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_one_row() {
        for facts in &TABLE {
            assert_eq!(facts.architecture.facts(), facts);
            assert_eq!(Facts::of(facts.name), Some(facts));
        }
        assert_eq!(Facts::of("mamba"), None);
    }
}
