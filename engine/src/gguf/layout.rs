//! Turns a raw header into the model it describes: every tensor known, shaped and placed.

use super::GgufError;
use super::header::{RawHeader, RawTensor, duplicate_name};
use super::stream::Extent;
use crate::config::{MAX_VOCAB, ModelConfig};
use crate::quant::{Format, foreign_type_name};
use crate::weights::{Slot, TensorInfo};

/// The model and where its tensors lie.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) config: ModelConfig,
    /// By offset.
    pub(super) tensors: Vec<TensorInfo>,
    pub(super) extent: Extent,
}

impl Layout {
    pub(super) fn new(header: &RawHeader, max_context: usize) -> Result<Self, GgufError> {
        if let Some(tensor) = duplicate_name(&header.tensors) {
            return Err(GgufError::DuplicateTensor {
                tensor: tensor.to_owned(),
            });
        }
        let tied_output = !header
            .tensors
            .iter()
            .any(|raw| raw.name == Slot::Output.name());
        let vocab_size = vocab_size(&header.tensors)?;
        let config =
            ModelConfig::from_metadata(&header.metadata, vocab_size, tied_output, max_context)?;
        let mut tensors = header
            .tensors
            .iter()
            .map(|raw| checked(raw, &config))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(slot) =
            Slot::all(&config).find(|slot| !tensors.iter().any(|it| it.slot == *slot))
        {
            return Err(GgufError::MissingTensor { name: slot.name() });
        }
        tensors.sort_by_key(|tensor| tensor.offset);
        let data_bytes = placed(&tensors, header.alignment)?;
        let header_end = header.header_end;
        let data_start = header_end.next_multiple_of(header.alignment);
        let end = data_start.checked_add(data_bytes).ok_or(TOO_FAR)?;
        let padded_end = end
            .checked_next_multiple_of(header.alignment)
            .ok_or(TOO_FAR)?;
        Ok(Self {
            config,
            tensors,
            extent: Extent {
                header_end,
                data_start,
                end,
                padded_end,
            },
        })
    }
}

const TOO_FAR: GgufError = GgufError::TooMany {
    what: "bytes in the file",
    count: u64::MAX,
    max: u64::MAX,
};

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

fn checked(raw: &RawTensor, config: &ModelConfig) -> Result<TensorInfo, GgufError> {
    let tensor = || raw.name.clone();
    let Some(slot) = Slot::from_name(&raw.name) else {
        return Err(GgufError::UnexpectedTensor { tensor: tensor() });
    };
    if let Slot::Layer(layer, _) = slot
        && layer >= config.n_layers
    {
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
    let (rows, cols) = slot.shape(config);
    let expected = [cols as u64, rows as u64];
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
    if slot.is_norm() && format != Format::F32 {
        return wrong_format("F32".to_owned());
    }
    if cols % format.block_len() != 0 {
        return wrong_format(format!("unquantised, because its rows have {cols} weights"));
    }
    Ok(TensorInfo {
        slot,
        format,
        rows,
        cols,
        offset: raw.offset,
    })
}

/// Checks that tensors, sorted by offset, follow one another with nothing but padding between
/// them; returns where the last one ends, from the start of the tensor data.
fn placed(tensors: &[TensorInfo], alignment: u64) -> Result<u64, GgufError> {
    let mut end = 0;
    let mut before: Option<&TensorInfo> = None;
    for info in tensors {
        if info.offset % alignment != 0 {
            return Err(GgufError::Misaligned {
                tensor: info.slot.name(),
                offset: info.offset,
                alignment,
            });
        }
        if let Some(before) = before
            && info.offset < end
        {
            return Err(GgufError::Overlap {
                first: before.slot.name(),
                second: info.slot.name(),
            });
        }
        let gap_bytes = info.offset - end;
        if gap_bytes >= alignment {
            return Err(GgufError::Gap {
                tensor: info.slot.name(),
                gap_bytes,
            });
        }
        end = info.offset.checked_add(info.bytes()).ok_or(TOO_FAR)?;
        before = Some(info);
    }
    Ok(end)
}
