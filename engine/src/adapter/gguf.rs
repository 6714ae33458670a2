//! Reads adapters as llama.cpp's `convert_lora_to_gguf.py` writes them.

use super::assemble::{Half, Pairs, RowOrder, Side, Stored};
use super::names::Family;
use super::{Adapter, AdapterError};
use crate::config::ModelConfig;
use crate::gguf::WholeFile;

/// Reads a GGUF adapter for `model`.
///
/// # Errors
/// Names the key or the tensor that is wrong, does not fit the model, or cannot be honoured.
pub fn read_gguf(bytes: &[u8], model: &ModelConfig) -> Result<Adapter, AdapterError> {
    let file = WholeFile::read(bytes)?;
    expect(&file, "general.type", "adapter")?;
    expect(&file, "adapter.type", "lora")?;
    let adapter_architecture = file.metadata.text("general.architecture")?;
    if adapter_architecture != model.facts().name {
        return Err(AdapterError::WrongArchitecture {
            adapter: adapter_architecture.to_owned(),
            model: model.facts().name.to_owned(),
        });
    }
    if file
        .metadata
        .get("adapter.alora.invocation_tokens")
        .is_some()
    {
        return Err(AdapterError::Unsupported {
            what: "adapter.alora.invocation_tokens".to_owned(),
            reason: "it is active from certain tokens on",
        });
    }
    let name = file
        .metadata
        .optional_text("general.name")?
        .unwrap_or_default();
    // What llama.cpp does without an alpha: no division by the rank.
    let alpha = file
        .metadata
        .optional_float("adapter.lora.alpha")?
        .unwrap_or(0.0);
    let scale = |rank| {
        if alpha == 0.0 {
            1.0
        } else {
            (f64::from(alpha) / rank as f64) as f32
        }
    };
    pairs(&file, model)?.assemble(name.to_owned(), model, RowOrder::Gguf, &|_, rank| {
        Ok(scale(rank))
    })
}

fn expect(file: &WholeFile<'_>, key: &str, expected: &str) -> Result<(), AdapterError> {
    match file.metadata.optional_text(key)? {
        Some(value) if value == expected => Ok(()),
        other => Err(AdapterError::BadSetting {
            key: key.to_owned(),
            value: other.unwrap_or("missing").to_owned(),
            expected: expected.to_owned(),
        }),
    }
}

fn pairs<'a>(file: &WholeFile<'a>, model: &ModelConfig) -> Result<Pairs<'a>, AdapterError> {
    let family = Family::of(model);
    let mut pairs = Pairs::default();
    for tensor in &file.tensors {
        let name = tensor.name.clone();
        let halves = [(".lora_a", Side::A), (".lora_b", Side::B)];
        let half = halves
            .into_iter()
            .find_map(|(suffix, side)| Some((name.strip_suffix(suffix)?, side)));
        let Some((matrix, side)) = half else {
            return Err(AdapterError::UnknownTensor { tensor: name });
        };
        if matrix == "token_embd.weight" {
            return Err(AdapterError::Unsupported {
                what: name,
                reason: "the token embedding takes no adapter",
            });
        }
        let Some(target) = family.target_from_gguf(matrix) else {
            return Err(AdapterError::UnknownTarget {
                target: matrix.to_owned(),
                architecture: model.facts().name.to_owned(),
                tensor: name,
            });
        };
        // GGUF leaves trailing dimensions of 1 out or in as it likes.
        let mut shape = tensor.dims.clone();
        while shape.len() > 2 && shape.last() == Some(&1) {
            shape.pop();
        }
        shape.resize(shape.len().max(2), 1);
        shape.reverse();
        let stored = Stored::Gguf(tensor.format, tensor.bytes);
        pairs.push(
            model,
            target,
            side,
            Half {
                tensor: name,
                shape,
                stored,
            },
        )?;
    }
    Ok(pairs)
}
