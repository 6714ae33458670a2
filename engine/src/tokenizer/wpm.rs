//! WordPiece, as BERT has it: a text is brought to a plain form, cut into words, and each word is
//! spelled with the longest tokens from its front; a word that cannot be is unknown.
//!
//! llama.cpp's plain form departs from the one that BERT's models were trained on, in Korean and
//! Indic scripts above all. A file is read as llama.cpp reads it unless it says [`BERT`] under
//! [`NORMALIZER`], which llama.cpp passes over.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::decompose_canonical;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::prefixes::Prefixes;
use super::split::Class;
use super::{TokenKind, TokenizerError};
use crate::gguf::Metadata;

/// U+2581, which a token begins with that begins a word.
const WORD_START: &str = "\u{2581}";

/// The metadata key that says which plain form the model was trained on.
const NORMALIZER: &str = "thrum.tokenizer.normalizer";

/// Its one value: that of BERT's own tokenizer, which the `tokenizers` library has as well.
const BERT: &str = "bert";

/// characters; BERT's own tokenizer takes a longer word as unknown.
const MAX_BERT_WORD: usize = 100;

/// Whose way to a plain form it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Normalizer {
    Bert,
    LlamaCpp,
}

/// How text is brought to a plain form.
#[derive(Debug, Clone)]
pub(super) struct Wpm {
    normalizer: Normalizer,
    lowercase: bool,
    strip_accents: bool,
    unknown: u32,
    tokens: Prefixes,
    /// Spellings, in which the start of a word is still U+2581.
    spellings: Vec<Vec<u8>>,
}

impl Wpm {
    pub(super) fn from_metadata(
        metadata: &Metadata,
        spellings: &[String],
        kinds: &[TokenKind],
        unknown: Option<u32>,
    ) -> Result<Self, crate::EngineError> {
        let flag = |key| metadata.optional_bool(key);
        let lowercase = flag("tokenizer.ggml.normalizer.lowercase")?.unwrap_or(true);
        let strip_accents = flag("tokenizer.ggml.normalizer.strip_accents")?.unwrap_or(lowercase);
        let normalizer = match metadata.optional_text(NORMALIZER)? {
            None => Normalizer::LlamaCpp,
            Some(BERT) => Normalizer::Bert,
            Some(other) => {
                let name = other.to_owned();
                return Err(TokenizerError::UnknownNormalizer { name }.into());
            }
        };
        let spellings: Vec<Vec<u8>> = (spellings.iter())
            .map(|spelling| spelling.clone().into_bytes())
            .collect();
        let of_text = |id: &u32| kinds[*id as usize].is_of_text();
        let ids = (0..spellings.len() as u32).filter(of_text).collect();
        Ok(Self {
            normalizer,
            lowercase,
            strip_accents,
            unknown: unknown.ok_or(TokenizerError::NoUnknown)?,
            tokens: Prefixes::new(ids, &spellings),
            spellings,
        })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let words = match self.normalizer {
            Normalizer::Bert => self.bert_words(text),
            Normalizer::LlamaCpp => self.llama_cpp_words(text),
        };
        for word in words {
            let n_before = tokens.len();
            if !self.spell(&word, tokens) {
                tokens.truncate(n_before);
                tokens.push(self.unknown);
            }
        }
    }

    /// Appends the longest tokens from the front of `word`; whether they spell it to its end.
    fn spell(&self, word: &str, tokens: &mut Vec<u32>) -> bool {
        let is_bert = self.normalizer == Normalizer::Bert;
        if is_bert && word.chars().count() > MAX_BERT_WORD {
            return false;
        }
        let spelled = [WORD_START, word].concat();
        let mut rest = spelled.as_bytes();
        while !rest.is_empty() {
            let Some(id) = self.tokens.longest(&self.spellings, rest) else {
                return false;
            };
            tokens.push(id);
            rest = &rest[self.spellings[id as usize].len()..];
            // A token that begins a word cannot go on with one, whatever its spelling says here.
            if is_bert && rest.starts_with(WORD_START.as_bytes()) {
                return false;
            }
        }
        true
    }

    /// Words in BERT's plain form: what white space, punctuation and ideographs leave.
    fn bert_words(&self, text: &str) -> Vec<String> {
        let mut plain = String::with_capacity(text.len());
        for c in text.chars().filter(|c| !is_dropped(*c)) {
            match is_ideograph(c) {
                true => plain.extend([' ', c, ' ']),
                false => plain.push(c),
            }
        }
        if self.strip_accents {
            let is_accent = |c: &char| c.general_category() == GeneralCategory::NonspacingMark;
            plain = plain.nfd().filter(|c| !is_accent(c)).collect();
        }
        if self.lowercase {
            plain = plain.chars().flat_map(char::to_lowercase).collect();
        }
        let mut words = Vec::new();
        for run in plain.split_whitespace() {
            let mut word = String::new();
            for c in run.chars() {
                if c.is_ascii_punctuation() || Class::of(c) == Class::Punctuation {
                    words.extend([std::mem::take(&mut word), c.to_string()]);
                } else {
                    word.push(c);
                }
            }
            words.push(word);
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// Words in llama.cpp's plain form.
    fn llama_cpp_words(&self, text: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for written in text.chars() {
            let c = if self.strip_accents {
                base(written)
            } else {
                written
            };
            let class = Class::of(c);
            let dropped = matches!(c, '\0' | '\u{fffd}') || class == Class::Control;
            let stripped = self.strip_accents && class == Class::Mark;
            if class == Class::Space {
                words.push(String::new());
            } else if !dropped && !stripped {
                let plain = if self.lowercase { lowercase(c) } else { c };
                if stands_alone(c, class) {
                    words.extend([plain.to_string(), String::new()]);
                } else if let Some(word) = words.last_mut() {
                    word.push(plain);
                }
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
}

/// Whether BERT's own tokenizer passes over a character: to it only three controls are spaces.
fn is_dropped(c: char) -> bool {
    let is_control = matches!(
        c.general_category(),
        GeneralCategory::Control | GeneralCategory::Format | GeneralCategory::PrivateUse
    );
    c == '\u{fffd}' || (is_control && !matches!(c, '\t' | '\n' | '\r'))
}

/// The first character of the canonical decomposition, which is all that llama.cpp keeps of it.
fn base(c: char) -> char {
    if Class::of(c) == Class::Unassigned {
        return c;
    }
    let mut first = None;
    decompose_canonical(c, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(c)
}

/// The first character of the lower case.
fn lowercase(c: char) -> char {
    if Class::of(c) == Class::Unassigned {
        return c;
    }
    c.to_lowercase().next().unwrap_or(c)
}

/// Whether a character is a word of its own.
fn stands_alone(c: char, class: Class) -> bool {
    class == Class::Punctuation || (c < '\u{7f}' && class == Class::Symbol) || is_ideograph(c)
}

fn is_ideograph(c: char) -> bool {
    matches!(
        c,
        '\u{4e00}'..='\u{9fff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            // U+2B820 in Unicode; the reference implementations begin here.
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{f900}'..='\u{faff}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}
