//! Reads and writes safetensors: a JSON table of named tensors, then their bytes without gaps.
//!
//! Bytes come from anyone: every count is bounded, every offset is checked with arithmetic that
//! cannot overflow, and nothing is allocated beyond a small multiple of the header that is there.
//! (The `safetensors` crate adds offsets of a hostile header unchecked and bounds headers at
//! 100 MB, ten thousand times what an adapter has.)

use std::collections::BTreeMap;
use std::fmt;

use half::{bf16, f16};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// bytes; 512 layers of seven pairs at 150 bytes for each entry are 1.1 MB.
const MAX_HEADER_BYTES: u64 = 4 << 20;

/// tensors; 512 layers of eight pairs.
const MAX_TENSORS: usize = 8_192;

/// dimensions of a tensor.
const MAX_DIMENSIONS: usize = 8;

/// bytes; the header's length stands in front of it.
const LENGTH_BYTES: usize = 8;

/// What is wrong with a safetensors file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SafetensorsError {
    /// The file ends before its header does.
    #[error("not safetensors: a header of {header_bytes} bytes in a file of {file_bytes}")]
    Truncated {
        /// What the first eight bytes say, or 0 when there are fewer.
        header_bytes: u64,
        /// The whole file.
        file_bytes: usize,
    },
    /// The header is longer than any adapter's.
    #[error("a safetensors header of {header_bytes} bytes: at most {max_bytes} are read")]
    HeaderTooLarge {
        /// What the first eight bytes say.
        header_bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The header is not the JSON it should be.
    #[error("the safetensors header is not what it should be: {reason}")]
    BadHeader {
        /// What the JSON reader says.
        reason: String,
    },
    /// A tensor's offsets are not those of its shape, or overlap, or leave the file.
    #[error(
        "tensor {tensor}: bytes {start} to {end} of {data_bytes} cannot hold {dtype} {shape:?}"
    )]
    BadExtent {
        /// Its name.
        tensor: String,
        /// First byte, from the end of the header.
        start: u64,
        /// Byte after the last.
        end: u64,
        /// Bytes after the header.
        data_bytes: usize,
        /// How its numbers are stored.
        dtype: String,
        /// Its dimensions.
        shape: Vec<u64>,
    },
    /// Bytes that belong to no tensor.
    #[error("{unclaimed_bytes} bytes of the safetensors file belong to no tensor")]
    Unclaimed {
        /// How many.
        unclaimed_bytes: u64,
    },
    /// A type of number that adapters are not read from.
    #[error("tensor {tensor} is stored as {dtype}: F32, F16 and BF16 are read")]
    UnknownDtype {
        /// Its name.
        tensor: String,
        /// What it is stored as.
        dtype: String,
    },
}

/// The types of number that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// The upper halves of 32-bit floats.
    Bf16,
}

impl Dtype {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::Bf16),
            _ => None,
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }
}

/// A tensor in a file: where its numbers are and what they mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorView<'a> {
    /// How its numbers are stored.
    pub dtype: Dtype,
    /// Slowest first.
    pub shape: Vec<u64>,
    /// Little endian, row by row.
    bytes: &'a [u8],
}

impl TensorView<'_> {
    /// The numbers, row by row.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.dtype {
            Dtype::F32 => {
                let raw = self.bytes.as_chunks::<4>().0;
                raw.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
            }
            Dtype::F16 => {
                let raw = self.bytes.as_chunks::<2>().0;
                raw.iter()
                    .map(|raw| f16::from_le_bytes(*raw).to_f32())
                    .collect()
            }
            Dtype::Bf16 => {
                let raw = self.bytes.as_chunks::<2>().0;
                raw.iter()
                    .map(|raw| bf16::from_le_bytes(*raw).to_f32())
                    .collect()
            }
        }
    }
}

