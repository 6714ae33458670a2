//! Text to tokens and back, as the tokenizer inside the model file says.
//!
//! A vocabulary is read once and checked; what is not implemented is refused by name, because a
//! model that is fed other tokens than it was trained on answers nonsense without an error.

mod bpe;
pub(crate) mod bytes;
mod split;
mod spm;
mod vocab;

pub use split::PreTokenizer;
pub use vocab::TokenKind;

use crate::gguf::{GgufError, Metadata};
use bpe::Bpe;
use spm::Spm;
use vocab::Vocab;

/// Why a tokenizer, or a text, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// `tokenizer.ggml.model` names a kind that is not implemented.
    #[error("the tokenizer model {name:?} is not known, only \"gpt2\" and \"llama\" are")]
    UnknownModel {
        /// The name.
        name: String,
    },
    /// `tokenizer.ggml.pre` names a way to cut text that is not implemented.
    #[error("the pre-tokenizer {name:?} is not known")]
    UnknownPreTokenizer {
        /// The name.
        name: String,
    },
    /// The tokenizer and the embedding disagree.
    #[error("{key:?} has {found} entries and the model has {vocab_size} token ids")]
    WrongLength {
        /// The metadata key.
        key: &'static str,
        /// Entries there.
        found: usize,
        /// Rows of the token embedding.
        vocab_size: usize,
    },
    /// A special token's id is outside the vocabulary.
    #[error("{key:?} is {id}, outside a vocabulary of {vocab_size}")]
    BadSpecialToken {
        /// The metadata key.
        key: &'static str,
        /// The id stated.
        id: u64,
        /// Rows of the token embedding.
        vocab_size: usize,
    },
    /// A merge rule is not two tokens with a space between.
    #[error("merge {index} is {merge:?}, not two tokens with a space between")]
    BadMerge {
        /// Its rank.
        index: usize,
        /// As stated.
        merge: String,
    },
    /// A token is spelled with a character that stands for no byte.
    #[error("token {id} is spelled {spelling:?}, which is not in the byte alphabet")]
    BadSpelling {
        /// Its id.
        id: usize,
        /// As stated.
        spelling: String,
    },
    /// A token's kind is a number that GGUF does not define.
    #[error("token {id} is of kind {kind}, which is not defined")]
    BadKind {
        /// Its id.
        id: usize,
        /// As stated.
        kind: i64,
    },
    /// A byte of the text has no token.
    #[error("the vocabulary has no token for the byte {byte:#04x}")]
    NoToken {
        /// The byte.
        byte: u8,
    },
}

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Begin with the beginning-of-text token where the model wants one and the text has none.
    pub add_bos: bool,
    /// Read control tokens that are spelled out, as a chat template writes them.
    pub control: bool,
}

/// A model's tokenizer.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    vocab: Vocab,
    scheme: Scheme,
    bos: Option<u32>,
    eos: Option<u32>,
    /// Whether the model was trained with a beginning-of-text token.
    add_bos: bool,
    /// Every token that ends an answer, ascending.
    ends: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Scheme {
    Bpe(Bpe),
    Spm(Spm),
}

impl Tokenizer {
    /// Reads the tokenizer of a model with `vocab_size` token ids.
    ///
    /// # Errors
    /// [`TokenizerError`] or [`GgufError`] for what is missing, wrong or not implemented.
    pub(crate) fn from_metadata(
        metadata: &Metadata,
        vocab_size: usize,
    ) -> Result<Self, crate::EngineError> {
        let model = metadata.text("tokenizer.ggml.model")?;
        let is_bpe = match model {
            "gpt2" => true,
            "llama" => false,
            name => {
                return Err(TokenizerError::UnknownModel {
                    name: name.to_owned(),
                }
                .into());
            }
        };
        let spellings = metadata
            .optional_texts("tokenizer.ggml.tokens")?
            .ok_or_else(|| GgufError::MissingKey {
                key: "tokenizer.ggml.tokens".to_owned(),
            })?;
        let kinds = vocab::kinds(metadata, spellings, vocab_size)?;
        let (scheme, pieces, add_bos) = if is_bpe {
            let pre = metadata
                .optional_text("tokenizer.ggml.pre")?
                .unwrap_or("default");
            let pre = PreTokenizer::from_name(pre).ok_or_else(|| {
                TokenizerError::UnknownPreTokenizer {
                    name: pre.to_owned(),
                }
            })?;
            let merges = metadata
                .optional_texts("tokenizer.ggml.merges")?
                .unwrap_or_default();
            let pieces = bpe::pieces(spellings, &kinds)?;
            (
                Scheme::Bpe(Bpe::new(pre, spellings, merges)?),
                pieces,
                pre == PreTokenizer::LlamaBpe,
            )
        } else {
            let scheme = Spm::from_metadata(metadata, spellings, &kinds, vocab_size)?;
            (Scheme::Spm(scheme), spm::pieces(spellings, &kinds), true)
        };
        let special = |key| special_token(metadata, key, vocab_size);
        let bos = special("tokenizer.ggml.bos_token_id")?;
        let eos = special("tokenizer.ggml.eos_token_id")?;
        let stated_ends = [
            eos,
            special("tokenizer.ggml.eot_token_id")?,
            special("tokenizer.ggml.eom_token_id")?,
        ];
        let vocab = Vocab::new(pieces, kinds);
        let mut ends: Vec<u32> = stated_ends
            .into_iter()
            .flatten()
            .chain(vocab.usual_ends())
            .collect();
        ends.sort_unstable();
        ends.dedup();
        let add_bos = metadata
            .optional_bool("tokenizer.ggml.add_bos_token")?
            .unwrap_or(add_bos);
        Ok(Self {
            vocab,
            scheme,
            bos,
            eos,
            add_bos,
            ends,
        })
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// [`TokenizerError::NoToken`] when a byte cannot be spelled.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::new();
        let mut after_special = true;
        for part in self.vocab.cut_specials(text, options.control) {
            match part {
                vocab::Part::Special(id) => tokens.push(id),
                vocab::Part::Text(text) => match &self.scheme {
                    Scheme::Bpe(bpe) => bpe.encode(text, &mut tokens)?,
                    Scheme::Spm(spm) => spm.encode(text, after_special, &mut tokens)?,
                },
            }
            after_special = matches!(part, vocab::Part::Special(_));
        }
        if let Some(bos) = self.bos
            && options.add_bos
            && self.add_bos
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// The bytes that a token stands for; none for control tokens and ids that do not exist.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.vocab.piece(id)
    }

    /// The text of `tokens`; bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let bytes: Vec<u8> = tokens
            .iter()
            .flat_map(|id| self.piece(*id))
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// True for a token that ends an answer.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// How a token is spelled in the file, control tokens included.
    pub fn spelling(&self, id: u32) -> String {
        String::from_utf8_lossy(self.vocab.spelling(id)).into_owned()
    }

    /// Token ids there are.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }
}

fn special_token(
    metadata: &Metadata,
    key: &'static str,
    vocab_size: usize,
) -> Result<Option<u32>, crate::EngineError> {
    match metadata.optional_uint(key)? {
        None => Ok(None),
        Some(id) if id < vocab_size as u64 => Ok(Some(id as u32)),
        Some(id) => Err(TokenizerError::BadSpecialToken {
            key,
            id,
            vocab_size,
        }
        .into()),
    }
}

#[cfg(test)]
mod tests;
