//! A GGUF file that is in memory whole: an adapter's, of which every tensor is small.

use super::header::{HeaderParser, RawTensor, duplicate_name};
use super::{GgufError, Metadata};
use crate::quant::{Format, foreign_type_name};

/// What a file holds, its tensors unexplained.
#[derive(Debug)]
pub(crate) struct WholeFile<'a> {
    pub(crate) metadata: Metadata,
    /// In the order of the header.
    pub(crate) tensors: Vec<WholeTensor<'a>>,
}

/// A tensor: its extent lies in the file, and its blocks are whole.
#[derive(Debug)]
pub(crate) struct WholeTensor<'a> {
    pub(crate) name: String,
    /// Fastest first; their product is the number of weights.
    pub(crate) dims: Vec<u64>,
    pub(crate) format: Format,
    pub(crate) bytes: &'a [u8],
}

impl<'a> WholeFile<'a> {
    /// Reads the header and finds every tensor.
    ///
    /// # Errors
    /// Says what is wrong with the file, and with which tensor.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, GgufError> {
        let mut parser = HeaderParser::new();
        let (_, whole) = parser.push(bytes)?;
        let truncated = GgufError::TruncatedHeader {
            file_bytes: bytes.len() as u64,
        };
        if !whole && !parser.parse()? {
            return Err(truncated);
        }
        let (header, _) = parser.into_parts();
        if let Some(tensor) = duplicate_name(&header.tensors) {
            return Err(GgufError::DuplicateTensor {
                tensor: tensor.to_owned(),
            });
        }
        let file = &header.files[0];
        let data_start = file.header_end.next_multiple_of(file.alignment);
        let tensors: Vec<_> = header
            .tensors
            .into_iter()
            .map(|raw| WholeTensor::new(raw, data_start, bytes))
            .collect::<Result<_, _>>()?;
        refuse_overlap(&tensors)?;
        Ok(Self {
            tensors,
            metadata: header.metadata,
        })
    }
}

/// Tensors that share bytes would let a small file ask for much memory.
fn refuse_overlap(tensors: &[WholeTensor<'_>]) -> Result<(), GgufError> {
    let mut by_start: Vec<_> = tensors.iter().collect();
    by_start.sort_by_key(|tensor| tensor.bytes.as_ptr());
    let overlap = by_start
        .windows(2)
        .find(|pair| pair[0].bytes.as_ptr_range().end > pair[1].bytes.as_ptr());
    match overlap {
        None => Ok(()),
        Some(pair) => Err(GgufError::Overlap {
            first: pair[0].name.clone(),
            second: pair[1].name.clone(),
        }),
    }
}

impl<'a> WholeTensor<'a> {
    fn new(raw: RawTensor, data_start: u64, file: &'a [u8]) -> Result<Self, GgufError> {
        let RawTensor {
            name,
            dims,
            type_id,
            offset,
            file: _,
        } = raw;
        let Some(format) = Format::from_type_id(type_id) else {
            let format = foreign_type_name(type_id)
                .map_or_else(|| type_id.to_string(), |name| name.to_owned());
            return Err(GgufError::UnknownTensorType {
                tensor: name,
                format,
            });
        };
        let cols = dims.first().copied().unwrap_or(0);
        let n_weights = dims.iter().try_fold(1_u64, |n, dim| n.checked_mul(*dim));
        let n_weights = match n_weights {
            Some(n) if n > 0 && cols % format.block_len() as u64 == 0 => n,
            Some(_) | None => return Err(GgufError::BadDimensions { tensor: name, dims }),
        };
        let start = data_start.checked_add(offset);
        let end = (n_weights / format.block_len() as u64)
            .checked_mul(format.block_bytes() as u64)
            .and_then(|n_bytes| start?.checked_add(n_bytes));
        let start = start.and_then(|start| usize::try_from(start).ok());
        let range = start.zip(end.and_then(|end| usize::try_from(end).ok()));
        let bytes = range.and_then(|(start, end)| file.get(start..end));
        let bytes = bytes.ok_or(GgufError::Truncated {
            needed_bytes: end.unwrap_or(u64::MAX),
            file_bytes: file.len() as u64,
        })?;
        Ok(Self {
            name,
            dims,
            format,
            bytes,
        })
    }
}
