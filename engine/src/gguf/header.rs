//! Parses a GGUF header from bytes that arrive in pieces, one item at a time, all counts bounded.

use std::collections::BTreeMap;

use super::metadata::{Metadata, NumberKind, Numbers, Value};
use super::{GgufError, MAX_HEADER_BYTES};

/// metadata pairs; published files have about 40.
const MAX_PAIRS: u64 = 4_096;

/// tensors; 512 layers of nine, and the three outside them, with room.
const MAX_TENSORS: u64 = 8_192;

/// bytes of a key or a tensor name; the GGUF specification's own bound for keys.
const MAX_NAME_BYTES: u64 = 65_535;

/// bytes of any other string; the longest chat templates are about 20 kB.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// array elements in the whole header; the largest vocabularies have 262,144 tokens, scores and
/// types and about twice as many merges.
const MAX_ELEMENTS: u64 = 1 << 21;

/// dimensions; GGML's own bound.
const MAX_DIMENSIONS: u32 = 4;

/// bytes; GGUF's default for `general.alignment`.
const DEFAULT_ALIGNMENT: u64 = 32;

/// bytes; nothing asks for more than a page, and the padding must stay small.
const MAX_ALIGNMENT: u64 = 1 << 16;

/// bytes taken from a chunk between two attempts at parsing.
const STEP_BYTES: usize = 1 << 16;

/// A tensor as the header states it, unchecked but for its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawTensor {
    pub(super) name: String,
    /// Fastest first.
    pub(super) dims: Vec<u64>,
    pub(super) type_id: u32,
    /// From the start of its file's tensor data.
    pub(super) offset: u64,
    /// Index of its file in [`RawHeader::files`].
    pub(super) file: usize,
}

/// A whole header; of several files, where the model is split.
#[derive(Debug, Default)]
pub(super) struct RawHeader {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<RawTensor>,
    pub(super) files: Vec<RawFile>,
}

/// What is of one file alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawFile {
    pub(super) alignment: u64,
    /// Where the last item of the header ends in the file.
    pub(super) header_end: u64,
}

/// What comes next in the header.
#[derive(Debug)]
enum Stage {
    Preamble,
    Pairs { left: u64, tensors: u64 },
    Tensors { left: u64 },
    Whole,
}

/// Collects the header and keeps what was parsed, so that each byte is parsed about once.
#[derive(Debug)]
pub(super) struct HeaderParser {
    bytes: Vec<u8>,
    /// Everything before this has been parsed.
    at: usize,
    /// An item that did not fit is not tried again before this many bytes are there.
    retry_at: usize,
    elements: u64,
    stage: Stage,
    header: RawHeader,
}

/// Why an item could not be read.
enum Stop {
    /// Its end has not arrived.
    NeedMore,
    Refused(GgufError),
}

impl From<GgufError> for Stop {
    fn from(error: GgufError) -> Self {
        Self::Refused(error)
    }
}

impl RawHeader {
    /// The header of several files as if they were one, with the metadata of file `main`.
    pub(super) fn joined(headers: Vec<Self>, main: usize) -> Self {
        let mut joined = Self::default();
        for (file, mut header) in headers.into_iter().enumerate() {
            header.tensors.iter_mut().for_each(|raw| raw.file = file);
            joined.tensors.append(&mut header.tensors);
            joined.files.append(&mut header.files);
            if file == main {
                joined.metadata = header.metadata;
            }
        }
        joined
    }
}

