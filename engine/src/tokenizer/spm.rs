//! SentencePiece-style encoding, as the first two Llamas have it: the best-scored pair merges
//! first, and what has no token is spelled in bytes.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::vocab::spelled_byte;
use super::{TokenKind, TokenizerError};
use crate::gguf::{GgufError, Metadata, Value};

/// U+2581, which spells a space.
const SPACE: char = '\u{2581}';

/// Pieces and their scores.
#[derive(Debug, Clone)]
pub(super) struct Spm {
    ids: HashMap<String, u32>,
    scores: Vec<f32>,
    /// bytes of the longest piece.
    longest: usize,
    /// The token of each byte: `<0xNN>`, or the byte as a piece, or what stands for the unknown.
    byte_tokens: Box<[Option<u32>; 256]>,
    /// Whether a text begins with a space that is not written.
    space_prefix: bool,
}

/// What tokens stand for.
pub(super) fn pieces(spellings: &[String], kinds: &[TokenKind]) -> Vec<Vec<u8>> {
    let piece = |(spelling, kind): (&String, &TokenKind)| match kind {
        TokenKind::Byte => spelled_byte(spelling).map_or_else(Vec::new, |byte| vec![byte]),
        TokenKind::Normal => spelling.replace(SPACE, " ").into_bytes(),
        TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown | TokenKind::Unused => {
            spelling.clone().into_bytes()
        }
    };
    spellings.iter().zip(kinds).map(piece).collect()
}

impl Spm {
    pub(super) fn from_metadata(
        metadata: &Metadata,
        spellings: &[String],
        kinds: &[TokenKind],
        unknown: Option<u32>,
    ) -> Result<Self, crate::EngineError> {
        const KEY: &str = "tokenizer.ggml.scores";
        let numbers = metadata
            .optional_numbers(KEY)?
            .ok_or_else(|| GgufError::MissingKey {
                key: KEY.to_owned(),
            })?;
        if numbers.len() != spellings.len() {
            return Err(TokenizerError::WrongLength {
                key: KEY,
                found: numbers.len(),
                vocab_size: spellings.len(),
            }
            .into());
        }
        let scores = numbers
            .iter()
            .map(score)
            .collect::<Option<Vec<f32>>>()
            .ok_or_else(|| GgufError::WrongType {
                key: KEY.to_owned(),
                expected: "an array of floats",
            })?;
        let of_text = |kind: &TokenKind| kind.is_of_text();
        let mut ids = HashMap::with_capacity(spellings.len());
        let mut of_bytes = Box::new([None; 256]);
        for ((id, spelling), kind) in spellings.iter().enumerate().zip(kinds) {
            if let Some(byte) = spelled_byte(spelling) {
                of_bytes[usize::from(byte)].get_or_insert(id as u32);
            } else if of_text(kind) && !spelling.is_empty() {
                ids.entry(spelling.clone()).or_insert(id as u32);
            }
        }
        let as_piece = |byte: u8| {
            let c = char::from(byte);
            ids.get(c.encode_utf8(&mut [0; 4]) as &str)
                .filter(|_| c.is_ascii())
        };
        let byte_tokens = std::array::from_fn(|byte| {
            of_bytes[byte].or(as_piece(byte as u8).copied()).or(unknown)
        });
        Ok(Self {
            longest: ids.keys().map(String::len).max().unwrap_or(0),
            ids,
            scores,
            byte_tokens: Box::new(byte_tokens),
            space_prefix: metadata
                .optional_bool("tokenizer.ggml.add_space_prefix")?
                .unwrap_or(true),
        })
    }

