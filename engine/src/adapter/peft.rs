//! Reads adapters as PEFT saves them: `adapter_config.json` and `adapter_model.safetensors`.

use super::assemble::{Half, Pairs, RowOrder, Side, Stored};
use super::names::Family;
use super::peft_config::PeftConfig;
use super::{Adapter, AdapterError};
use crate::config::ModelConfig;
use crate::safetensors;

/// Parts of tensor names that stand for what is not computed here, and why.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("lora_embedding_", "the token embedding takes no adapter"),
    (
        "lora_magnitude_vector",
        "DoRA scales the rows of the sum of base and adapter",
    ),
    (
        "modules_to_save",
        "whole replaced matrices are not a low-rank adapter",
    ),
    (
        "base_layer",
        "a copy of the base's weights need not be those of this base",
    ),
    ("embed_tokens", "the token embedding takes no adapter"),
    (
        ".bias",
        "biases that were trained are not a low-rank adapter",
    ),
];

/// Reads a PEFT adapter for `model`.
///
/// # Errors
/// Names the setting or the tensor that is wrong, does not fit the model, or cannot be honoured.
pub fn read_peft(
    config_json: &[u8],
    safetensors: &[u8],
    model: &ModelConfig,
) -> Result<Adapter, AdapterError> {
    let config = PeftConfig::read(config_json)?;
    let family = Family::of(model);
    let mut pairs = Pairs::default();
    for (tensor, view) in safetensors::read(safetensors)? {
        if let Some((_, reason)) = UNSUPPORTED.iter().find(|(part, _)| tensor.contains(part)) {
            return Err(AdapterError::Unsupported {
                what: tensor,
                reason,
            });
        }
        let Some((path, side)) = split_name(&tensor) else {
            return Err(AdapterError::UnknownTensor { tensor });
        };
        let Some(target) = family.target_from_peft(path) else {
            return Err(AdapterError::UnknownTarget {
                target: path.to_owned(),
                architecture: model.facts().name.to_owned(),
                tensor,
            });
        };
        let shape = view.shape.clone();
        let half = Half {
            tensor,
            shape,
            stored: Stored::Safetensors(view),
        };
        pairs.push(model, target, side, half)?;
    }
    let scale_of = |a: &str, rank| {
        let path = split_name(a).map_or(a, |(path, _)| path);
        config.scale(path.strip_prefix("base_model.model.").unwrap_or(path), rank)
    };
    pairs.assemble(config.name(), model, RowOrder::Transformers, &scale_of)
}

/// The module's path and which half of its pair a tensor is. PEFT leaves the adapter's name out
/// when it saves; a state dict of its own making has `default` there.
fn split_name(tensor: &str) -> Option<(&str, Side)> {
    let name = tensor.strip_suffix(".weight")?;
    let name = name.strip_suffix(".default").unwrap_or(name);
    let halves = [(".lora_A", Side::A), (".lora_B", Side::B)];
    halves
        .into_iter()
        .find_map(|(suffix, side)| Some((name.strip_suffix(suffix)?, side)))
}
