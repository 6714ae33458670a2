//! A model in several files: what each says of itself, and whether a set of them is one model.
//!
//! Each part is a GGUF file with a header of its own (`split.no`, `split.count` and
//! `split.tensors.count`); the first has all other metadata, every part the tensors it holds.

use super::header::{HeaderParser, RawHeader};
use super::{GgufError, Metadata, Value};

/// parts; the largest models published are in fewer than 200.
pub const MAX_PARTS: u64 = 512;

const NO: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

/// What a part says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Its place among the parts, from 0; less than `count`.
    pub no: u64,
    /// Parts there are.
    pub count: u64,
    /// Tensors in all parts together.
    pub tensors: u64,
}

impl Split {
    /// What the metadata says; nothing for a model that is one file.
    pub(super) fn of(metadata: &Metadata) -> Result<Option<Self>, GgufError> {
        let Some(count) = metadata.optional_uint(COUNT)? else {
            return Ok(None);
        };
        if count > MAX_PARTS {
            return Err(GgufError::TooMany {
                what: "parts of a model",
                count,
                max: MAX_PARTS,
            });
        }
        // Zero is what llama.cpp takes for a model that is not split.
        if count <= 1 {
            return Ok(None);
        }
        let required = |key: &str| {
            metadata
                .optional_uint(key)?
                .ok_or_else(|| GgufError::MissingKey {
                    key: key.to_owned(),
                })
        };
        let no = required(NO)?;
        if no >= count {
            return Err(GgufError::BadValue {
                key: NO.to_owned(),
                value: no.to_string(),
                expected: format!("less than {COUNT}, which is {count}"),
            });
        }
        Ok(Some(Self {
            no,
            count,
            tensors: required(TENSORS)?,
        }))
    }
}

/// The header of one part, read ahead of the model.
#[derive(Debug)]
pub struct PartHeader {
    pub(super) raw: RawHeader,
    pub(super) split: Option<Split>,
    /// Length of the file in bytes, if known.
    pub(super) file_bytes: Option<u64>,
    /// [`fingerprint`] of the header's bytes.
    pub(super) fingerprint: u64,
}

impl PartHeader {
    /// What the part says of itself; nothing for a model that is one file.
    pub fn split(&self) -> Option<Split> {
        self.split
    }

    /// Length of the file in bytes, if known.
    pub fn file_bytes(&self) -> Option<u64> {
        self.file_bytes
    }

    /// Bytes of the header.
    pub fn header_bytes(&self) -> u64 {
        self.raw.files[0].header_end
    }

    /// What is needed as the part arrives, and the header itself.
    pub(super) fn into_parts(self) -> (PartArrival, RawHeader) {
        let arrival = PartArrival {
            no: self.split.map(|split| split.no),
            header_bytes: self.header_bytes(),
            fingerprint: self.fingerprint,
        };
        (arrival, self.raw)
    }
}

/// How to know a part whose header was read ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartArrival {
    /// Its place in the split model; nothing for a model in one file.
    pub(super) no: Option<u64>,
    pub(super) header_bytes: u64,
    pub(super) fingerprint: u64,
}

/// Reads the header of one part and nothing after it.
#[derive(Debug)]
pub struct PartReader {
    parser: HeaderParser,
    file_bytes: Option<u64>,
}

impl PartReader {
    /// A reader of a file of which nothing has arrived, and whose length is perhaps known.
    pub fn new(file_bytes: Option<u64>) -> Self {
        Self {
            parser: HeaderParser::new(),
            file_bytes,
        }
    }

    /// Takes the next bytes of the file; true when the header is whole and the rest is not needed.
    ///
    /// # Errors
    /// [`GgufError`] for a header that is refused.
    pub fn push(&mut self, chunk: &[u8]) -> Result<bool, GgufError> {
        Ok(self.parser.is_whole() || self.parser.push(chunk)?.1)
    }

    /// The header.
    ///
    /// # Errors
    /// [`GgufError`] for one that is not whole, or whose account of the split makes no sense.
    pub fn finish(mut self) -> Result<PartHeader, GgufError> {
        if !self.parser.parse()? {
            return Err(GgufError::TruncatedHeader {
                file_bytes: self.parser.bytes().len() as u64,
            });
        }
        let fingerprint = fingerprint(FINGERPRINT_START, self.parser.header_bytes());
        let (raw, _) = self.parser.into_parts();
        Ok(PartHeader {
            split: Split::of(&raw.metadata)?,
            raw,
            file_bytes: self.file_bytes,
            fingerprint,
        })
    }
}

/// Checks that `parts` are one model, each part once, in any order.
pub(super) fn check_set(parts: &[PartHeader]) -> Result<(), GgufError> {
    let Some(first) = parts.first() else {
        return Err(GgufError::MissingPart { no: 0, count: 0 });
    };
    let Some(of) = first.split else {
        // A model in one file comes alone.
        return match parts.get(1) {
            None => Ok(()),
            Some(_) => Err(GgufError::ForeignPart {
                index: 0,
                reason: "it is a whole model".to_owned(),
            }),
        };
    };
    let mut seen = vec![false; of.count as usize];
    for (index, part) in parts.iter().enumerate() {
        let foreign = |reason: String| Err(GgufError::ForeignPart { index, reason });
        let Some(split) = part.split else {
            return foreign("it is a whole model".to_owned());
        };
        if split.count != of.count {
            return foreign(format!(
                "it is one of {} parts, others are of {}",
                split.count, of.count
            ));
        }
        if split.tensors != of.tensors {
            return foreign(format!(
                "its model has {} tensors, that of others {}",
                split.tensors, of.tensors
            ));
        }
        if std::mem::replace(&mut seen[split.no as usize], true) {
            return Err(GgufError::DuplicatePart { no: split.no });
        }
    }
    if let Some(no) = seen.iter().position(|seen| !seen) {
        return Err(GgufError::MissingPart {
            no: no as u64,
            count: of.count,
        });
    }
    let tensors: u64 = parts.iter().map(|part| part.raw.tensors.len() as u64).sum();
    if tensors != of.tensors {
        return Err(GgufError::TensorCount {
            stated: of.tensors,
            found: tensors,
        });
    }
    same_model(parts)
}

/// What several parts state, they state alike.
fn same_model(parts: &[PartHeader]) -> Result<(), GgufError> {
    let main = main_part(parts);
    for (index, part) in parts.iter().enumerate() {
        let differs = |(key, value): &(&String, &Value)| {
            let own = key.starts_with("split.") || *key == "general.alignment";
            let stated = parts[main].raw.metadata.get(key);
            !own && stated.is_some_and(|stated| stated != *value)
        };
        if let Some((key, _)) = part.raw.metadata.values.iter().find(differs) {
            return Err(GgufError::ForeignPart {
                index,
                reason: format!("its {key:?} is not that of the first part"),
            });
        }
    }
    Ok(())
}

/// Index of the part that has the model's metadata.
pub(super) fn main_part(parts: &[PartHeader]) -> usize {
    parts
        .iter()
        .position(|part| part.split.is_none_or(|split| split.no == 0))
        .unwrap_or(0)
}

/// The fingerprint of no bytes.
pub(super) const FINGERPRINT_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, continued: tells a header that was read twice from one that changed in between. It is no
/// protection from forgery; the file's SHA-256 is.
pub(super) fn fingerprint(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