impl HeaderParser {
    pub(super) fn new() -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            retry_at: 0,
            elements: 0,
            stage: Stage::Preamble,
            header: RawHeader::default(),
        }
    }

    /// Takes bytes up to the end of the header, or slightly more; returns how many were taken and
    /// whether the header is whole.
    pub(super) fn push(&mut self, chunk: &[u8]) -> Result<(usize, bool), GgufError> {
        let mut taken = 0;
        while taken < chunk.len() {
            let step = (chunk.len() - taken)
                .min(STEP_BYTES)
                .min(MAX_HEADER_BYTES - self.bytes.len());
            if step == 0 {
                return Err(GgufError::HeaderTooLarge {
                    max_bytes: MAX_HEADER_BYTES,
                });
            }
            self.bytes.extend_from_slice(&chunk[taken..taken + step]);
            taken += step;
            if self.bytes.len() >= self.retry_at && self.parse()? {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    /// Tries once more with what there is; true when the header is whole.
    pub(super) fn parse(&mut self) -> Result<bool, GgufError> {
        loop {
            if self.is_whole() {
                return Ok(true);
            }
            match self.parse_item() {
                Ok(()) => {}
                Err(Stop::NeedMore) => {
                    // A quarter more each time: a large array is scanned a few times, not per chunk.
                    self.retry_at = self.bytes.len() + (self.bytes.len() - self.at) / 4;
                    return Ok(false);
                }
                Err(Stop::Refused(error)) => return Err(error),
            }
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Whole)
    }

    /// All bytes taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes parsed so far.
    pub(super) fn header_bytes(&self) -> &[u8] {
        &self.bytes[..self.at]
    }

    /// The header, and the bytes that were taken beyond it.
    pub(super) fn into_parts(mut self) -> (RawHeader, Vec<u8>) {
        let rest = self.bytes.split_off(self.at);
        (self.header, rest)
    }

    fn parse_item(&mut self) -> Result<(), Stop> {
        let mut cursor = Cursor {
            bytes: &self.bytes,
            at: self.at,
            elements: self.elements,
        };
        match self.stage {
            Stage::Preamble => {
                self.stage = preamble(&mut cursor)?;
            }
            Stage::Pairs { left: 0, tensors } => {
                self.header.files = vec![RawFile {
                    alignment: alignment(&self.header.metadata)?,
                    header_end: 0,
                }];
                self.stage = Stage::Tensors { left: tensors };
            }
            Stage::Pairs { left, tensors } => {
                let key = cursor.text(MAX_NAME_BYTES, "bytes in a key")?;
                let value = cursor.value(&key)?;
                if self
                    .header
                    .metadata
                    .values
                    .insert(key.clone(), value)
                    .is_some()
                {
                    return Err(GgufError::DuplicateKey { key }.into());
                }
                self.stage = Stage::Pairs {
                    left: left - 1,
                    tensors,
                };
            }
            Stage::Tensors { left: 0 } => {
                self.header.files[0].header_end = cursor.at as u64;
                self.stage = Stage::Whole;
            }
            Stage::Tensors { left } => {
                let tensor = cursor.tensor()?;
                self.header.tensors.push(tensor);
                self.stage = Stage::Tensors { left: left - 1 };
            }
            Stage::Whole => {}
        }
        self.at = cursor.at;
        self.elements = cursor.elements;
        Ok(())
    }
}

fn preamble(cursor: &mut Cursor<'_>) -> Result<Stage, Stop> {
    let magic = cursor.array::<4>()?;
    if &magic != b"GGUF" {
        return Err(GgufError::NotGguf { found: magic }.into());
    }
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::UnsupportedVersion { version }.into());
    }
    let tensors = at_most(cursor.u64()?, MAX_TENSORS, "tensors")?;
    let left = at_most(cursor.u64()?, MAX_PAIRS, "metadata pairs")?;
    Ok(Stage::Pairs { left, tensors })
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    const KEY: &str = "general.alignment";
    let alignment = metadata.optional_uint(KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        return Err(GgufError::BadValue {
            key: KEY.to_owned(),
            value: alignment.to_string(),
            expected: format!("a power of two up to {MAX_ALIGNMENT}"),
        });
    }
    Ok(alignment)
}

fn at_most(count: u64, max: u64, what: &'static str) -> Result<u64, GgufError> {
    if count > max {
        return Err(GgufError::TooMany { what, count, max });
    }
    Ok(count)
}

