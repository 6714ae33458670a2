//! The tiny models that are held against llama.cpp: one for each architecture, and one for each
//! thing that a file may say beyond it. All are made up from a seed, so none is kept.

use thrum_engine::arch::Architecture;
use thrum_engine::quant::Format;
use thrum_engine::synthetic::{GgufWriter, Random, SyntheticModel};

/// positions; what a file states as its context, and what both engines are given.
pub(crate) const CONTEXT: usize = 512;

/// tokens; many times the window of 16, and more than 256.
pub(crate) const N_TOKENS: usize = 320;

/// tokens; the vocabulary of every model.
const VOCAB_SIZE: usize = 320;

/// GGUF's number for F32 tensors.
const F32_TYPE: u32 = 0;

/// What a file says beyond its architecture's usual metadata.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extra {
    /// A whole number; the key without the architecture's name.
    Uint(&'static str, u32),
    /// A number.
    Float(&'static str, f32),
    /// A text.
    Text(&'static str, &'static str),
    /// A yes or no.
    Bool(&'static str, bool),
    /// A whole number under a key that does not begin with the architecture's name.
    Global(&'static str, u32),
    /// Divisors of the rotation's frequencies, 1 for the first pair and this for the last.
    Factors(&'static str, f32),
}

/// One model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    /// Names its files.
    pub(crate) name: &'static str,
    architecture: Architecture,
    tied_output: bool,
    extras: &'static [Extra],
}

const fn plain(name: &'static str, architecture: Architecture) -> Variant {
    with(name, architecture, &[])
}

const fn with(name: &'static str, architecture: Architecture, extras: &'static [Extra]) -> Variant {
    Variant {
        name,
        architecture,
        tied_output: true,
        extras,
    }
}

const fn untied(name: &'static str, architecture: Architecture) -> Variant {
    Variant {
        tied_output: false,
        ..plain(name, architecture)
    }
}

/// All of them.
pub(crate) const VARIANTS: [Variant; 21] = [
    with(
        "bert",
        Architecture::Bert,
        &[
            Extra::Bool("attention.causal", false),
            Extra::Uint("pooling_type", 1),
            Extra::Global("tokenizer.ggml.token_type_count", 2),
        ],
    ),
    plain("gemma2", Architecture::Gemma2),
    with("gemma2-linear", Architecture::Gemma2, LINEAR),
    plain("gemma3", Architecture::Gemma3),
    untied("gemma3-untied", Architecture::Gemma3),
    with(
        "gemma3-linear",
        Architecture::Gemma3,
        &[
            Extra::Text("rope.scaling.type", "linear"),
            Extra::Float("rope.scaling.factor", 8.0),
            Extra::Float("rope.freq_base_swa", 500.0),
        ],
    ),
    plain("llama", Architecture::Llama),
    untied("llama-untied", Architecture::Llama),
    with("llama-linear", Architecture::Llama, LINEAR),
    with(
        "llama-linear-untyped",
        Architecture::Llama,
        &[Extra::Float("rope.scaling.factor", 4.0)],
    ),
    with(
        "llama-linear-old",
        Architecture::Llama,
        &[Extra::Float("rope.scale_linear", 4.0)],
    ),
    with(
        "llama-rope-freqs",
        Architecture::Llama,
        &[Extra::Factors("rope_freqs.weight", 8.0)],
    ),
    with("llama-window", Architecture::Llama, WINDOW),
    plain("phi3", Architecture::Phi3),
    untied("phi3-untied", Architecture::Phi3),
    with("phi3-window", Architecture::Phi3, WINDOW),
    with(
        "phi3-long",
        Architecture::Phi3,
        &[
            Extra::Text("rope.scaling.type", "longrope"),
            Extra::Uint("rope.scaling.original_context_length", 256),
            Extra::Float("rope.scaling.attn_factor", 1.19),
            Extra::Factors("rope_factors_long.weight", 64.0),
            Extra::Factors("rope_factors_short.weight", 1.5),
        ],
    ),
    with(
        "phi3-short",
        Architecture::Phi3,
        &[
            Extra::Text("rope.scaling.type", "longrope"),
            Extra::Uint("rope.scaling.original_context_length", 512),
            Extra::Float("rope.scaling.attn_factor", 1.19),
            Extra::Factors("rope_factors_long.weight", 64.0),
            Extra::Factors("rope_factors_short.weight", 1.5),
        ],
    ),
    plain("qwen2", Architecture::Qwen2),
    plain("qwen3", Architecture::Qwen3),
    untied("qwen3-untied", Architecture::Qwen3),
];

const LINEAR: &[Extra] = &[
    Extra::Text("rope.scaling.type", "linear"),
    Extra::Float("rope.scaling.factor", 4.0),
];

const WINDOW: &[Extra] = &[Extra::Uint("attention.sliding_window", 16)];

impl Variant {
    /// The file, its matrices stored as `format`.
    pub(crate) fn gguf(&self, format: Format) -> Vec<u8> {
        let model = SyntheticModel {
            architecture: self.architecture,
            // One more than Gemma 3's period, so that windows stand on both sides of a whole view.
            n_layers: 7,
            vocab_size: VOCAB_SIZE,
            context_len: CONTEXT,
            tied_output: self.tied_output,
            format,
            ..SyntheticModel::SMALL
        };
        let pairs = model.dim / model.n_heads / 2;
        let mut writer = model.metadata();
        for extra in self.extras {
            self.say(&mut writer, *extra);
        }
        model.add_tensors(&mut writer);
        for extra in self.extras {
            if let Extra::Factors(name, last) = extra {
                let factor = |pair| 1.0 + (last - 1.0) * pair as f32 / (pairs - 1) as f32;
                let bytes = (0..pairs).flat_map(|pair| factor(pair).to_le_bytes());
                writer.tensor(name, &[pairs as u64], F32_TYPE, bytes.collect());
            }
        }
        writer.finish()
    }

    fn say(&self, writer: &mut GgufWriter, extra: Extra) {
        let key = |name: &str| format!("{}.{name}", self.architecture.facts().name);
        match extra {
            Extra::Uint(name, value) => writer.uint(&key(name), value),
            Extra::Float(name, value) => writer.float(&key(name), value),
            Extra::Text(name, value) => writer.text(&key(name), value),
            Extra::Bool(name, value) => writer.bool(&key(name), value),
            Extra::Global(name, value) => writer.uint(name, value),
            Extra::Factors(_, _) => writer,
        };
    }
}

/// The text that every model is made to read.
pub(crate) fn tokens() -> Vec<u32> {
    let mut random = Random(2_026);
    (0..N_TOKENS)
        .map(|_| random.bits() % VOCAB_SIZE as u32)
        .collect()
}
