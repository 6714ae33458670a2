//! The tokens themselves: their bytes, their kinds, and where special ones occur in a text.

use std::collections::BTreeMap;

use super::TokenizerError;
use crate::gguf::{Metadata, Value};

/// What a token is for, as GGUF numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for what has no token.
    Unknown,
    /// Steers the model; has no text.
    Control,
    /// A piece of text that is never cut.
    UserDefined,
    /// In the table without a use.
    Unused,
    /// One byte, spelled `<0xNN>`.
    Byte,
}

impl TokenKind {
    fn from_number(number: i64) -> Option<Self> {
        match number {
            // 0 is "undefined" in GGUF; llama.cpp treats such a token as text.
            0 | 1 => Some(Self::Normal),
            2 => Some(Self::Unknown),
            3 => Some(Self::Control),
            4 => Some(Self::UserDefined),
            5 => Some(Self::Unused),
            6 => Some(Self::Byte),
            _ => None,
        }
    }
}

/// Reads the kinds of `vocab_size` tokens and checks that there is one spelling for each.
pub(super) fn kinds(
    metadata: &Metadata,
    spellings: &[String],
    vocab_size: usize,
) -> Result<Vec<TokenKind>, crate::EngineError> {
    const KEY: &str = "tokenizer.ggml.token_type";
    let wrong_length = |key, found| TokenizerError::WrongLength {
        key,
        found,
        vocab_size,
    };
    if spellings.len() != vocab_size {
        return Err(wrong_length("tokenizer.ggml.tokens", spellings.len()).into());
    }
    let Some(numbers) = metadata.optional_numbers(KEY)? else {
        return Ok(vec![TokenKind::Normal; vocab_size]);
    };
    if numbers.len() != vocab_size {
        return Err(wrong_length(KEY, numbers.len()).into());
    }
    let kind = |(id, value): (usize, Value)| {
        let number = match value {
            Value::Int(number) => number,
            Value::Uint(number) => i64::try_from(number).unwrap_or(i64::MAX),
            Value::Bool(_)
            | Value::Float(_)
            | Value::Numbers(_)
            | Value::Text(_)
            | Value::Texts(_) => -1,
        };
        TokenKind::from_number(number).ok_or(TokenizerError::BadKind { id, kind: number })
    };
    Ok(numbers
        .iter()
        .enumerate()
        .map(kind)
        .collect::<Result<_, _>>()?)
}

/// Tokens by id.
#[derive(Debug, Clone)]
pub(super) struct Vocab {
    /// What each stands for.
    pieces: Vec<Vec<u8>>,
    kinds: Vec<TokenKind>,
    /// Control and user-defined tokens by the first byte of their spelling, longest first.
    specials: BTreeMap<u8, Vec<u32>>,
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Special(u32),
    Text(&'a str),
}

impl Vocab {
    pub(super) fn new(pieces: Vec<Vec<u8>>, kinds: Vec<TokenKind>) -> Self {
        let mut specials = BTreeMap::<u8, Vec<u32>>::new();
        for (id, (piece, kind)) in pieces.iter().zip(&kinds).enumerate() {
            if let (Some(first), TokenKind::Control | TokenKind::UserDefined) =
                (piece.first(), kind)
            {
                specials.entry(*first).or_default().push(id as u32);
            }
        }
        for ids in specials.values_mut() {
            ids.sort_by_key(|id| std::cmp::Reverse(pieces[*id as usize].len()));
        }
        Self {
            pieces,
            kinds,
            specials,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// How a token is spelled, control tokens included; empty for an id that does not exist.
    pub(super) fn spelling(&self, id: u32) -> &[u8] {
        self.pieces.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// What a token adds to a text.
    pub(super) fn piece(&self, id: u32) -> &[u8] {
        match self.kinds.get(id as usize) {
            None | Some(TokenKind::Control | TokenKind::Unused) => &[],
            Some(
                TokenKind::Normal | TokenKind::Unknown | TokenKind::UserDefined | TokenKind::Byte,
            ) => self.spelling(id),
        }
    }

    /// Control tokens that end an answer by their usual names, whether or not the file says so.
    pub(super) fn usual_ends(&self) -> impl Iterator<Item = u32> {
        const NAMES: [&str; 6] = [
            "<|im_end|>",
            "<|eot_id|>",
            "<|endoftext|>",
            "<|end|>",
            "<end_of_turn>",
            "<|eom_id|>",
        ];
        let is_end = |id: &u32| {
            self.kinds[*id as usize] == TokenKind::Control
                && NAMES
                    .iter()
                    .any(|name| name.as_bytes() == self.spelling(*id))
        };
        self.specials
            .get(&b'<')
            .into_iter()
            .flatten()
            .copied()
            .filter(is_end)
    }

    /// Cuts out special tokens that are spelled out in `text`; control tokens only if `control`.
    pub(super) fn cut_specials<'a>(&self, text: &'a str, control: bool) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let mut start = 0;
        let mut at = 0;
        while at < text.len() {
            let Some(id) = self.special_at(&text.as_bytes()[at..], control) else {
                at += 1;
                continue;
            };
            if start < at {
                parts.push(Part::Text(&text[start..at]));
            }
            parts.push(Part::Special(id));
            at += self.spelling(id).len();
            start = at;
        }
        if start < text.len() {
            parts.push(Part::Text(&text[start..]));
        }
        parts
    }

    fn special_at(&self, rest: &[u8], control: bool) -> Option<u32> {
        let candidates = self.specials.get(rest.first()?)?;
        candidates.iter().copied().find(|id| {
            let allowed = control || self.kinds[*id as usize] == TokenKind::UserDefined;
            let spelling = self.spelling(*id);
            // Whole characters only: a spelling is not cut out of the middle of one.
            allowed && rest.starts_with(spelling) && std::str::from_utf8(spelling).is_ok()
        })
    }
}
