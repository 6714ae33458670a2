//! The first byte says what the rest is: a PEFT adapter (the length of its configuration, the
//! configuration, the tensors) or a GGUF one; the second which model it is for.
//!
//! What is read adds finite numbers to matrices that the model has, and is the same written and
//! read again.

use std::sync::OnceLock;

use thrum_engine::ModelConfig;
use thrum_engine::adapter::{Adapter, read_gguf, read_peft};
use thrum_engine::arch::Architecture;
use thrum_engine::synthetic::SyntheticModel;

use super::script::Script;

const ARCHITECTURES: [Architecture; 7] = [
    Architecture::Bert,
    Architecture::Gemma2,
    Architecture::Gemma3,
    Architecture::Llama,
    Architecture::Phi3,
    Architecture::Qwen2,
    Architecture::Qwen3,
];

/// Reads `data`; true when it is an adapter.
pub fn run(data: &[u8]) -> bool {
    let mut script = Script(data);
    let from_peft = script.below(2) == 0;
    let models = models();
    let model = &models[script.below(models.len())];
    let adapter = if from_peft {
        let n_bytes = usize::from(script.word());
        let config = script.bytes(n_bytes);
        read_peft(config, script.0, model)
    } else {
        read_gguf(script.0, model)
    };
    let Ok(adapter) = adapter else {
        return false;
    };
    check(&adapter, model);
    let files = adapter.to_peft(model);
    if let Ok(again) = read_peft(&files.config, &files.safetensors, model) {
        check(&again, model);
    }
    true
}

fn check(adapter: &Adapter, model: &ModelConfig) {
    assert!(!adapter.pairs.is_empty());
    for (slot, pair) in &adapter.pairs {
        assert_eq!(slot.shape(model), (pair.rows(), pair.cols()), "{slot:?}");
        assert!(pair.rank >= 1 && pair.rank <= adapter.rank && pair.scale.is_finite());
        let mut weights = pair.a.iter().chain(&pair.b);
        assert!(weights.all(|weight| weight.is_finite()), "{slot:?}");
    }
}

/// One model of each architecture, as `tests/adapter_files.rs` has them.
fn models() -> &'static [ModelConfig] {
    static MODELS: OnceLock<Vec<ModelConfig>> = OnceLock::new();
    MODELS.get_or_init(|| ARCHITECTURES.map(model).to_vec())
}

fn model(architecture: Architecture) -> ModelConfig {
    let wide_heads = [Architecture::Gemma2, Architecture::Qwen3].contains(&architecture);
    let spec = SyntheticModel {
        architecture,
        n_layers: 1,
        dim: 32,
        n_heads: 4,
        n_kv_heads: if architecture == Architecture::Bert {
            4
        } else {
            2
        },
        ffn_dim: 40,
        ..SyntheticModel::SMALL
    };
    ModelConfig {
        head_dim: if wide_heads { 16 } else { 8 },
        ..spec.config()
    }
}
