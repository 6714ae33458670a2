//! The typed key-value pairs at the front of a GGUF file.

use std::collections::BTreeMap;

use super::GgufError;

/// A metadata value; integers of every width are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `f32` and `f64`
    Float(f64),
    /// `i8` to `i64`
    Int(i64),
    /// An array of numbers or booleans.
    Numbers(Numbers),
    /// `string`
    Text(String),
    /// An array of strings.
    Texts(Vec<String>),
    /// `u8` to `u64`
    Uint(u64),
}

/// An array of numbers as it lies in the file; widened on demand, so that a million bytes stay
/// a million bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers {
    pub(super) kind: NumberKind,
    /// Little endian, `kind.bytes()` for each.
    pub(super) bytes: Vec<u8>,
}

/// The scalar types that GGUF defines, strings and arrays apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NumberKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

impl NumberKind {
    pub(super) fn from_type_id(type_id: u32) -> Option<Self> {
        match type_id {
            0 => Some(Self::U8),
            1 => Some(Self::I8),
            2 => Some(Self::U16),
            3 => Some(Self::I16),
            4 => Some(Self::U32),
            5 => Some(Self::I32),
            6 => Some(Self::F32),
            7 => Some(Self::Bool),
            10 => Some(Self::U64),
            11 => Some(Self::I64),
            12 => Some(Self::F64),
            _ => None,
        }
    }

    pub(super) fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// Reads one number; `raw` holds exactly [`NumberKind::bytes`].
    pub(super) fn read(self, raw: &[u8]) -> Value {
        let mut wide = [0; 8];
        wide[..raw.len()].copy_from_slice(raw);
        let bits = u64::from_le_bytes(wide);
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => Value::Uint(bits),
            Self::I8 => Value::Int((bits as i8).into()),
            Self::I16 => Value::Int((bits as i16).into()),
            Self::I32 => Value::Int((bits as i32).into()),
            Self::I64 => Value::Int(bits as i64),
            Self::F32 => Value::Float(f32::from_bits(bits as u32).into()),
            Self::F64 => Value::Float(f64::from_bits(bits)),
            Self::Bool => Value::Bool(bits != 0),
        }
    }
}

#[cfg(test)]
impl Numbers {
    pub(crate) fn from_ints(values: &[i64]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self {
            kind: NumberKind::I64,
            bytes,
        }
    }

    pub(crate) fn from_floats(values: &[f32]) -> Self {
        let bytes = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        Self {
            kind: NumberKind::F32,
            bytes,
        }
    }
}

#[cfg(test)]
impl Metadata {
    pub(crate) fn from_pairs(pairs: Vec<(&str, Value)>) -> Self {
        Self {
            values: pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        }
    }

    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.values.insert(key.to_owned(), value);
    }
}

impl Numbers {
    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.kind.bytes()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The numbers as scalars.
    pub fn iter(&self) -> impl Iterator<Item = Value> {
        self.bytes
            .chunks_exact(self.kind.bytes())
            .map(|raw| self.kind.read(raw))
    }
}

/// All metadata of a file, by key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    pub(super) values: BTreeMap<String, Value>,
}

impl Metadata {
    /// The value of `key`, of whatever type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The string at `key`.
    ///
    /// # Errors
    /// When it is missing or not a string.
    pub fn text(&self, key: &str) -> Result<&str, GgufError> {
        self.optional_text(key)?
            .ok_or_else(|| GgufError::MissingKey {
                key: key.to_owned(),
            })
    }

    /// The string at `key`, if there is one.
    ///
    /// # Errors
    /// When it is not a string.
    pub fn optional_text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_type(key, "a string")),
        }
    }

    /// The strings at `key`, if there are any.
    ///
    /// # Errors
    /// When it is not an array of strings.
    pub fn optional_texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Texts(texts)) => Ok(Some(texts)),
            Some(_) => Err(wrong_type(key, "an array of strings")),
        }
    }

    /// The numbers at `key`, if there are any.
    ///
    /// # Errors
    /// When it is not an array of numbers.
    pub fn optional_numbers(&self, key: &str) -> Result<Option<&Numbers>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Numbers(numbers)) => Ok(Some(numbers)),
            Some(_) => Err(wrong_type(key, "an array of numbers")),
        }
    }

    /// The integer at `key`, if there is one.
    ///
    /// # Errors
    /// When it is not an integer or is negative.
    pub fn optional_uint(&self, key: &str) -> Result<Option<u64>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Uint(value)) => Ok(Some(*value)),
            Some(Value::Int(value)) => u64::try_from(*value)
                .map(Some)
                .map_err(|_| wrong_type(key, "a positive integer")),
            Some(_) => Err(wrong_type(key, "an integer")),
        }
    }

    /// The number at `key` as f32, if there is one.
    ///
    /// # Errors
    /// When it is not a float.
    pub fn optional_float(&self, key: &str) -> Result<Option<f32>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(value)) => Ok(Some(*value as f32)),
            Some(_) => Err(wrong_type(key, "a float")),
        }
    }

    /// The boolean at `key`, if there is one.
    ///
    /// # Errors
    /// When it is not a boolean.
    pub fn optional_bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong_type(key, "a boolean")),
        }
    }
}

fn wrong_type(key: &str, expected: &'static str) -> GgufError {
    GgufError::WrongType {
        key: key.to_owned(),
        expected,
    }
}
