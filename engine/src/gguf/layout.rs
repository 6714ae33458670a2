//! Turns a raw header into the model it describes: every tensor known, shaped and placed.

use std::collections::BTreeSet;

use super::GgufError;
use super::header::{RawHeader, RawTensor, duplicate_name};
use super::place::extents;
use super::stream::Extent;
use crate::arch::Facts;
use crate::config::{MAX_VOCAB, ModelConfig};
use crate::quant::{Format, foreign_type_name};
use crate::weights::{LayerSlot, Slot, TensorInfo};

/// The model and where its tensors lie.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) config: ModelConfig,
    /// As in [`RawHeader::files`].
    pub(super) files: Vec<FileLayout>,
}

/// What is in one file.
#[derive(Debug)]
pub(super) struct FileLayout {
    /// By offset.
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) extent: Extent,
}

impl FileLayout {
    fn empty(extent: Extent) -> Self {
        Self {
            tensors: Vec::new(),
            extent,
        }
    }
}

impl Layout {
    pub(super) fn new(header: &RawHeader, max_context: usize) -> Result<Self, GgufError> {
        if let Some(tensor) = duplicate_name(&header.tensors) {
            return Err(GgufError::DuplicateTensor {
                tensor: tensor.to_owned(),
            });
        }
        let architecture = header.metadata.text("general.architecture")?;
        let facts = Facts::of(architecture).ok_or_else(|| GgufError::UnknownArchitecture {
            name: architecture.to_owned(),
        })?;
        let vocab_size = vocab_size(&header.tensors)?;
        let mut raws = Vec::with_capacity(header.tensors.len());
        let mut present = BTreeSet::new();
        for raw in &header.tensors {
            let slots = slots(&raw.name, facts);
            if slots.is_empty() || !slots.iter().all(|slot| present.insert(*slot)) {
                return Err(GgufError::UnexpectedTensor {
                    tensor: raw.name.clone(),
                });
            }
            raws.push((raw, slots));
        }
        let config =
            ModelConfig::from_metadata(&header.metadata, vocab_size, &present, max_context)?;
        raws.sort_by_key(|(raw, _)| (raw.file, raw.offset));
        let mut infos = Vec::with_capacity(raws.len());
        let mut sizes = Vec::with_capacity(raws.len());
        for (raw, slots) in &raws {
            let parts = checked(raw, slots, &config)?;
            sizes.push((*raw, parts.iter().map(TensorInfo::bytes).sum()));
            infos.push(parts);
        }
        let mut files: Vec<FileLayout> = extents(&header.files, &sizes)?
            .into_iter()
            .map(FileLayout::empty)
            .collect();
        for ((raw, _), parts) in raws.iter().zip(infos) {
            files[raw.file].tensors.extend(parts);
        }
        Ok(Self { config, files })
    }
}

fn vocab_size(tensors: &[RawTensor]) -> Result<usize, GgufError> {
    let name = Slot::TokenEmbedding.name();
    let Some(embedding) = tensors.iter().find(|raw| raw.name == name) else {
        return Err(GgufError::MissingTensor { name });
    };
    let rows = embedding.dims.get(1).copied().unwrap_or(1);
    match usize::try_from(rows) {
        Ok(rows) if rows <= MAX_VOCAB => Ok(rows),
        Ok(_) | Err(_) => Err(GgufError::TooMany {
            what: "token ids",
            count: rows,
            max: MAX_VOCAB as u64,
        }),
    }
}

/// The places of a tensor's rows: one, or several one after the other; none for a stranger.
fn slots(name: &str, facts: &Facts) -> Vec<Slot> {
    if facts.fused
        && let Some((layer, parts)) = fused(name)
    {
        let slot = |part: &LayerSlot| Slot::Layer(layer, *part);
        return parts.iter().map(slot).collect();
    }
    Slot::from_name(name).into_iter().collect()
}

/// A tensor that holds several, and their order (Phi-3).
fn fused(name: &str) -> Option<(usize, &'static [LayerSlot])> {
    let (layer, name) = name.strip_prefix("blk.")?.split_once('.')?;
    let parts: &[LayerSlot] = match name {
        "attn_qkv.weight" => &[LayerSlot::AttnQ, LayerSlot::AttnK, LayerSlot::AttnV],
        "attn_qkv.bias" => &[
            LayerSlot::AttnQBias,
            LayerSlot::AttnKBias,
            LayerSlot::AttnVBias,
        ],
        "ffn_up.weight" => &[LayerSlot::FfnGate, LayerSlot::FfnUp],
        _ => return None,
    };
    let number: usize = layer.parse().ok()?;
    (number.to_string() == layer).then_some((number, parts))
}

fn checked(
    raw: &RawTensor,
    slots: &[Slot],
    config: &ModelConfig,
) -> Result<Vec<TensorInfo>, GgufError> {
    let tensor = || raw.name.clone();
    if slots.iter().any(|slot| is_beyond(*slot, config)) {
        return Err(GgufError::UnexpectedTensor { tensor: tensor() });
    }
    let Some(format) = Format::from_type_id(raw.type_id) else {
        let format = foreign_type_name(raw.type_id)
            .map_or_else(|| raw.type_id.to_string(), |name| name.to_owned());
        return Err(GgufError::UnknownTensorType {
            tensor: tensor(),
            format,
        });
    };
    if raw.dims.is_empty() || raw.dims.contains(&0) {
        return Err(GgufError::BadDimensions {
            tensor: tensor(),
            dims: raw.dims.clone(),
        });
    }
    let shapes: Vec<(usize, usize)> = slots.iter().map(|slot| slot.shape(config)).collect();
    let is_matrix = slots.iter().all(|slot| slot.is_matrix());
    let cols = shapes[0].1;
    let expected = match is_matrix {
        true => [
            cols as u64,
            shapes.iter().map(|(rows, _)| *rows as u64).sum(),
        ],
        // The rows of biases lie behind one another as the columns of one row.
        false => [shapes.iter().map(|(_, cols)| *cols as u64).sum(), 1],
    };
    let shape_matches = raw
        .dims
        .iter()
        .copied()
        .chain([1; 4])
        .take(4)
        .eq(expected.into_iter().chain([1, 1]));
    if !shape_matches {
        return Err(GgufError::WrongShape {
            tensor: tensor(),
            expected,
            found: raw.dims.clone(),
        });
    }
    let wrong_format = |expected| {
        Err(GgufError::WrongFormat {
            tensor: tensor(),
            found: format.name(),
            expected,
        })
    };
    if !is_matrix && format != Format::F32 {
        return wrong_format("F32".to_owned());
    }
    if !cols.is_multiple_of(format.block_len()) {
        return wrong_format(format!("unquantised, because its rows have {cols} weights"));
    }
    let mut offset = raw.offset;
    let mut infos = Vec::with_capacity(slots.len());
    for (slot, (rows, cols)) in slots.iter().zip(shapes) {
        let info = TensorInfo {
            slot: *slot,
            format,
            rows,
            cols,
            offset,
        };
        // An offset beyond counting is refused by name where the tensors are placed.
        offset = offset.saturating_add(info.bytes());
        infos.push(info);
    }
    Ok(infos)
}

fn is_beyond(slot: Slot, config: &ModelConfig) -> bool {
    matches!(slot, Slot::Layer(layer, _) if layer >= config.n_layers)
}
