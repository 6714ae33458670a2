//! Text to tokens and back, as the tokenizer inside the model file says.
//!
//! A vocabulary is read once and checked; what is not implemented is refused by name, because a
//! model that is fed other tokens than it was trained on answers nonsense without an error.

mod bpe;
pub(crate) mod bytes;
mod load;
mod prefixes;
mod specials;
mod split;
mod spm;
mod vocab;
mod wpm;

pub use split::PreTokenizer;
pub use vocab::TokenKind;

use bpe::Bpe;
use specials::Part;
use spm::Spm;
use vocab::Vocab;
use wpm::Wpm;

/// Why a tokenizer, or a text, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// `tokenizer.ggml.model` names a kind that is not implemented.
    #[error("the tokenizer model {name:?} is not known, only \"bert\", \"gpt2\" and \"llama\" are")]
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
    /// A token's kind is a number that GGUF does not define.
    #[error("token {id} is of kind {kind}, which is not defined")]
    BadKind {
        /// Its id.
        id: usize,
        /// As stated.
        kind: i64,
    },
    /// A WordPiece vocabulary needs a token for words that it cannot spell.
    #[error("the vocabulary has no token for unknown words")]
    NoUnknown,
    /// The file names a plain form of text that this engine does not know.
    #[error("thrum.tokenizer.normalizer is {name:?}, where only \"bert\" is known")]
    UnknownNormalizer {
        /// As the file names it.
        name: String,
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
    /// What the model was trained to see behind a whole text.
    closing: Option<u32>,
    /// Every token that ends an answer, ascending.
    ends: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Scheme {
    Bpe(Bpe),
    Spm(Spm),
    Wpm(Wpm),
}

impl Tokenizer {
    /// The tokens of `text`.
    ///
    /// # Errors
    /// [`TokenizerError::NoToken`] when a byte cannot be spelled.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = self.encode_parts(text, options.control)?;
        if let Some(bos) = self.bos
            && options.add_bos
            && self.add_bos
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(tokens)
    }

    /// The tokens of a whole text as the model was trained to see one, with what opens and closes
    /// it (`[CLS]` and `[SEP]` for BERT): what `llama_tokenize` gives with `add_special`.
    /// Control tokens that are spelled out are read only if `control`.
    ///
    /// # Errors
    /// [`TokenizerError::NoToken`] when a byte cannot be spelled.
    pub fn encode_framed(&self, text: &str, control: bool) -> Result<Vec<u32>, TokenizerError> {
        let opening = self.bos.filter(|_| self.add_bos);
        let inside = self.encode_parts(text, control)?;
        Ok((opening.into_iter())
            .chain(inside)
            .chain(self.closing)
            .collect())
    }

    fn encode_parts(&self, text: &str, control: bool) -> Result<Vec<u32>, TokenizerError> {
        let mut tokens = Vec::new();
        for part in self.vocab.cut_specials(text, control) {
            match part {
                Part::Special(id) => tokens.push(id),
                Part::Text(text) => match &self.scheme {
                    Scheme::Bpe(bpe) => bpe.encode(&self.vocab, text, &mut tokens),
                    Scheme::Spm(spm) => spm.encode(text, &mut tokens)?,
                    Scheme::Wpm(wpm) => wpm.encode(text, &mut tokens),
                },
            }
        }
        Ok(tokens)
    }

    /// The bytes that a token stands for; none for control tokens and ids that do not exist.
    pub fn piece(&self, id: u32) -> &[u8] {
        self.vocab.piece(id)
    }

    /// The text of `tokens`; bytes that are not UTF-8 become U+FFFD. Where texts begin with a
    /// space that is not written, the first token loses it, as in llama.cpp.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        for (at, id) in tokens.iter().enumerate() {
            let piece = self.piece(*id);
            let written = piece
                .strip_prefix(b" ")
                .filter(|_| at == 0 && self.space_prefix());
            bytes.extend_from_slice(written.unwrap_or(piece));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether a text's first token stands for a space that is not written.
    fn space_prefix(&self) -> bool {
        match &self.scheme {
            Scheme::Bpe(_) | Scheme::Wpm(_) => false,
            Scheme::Spm(spm) => spm.space_prefix(),
        }
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

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