/// The tensors of a file, by name.
///
/// # Errors
/// Names what is wrong and with which tensor.
pub fn read(bytes: &[u8]) -> Result<BTreeMap<String, TensorView<'_>>, SafetensorsError> {
    let (header, data) = split(bytes)?;
    let header: Header =
        serde_json::from_slice(header).map_err(|error| SafetensorsError::BadHeader {
            reason: error.to_string(),
        })?;
    let mut views = BTreeMap::new();
    let mut extents = Vec::with_capacity(header.tensors.len());
    for (name, entry) in header.tensors {
        extents.push(entry.data_offsets);
        let view = entry.view(&name, data)?;
        views.insert(name, view);
    }
    extents.sort_unstable();
    let mut claimed = 0;
    for [start, end] in extents {
        if start != claimed {
            return Err(SafetensorsError::Unclaimed {
                unclaimed_bytes: start.abs_diff(claimed),
            });
        }
        claimed = end;
    }
    match data.len() as u64 - claimed {
        0 => Ok(views),
        unclaimed_bytes => Err(SafetensorsError::Unclaimed { unclaimed_bytes }),
    }
}

/// Header and data.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), SafetensorsError> {
    let file_bytes = bytes.len();
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(SafetensorsError::Truncated {
            header_bytes: 0,
            file_bytes,
        });
    };
    let header_bytes = u64::from_le_bytes(*length);
    if header_bytes > MAX_HEADER_BYTES {
        let max_bytes = MAX_HEADER_BYTES;
        return Err(SafetensorsError::HeaderTooLarge {
            header_bytes,
            max_bytes,
        });
    }
    // At most MAX_HEADER_BYTES, which fits in 32 bits.
    rest.split_at_checked(header_bytes as usize)
        .ok_or(SafetensorsError::Truncated {
            header_bytes,
            file_bytes,
        })
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Entry {
    fn view<'a>(self, name: &str, data: &'a [u8]) -> Result<TensorView<'a>, SafetensorsError> {
        let Some(dtype) = Dtype::from_name(&self.dtype) else {
            let tensor = name.to_owned();
            return Err(SafetensorsError::UnknownDtype {
                tensor,
                dtype: self.dtype,
            });
        };
        let [start, end] = self.data_offsets;
        let needed = (self.shape.len() <= MAX_DIMENSIONS)
            .then(|| {
                self.shape
                    .iter()
                    .try_fold(dtype.bytes(), |n, dim| n.checked_mul(*dim))
            })
            .flatten();
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let bytes = range.and_then(|(start, end)| data.get(start..end));
        match bytes.filter(|bytes| needed == Some(bytes.len() as u64)) {
            Some(bytes) => Ok(TensorView {
                dtype,
                shape: self.shape,
                bytes,
            }),
            None => Err(SafetensorsError::BadExtent {
                tensor: name.to_owned(),
                start,
                end,
                data_bytes: data.len(),
                dtype: self.dtype,
                shape: self.shape,
            }),
        }
    }
}

/// The JSON table, its `__metadata__` left out.
#[derive(Default)]
struct Header {
    tensors: BTreeMap<String, Entry>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if header.tensors.len() == MAX_TENSORS {
                return Err(A::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            let entry = map.next_value::<Entry>()?;
            if header.tensors.insert(name.clone(), entry).is_some() {
                return Err(A::Error::custom(format!("tensor {name} occurs twice")));
            }
        }
        Ok(header)
    }
}

/// A matrix to be written, `(rows, cols)`.
#[derive(Debug, Clone)]
pub struct F32Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `(rows, cols)`
    pub values: Vec<f32>,
}

/// A file of F32 matrices, as PyTorch's safetensors writes it.
pub fn write(tensors: &BTreeMap<String, F32Matrix>) -> Vec<u8> {
    let mut table = serde_json::Map::new();
    table.insert(
        "__metadata__".to_owned(),
        serde_json::json!({ "format": "pt" }),
    );
    let mut end = 0;
    for (name, tensor) in tensors {
        let start = end;
        end += tensor.values.len() * size_of::<f32>();
        let entry = serde_json::json!({
            "dtype": "F32",
            "shape": [tensor.rows, tensor.cols],
            "data_offsets": [start, end],
        });
        table.insert(name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(table).to_string().into_bytes();
    // Data starts at a multiple of eight bytes; spaces are what the format pads with.
    header.resize(header.len().next_multiple_of(LENGTH_BYTES), b' ');
    let mut file = Vec::with_capacity(LENGTH_BYTES + header.len() + end);
    file.extend((header.len() as u64).to_le_bytes());
    file.extend(header);
    for tensor in tensors.values() {
        file.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
    }
    file
}

#[cfg(test)]
mod tests;