    /// Whether a text begins with a space that is not written.
    pub(super) fn space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Appends the tokens of `text`, which stands at the start or behind a special token.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let prefix = if self.space_prefix { " " } else { "" };
        let spelled = [prefix, text]
            .concat()
            .replace(' ', SPACE.encode_utf8(&mut [0; 4]));
        let mut symbols = Symbols::new(&spelled);
        let mut queue = BinaryHeap::new();
        for left in 0..symbols.ends.len().saturating_sub(1) {
            self.offer(&symbols, left, &mut queue);
        }
        while let Some(Candidate { left, end, .. }) = queue.pop() {
            // Stale unless both halves are still what they were: the pair must end where it did.
            let Some(right) = symbols
                .after(left)
                .filter(|right| symbols.ends[*right] == end)
            else {
                continue;
            };
            symbols.merge(left, right);
            self.offer(&symbols, left, &mut queue);
            if let Some(before) = symbols.before(left) {
                self.offer(&symbols, before, &mut queue);
            }
        }
        symbols
            .spellings()
            .try_for_each(|spelling| self.push(spelling, tokens))
    }

    fn push(&self, spelling: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        if let Some(id) = self.ids.get(spelling) {
            tokens.push(*id);
            return Ok(());
        }
        for byte in spelling.bytes() {
            let id = self.byte_tokens[usize::from(byte)].ok_or(TokenizerError::NoToken { byte })?;
            tokens.push(id);
        }
        Ok(())
    }

    fn offer(&self, symbols: &Symbols<'_>, left: usize, queue: &mut BinaryHeap<Candidate>) {
        if let Some(right) = symbols.after(left)
            && symbols.ends[right] - symbols.starts[left] <= self.longest
            && let Some(id) = self.ids.get(symbols.pair(left, right))
        {
            let score = self.scores[*id as usize];
            queue.push(Candidate {
                score,
                left,
                end: symbols.ends[right],
            });
        }
    }
}

/// A score that sorts: no NaN, and no second zero.
fn score(value: Value) -> Option<f32> {
    match value {
        Value::Float(score) if score.is_nan() => Some(f32::NEG_INFINITY),
        Value::Float(score) => Some(score as f32 + 0.0),
        Value::Int(score) => Some(score as f32),
        Value::Bool(_) | Value::Numbers(_) | Value::Text(_) | Value::Texts(_) | Value::Uint(_) => {
            None
        }
    }
}

/// A pair that may merge: best score first, then leftmost.
struct Candidate {
    score: f32,
    left: usize,
    /// Byte at which the pair ends.
    end: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.left.cmp(&self.left))
            .then(other.end.cmp(&self.end))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

/// Stretches of a text, linked so that merging two takes no moving.
struct Symbols<'a> {
    text: &'a str,
    /// Per character at first: where its symbol begins and ends; equal once it is merged away.
    starts: Vec<usize>,
    ends: Vec<usize>,
    after: Vec<usize>,
    before: Vec<usize>,
}

impl<'a> Symbols<'a> {
    fn new(text: &'a str) -> Self {
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        let n = starts.len();
        let ends = starts
            .iter()
            .skip(1)
            .copied()
            .chain((n > 0).then_some(text.len()))
            .collect();
        Self {
            text,
            starts,
            ends,
            after: (1..=n).collect(),
            before: (0..n).map(|at| at.wrapping_sub(1)).collect(),
        }
    }

    fn after(&self, at: usize) -> Option<usize> {
        let alive = self.starts[at] < self.ends[at];
        Some(self.after[at]).filter(|after| alive && *after < self.ends.len())
    }

    fn before(&self, at: usize) -> Option<usize> {
        Some(self.before[at]).filter(|before| *before < self.ends.len())
    }

    fn pair(&self, left: usize, right: usize) -> &'a str {
        &self.text[self.starts[left]..self.ends[right]]
    }

    fn merge(&mut self, left: usize, right: usize) {
        self.ends[left] = self.ends[right];
        self.ends[right] = self.starts[right];
        self.after[left] = self.after[right];
        if let Some(after) = self.after(left) {
            self.before[after] = left;
        }
    }

    fn spellings(&self) -> impl Iterator<Item = &'a str> {
        let alive = self
            .starts
            .iter()
            .zip(&self.ends)
            .filter(|(start, end)| start < end);
        alive.map(|(start, end)| &self.text[*start..*end])
    }
}
