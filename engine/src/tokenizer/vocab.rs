//! The tokens themselves: what they stand for, their kinds, and which of them end an answer.

use super::TokenizerError;
use super::specials::{Part, Specials};
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
            1 => Some(Self::Normal),
            2 => Some(Self::Unknown),
            3 => Some(Self::Control),
            4 => Some(Self::UserDefined),
            // 0 is "undefined" in GGUF; such a token has no text in llama.cpp either.
            0 | 5 => Some(Self::Unused),
            6 => Some(Self::Byte),
            _ => None,
        }
    }

    /// Whether plain text may become such a token. What steers a model never comes out of what a
    /// person typed (llama.cpp lets merges spell a control token).
    pub(super) fn is_of_text(self) -> bool {
        match self {
            Self::Normal | Self::Unused | Self::UserDefined => true,
            Self::Byte | Self::Control | Self::Unknown => false,
        }
    }
}

/// Tokens that end an answer whatever else a file says, by their names; the list is llama.cpp's.
const ENDS: [&str; 27] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<｜end▁of▁sentence｜>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

/// Tokens that mark a gap to fill; control tokens whatever else a file says.
const GAP_MARKS: [&str; 9] = [
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
];

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
    let mut kinds = match metadata.optional_numbers(KEY)? {
        None => vec![TokenKind::Normal; vocab_size],
        Some(numbers) if numbers.len() != vocab_size => {
            return Err(wrong_length(KEY, numbers.len()).into());
        }
        Some(numbers) => (numbers.iter().enumerate().map(kind)).collect::<Result<_, _>>()?,
    };
    for (spelling, kind) in spellings.iter().zip(&mut kinds) {
        let name = spelling.as_str();
        if ENDS.contains(&name) || GAP_MARKS.contains(&name) {
            *kind = TokenKind::Control;
        }
    }
    Ok(kinds)
}

fn kind((id, value): (usize, Value)) -> Result<TokenKind, TokenizerError> {
    let number = match value {
        Value::Int(number) => number,
        Value::Uint(number) => i64::try_from(number).unwrap_or(i64::MAX),
        Value::Bool(_) | Value::Float(_) | Value::Numbers(_) | Value::Text(_) | Value::Texts(_) => {
            -1
        }
    };
    TokenKind::from_number(number).ok_or(TokenizerError::BadKind { id, kind: number })
}

/// The byte that `<0xNN>` spells.
pub(super) fn spelled_byte(spelling: &str) -> Option<u8> {
    let digits = spelling.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Tokens by id.
#[derive(Debug, Clone)]
pub(super) struct Vocab {
    /// What each stands for.
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) kinds: Vec<TokenKind>,
    specials: Specials,
}

impl Vocab {
    pub(super) fn new(
        pieces: Vec<Vec<u8>>,
        kinds: Vec<TokenKind>,
        swallows_space: Vec<u32>,
    ) -> Self {
        let specials = Specials::new(&pieces, &kinds, swallows_space);
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
            None | Some(TokenKind::Control | TokenKind::Unknown | TokenKind::Unused) => &[],
            Some(TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte) => self.spelling(id),
        }
    }

    /// Tokens that end an answer by their usual names, whether or not the file says so.
    pub(super) fn usual_ends(&self) -> impl Iterator<Item = u32> {
        let is_end = |id: &u32| {
            self.kinds[*id as usize] == TokenKind::Control
                && (ENDS.iter()).any(|name| name.as_bytes() == self.spelling(*id))
        };
        (0..self.len() as u32).filter(is_end)
    }

    /// Cuts out special tokens that are spelled out in `text`; control tokens only if `control`.
    pub(super) fn cut_specials<'a>(&self, text: &'a str, control: bool) -> Vec<Part<'a>> {
        self.specials.cut(&self.pieces, &self.kinds, text, control)
    }
}
