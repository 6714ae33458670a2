//! What Transformers (and so PEFT) and GGUF call the matrices that take an adapter.

use crate::arch::{Architecture, PairOrder};
use crate::config::ModelConfig;
use crate::weights::{LayerSlot, Slot};

/// Architectures whose modules have the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// llama, qwen2, qwen3, gemma2, gemma3.
    Llama,
    /// phi3: queries, keys and values in one matrix, gate and up in another.
    Phi3,
    /// The BERT encoder.
    Bert,
}

/// A module of a block, and the model's matrices whose rows make it up, in order.
pub(super) type Module = (&'static str, &'static [LayerSlot]);

const LLAMA_MODULES: &[Module] = &[
    ("self_attn.q_proj", &[LayerSlot::AttnQ]),
    ("self_attn.k_proj", &[LayerSlot::AttnK]),
    ("self_attn.v_proj", &[LayerSlot::AttnV]),
    ("self_attn.o_proj", &[LayerSlot::AttnOutput]),
    ("mlp.gate_proj", &[LayerSlot::FfnGate]),
    ("mlp.up_proj", &[LayerSlot::FfnUp]),
    ("mlp.down_proj", &[LayerSlot::FfnDown]),
];

const PHI3_MODULES: &[Module] = &[
    ("self_attn.qkv_proj", QKV),
    ("self_attn.o_proj", &[LayerSlot::AttnOutput]),
    ("mlp.gate_up_proj", GATE_UP),
    ("mlp.down_proj", &[LayerSlot::FfnDown]),
];

const BERT_MODULES: &[Module] = &[
    ("attention.self.query", &[LayerSlot::AttnQ]),
    ("attention.self.key", &[LayerSlot::AttnK]),
    ("attention.self.value", &[LayerSlot::AttnV]),
    ("attention.output.dense", &[LayerSlot::AttnOutput]),
    ("intermediate.dense", &[LayerSlot::FfnUp]),
    ("output.dense", &[LayerSlot::FfnDown]),
];

const QKV: &[LayerSlot] = &[LayerSlot::AttnQ, LayerSlot::AttnK, LayerSlot::AttnV];
const GATE_UP: &[LayerSlot] = &[LayerSlot::FfnGate, LayerSlot::FfnUp];

/// A matrix as an adapter's file names it: one of the model's, or several in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// `lm_head`, where it is a matrix of its own.
    Head,
    /// A module of block `.0`.
    Layer(usize, &'static [LayerSlot]),
}

impl Target {
    /// The model's matrices whose rows follow one another in this one.
    pub(super) fn slots(self) -> Vec<Slot> {
        match self {
            Self::Head => vec![Slot::Output],
            Self::Layer(layer, slots) => {
                slots.iter().map(|slot| Slot::Layer(layer, *slot)).collect()
            }
        }
    }
}

impl Family {
    /// The family of a model.
    pub(super) fn of(config: &ModelConfig) -> Self {
        match config.architecture {
            Architecture::Bert => Self::Bert,
            Architecture::Phi3 => Self::Phi3,
            Architecture::Gemma2
            | Architecture::Gemma3
            | Architecture::Llama
            | Architecture::Qwen2
            | Architecture::Qwen3 => Self::Llama,
        }
    }

    /// Every module of a block that takes an adapter.
    pub(super) fn modules(self) -> &'static [Module] {
        match self {
            Self::Llama => LLAMA_MODULES,
            Self::Phi3 => PHI3_MODULES,
            Self::Bert => BERT_MODULES,
        }
    }

    /// What stands before a block's number in PEFT's names.
    pub(super) fn peft_prefix(self) -> &'static str {
        match self {
            Self::Llama | Self::Phi3 => "base_model.model.model.layers.",
            Self::Bert => "base_model.model.encoder.layer.",
        }
    }

    /// The target of a module path as PEFT writes it, without `lora_A` and what follows; wrapping
    /// classes put `model.`, `language_model.` or `bert.` in front.
    pub(super) fn target_from_peft(self, path: &str) -> Option<Target> {
        let mut path = path.strip_prefix("base_model.model.").unwrap_or(path);
        while let Some(inner) = ["model.", "language_model.", "bert."]
            .into_iter()
            .find_map(|wrapper| path.strip_prefix(wrapper))
        {
            path = inner;
        }
        if path == "lm_head" && self != Self::Bert {
            return Some(Target::Head);
        }
        let path = match self {
            Self::Llama | Self::Phi3 => path.strip_prefix("layers.")?,
            Self::Bert => path.strip_prefix("encoder.layer.")?,
        };
        let (layer, module) = path.split_once('.')?;
        let (_, slots) = self.modules().iter().find(|(name, _)| *name == module)?;
        Some(Target::Layer(block_number(layer)?, slots))
    }

    /// The target of a GGUF tensor name, without `.lora_a` or `.lora_b`.
    pub(super) fn target_from_gguf(self, name: &str) -> Option<Target> {
        if name == "output.weight" && self != Self::Bert {
            return Some(Target::Head);
        }
        let (layer, matrix) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer = block_number(layer)?;
        let fused = match (self, matrix) {
            (Self::Phi3, "attn_qkv.weight") => Some(QKV),
            (Self::Phi3, "ffn_up.weight") => Some(GATE_UP),
            _ => None,
        };
        let single = || {
            let mut modules = self.modules().iter();
            modules.find(|(_, slots)| slots.len() == 1 && slots[0].name() == matrix)
        };
        let slots = fused.or_else(|| single().map(|(_, slots)| *slots))?;
        Some(Target::Layer(layer, slots))
    }
}

/// A block's number as everyone writes it: decimal, without leading zeros.
fn block_number(text: &str) -> Option<usize> {
    let number: usize = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// True when GGUF stores the rows of this matrix permuted: where pairs are neighbours, so that
/// what Transformers keeps in the two halves of a head becomes so.
pub(super) fn rows_are_permuted(config: &ModelConfig, slot: Slot) -> bool {
    let order = config.rope.as_ref().map(|rope| rope.order);
    let rotated = matches!(slot, Slot::Layer(_, LayerSlot::AttnQ | LayerSlot::AttnK));
    rotated && order == Some(PairOrder::Neighbours)
}