/// Reads from the start of an item; on [`Stop::NeedMore`] nothing it did is kept.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Array elements read so far in this header.
    elements: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], Stop> {
        let end = self.at.checked_add(n_bytes).ok_or(Stop::NeedMore)?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::NeedMore)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let array = self.bytes[self.at..]
            .first_chunk::<N>()
            .ok_or(Stop::NeedMore)?;
        self.at += N;
        Ok(*array)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self, max_bytes: u64, what: &'static str) -> Result<String, Stop> {
        let raw = self.text_bytes(max_bytes, what)?;
        let at = self.at - raw.len();
        let text = std::str::from_utf8(raw).map_err(|_| GgufError::NotUtf8 { at })?;
        Ok(text.to_owned())
    }

    fn text_bytes(&mut self, max_bytes: u64, what: &'static str) -> Result<&'a [u8], Stop> {
        let n_bytes = at_most(self.u64()?, max_bytes, what)?;
        self.take(n_bytes as usize)
    }

    fn value(&mut self, key: &str) -> Result<Value, Stop> {
        const TEXT: u32 = 8;
        const ARRAY: u32 = 9;
        match self.u32()? {
            TEXT => Ok(Value::Text(self.text(MAX_TEXT_BYTES, "bytes in a string")?)),
            ARRAY => match self.u32()? {
                TEXT => self.texts(),
                type_id => self.numbers(number_kind(key, type_id)?),
            },
            type_id => {
                let kind = number_kind(key, type_id)?;
                let raw = self.take(kind.bytes())?;
                if kind == NumberKind::Bool && raw[0] > 1 {
                    return Err(GgufError::BadBool {
                        key: key.to_owned(),
                        value: raw[0],
                    }
                    .into());
                }
                Ok(kind.read(raw))
            }
        }
    }

    fn count(&mut self) -> Result<usize, Stop> {
        let count = self.u64()?;
        self.elements = at_most(
            self.elements.saturating_add(count),
            MAX_ELEMENTS,
            "array elements",
        )?;
        Ok(count as usize)
    }

    fn numbers(&mut self, kind: NumberKind) -> Result<Value, Stop> {
        let count = self.count()?;
        let bytes = self.take(count * kind.bytes())?.to_vec();
        Ok(Value::Numbers(Numbers { kind, bytes }))
    }

    fn texts(&mut self) -> Result<Value, Stop> {
        let count = self.count()?;
        // A vocabulary arrives in several chunks, and is looked at with each: nothing is copied
        // before all of it is here.
        let begin = self.at;
        for _ in 0..count {
            self.text_bytes(MAX_TEXT_BYTES, "bytes in a string")?;
        }
        self.at = begin;
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            texts.push(self.text(MAX_TEXT_BYTES, "bytes in a string")?);
        }
        Ok(Value::Texts(texts))
    }

    fn tensor(&mut self) -> Result<RawTensor, Stop> {
        let name = self.text(MAX_NAME_BYTES, "bytes in a tensor name")?;
        let n_dims = self.u32()?;
        at_most(n_dims.into(), MAX_DIMENSIONS.into(), "dimensions")?;
        let dims = (0..n_dims).map(|_| self.u64()).collect::<Result<_, _>>()?;
        Ok(RawTensor {
            name,
            dims,
            type_id: self.u32()?,
            offset: self.u64()?,
            file: 0,
        })
    }
}

fn number_kind(key: &str, type_id: u32) -> Result<NumberKind, GgufError> {
    NumberKind::from_type_id(type_id).ok_or_else(|| GgufError::UnknownValueType {
        key: key.to_owned(),
        type_id,
    })
}

/// Finds a name that occurs twice.
pub(super) fn duplicate_name(tensors: &[RawTensor]) -> Option<&str> {
    let mut seen = BTreeMap::new();
    tensors
        .iter()
        .find(|tensor| seen.insert(&tensor.name, ()).is_some())
        .map(|it| it.name.as_str())
}
