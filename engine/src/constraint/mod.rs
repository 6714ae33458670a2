//! Answers that are JSON of a given shape: which tokens may come next.
//!
//! 1. A [`TokenTable`] is built once for a model's tokenizer.
//! 2. A [`Constraint`] is compiled from a schema for one answer (and cloned for several).
//! 3. Before each token, [`Constraint::mask`] is the set of tokens that keep the answer a
//!    beginning of something that fits the schema; end tokens are in it once it does fit.
//! 4. [`Constraint::accept`] takes the token that was chosen; an answer that is taken over from
//!    another peer accepts the tokens it already has.
//!
//! Between the parts of an object or array there may be one space, or a line break with up to
//! [`MAX_INDENT`] spaces: whoever answers cannot go on with white space for ever. Characters are
//! written as themselves, never as `\u` escapes. Properties come in the order of the schema. Numbers
//! that have a type and no bounds are kept to what a double counts exactly; where a schema allows
//! any value at all, numbers are whatever JSON allows.
//!
//! The grammar machine is the crate llguidance; its work for a schema and for each mask is
//! bounded, and what it would ignore or misread is refused in [`schema`] before it sees it.

pub mod schema;
mod table;

pub use crate::sampler::TokenMask;
pub use table::TokenTable;

use llguidance::Matcher;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use serde_json::{Value, json};

/// spaces that may follow a line break: ten levels of four.
pub const MAX_INDENT: usize = 40;

/// What one schema may cost, about a tenth of what llguidance allows by itself: about 10 ms to
/// compile, a few per mask, and 20 MB.
const LIMITS: ParserLimits = ParserLimits {
    max_items_in_row: 1_000,
    initial_lexer_fuel: 400_000,
    step_lexer_fuel: 100_000,
    step_max_items: 30_000,
    max_lexer_states: 10_000,
    max_grammar_size: 60_000,
    precompute_large_lexemes: false,
    verbose_errors: false,
};

/// Why an answer cannot be constrained as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConstraintError {
    /// The schema is not JSON.
    #[error("the schema is not JSON: {reason}")]
    NotJson {
        /// What the parser said.
        reason: String,
    },
    /// The schema is larger than it may be.
    #[error("the schema has {found} {what}, and at most {max} are taken")]
    SchemaTooLarge {
        /// Bytes, values or levels.
        what: &'static str,
        /// How many there are, or were counted before giving up.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A keyword that is not enforced, and is not ignored either.
    #[error("the schema keyword at {at} is not supported")]
    UnsupportedKeyword {
        /// Its path in the schema.
        at: String,
    },
    /// A keyword's value is not what it has to be.
    #[error("{at} in the schema is {value}; it must be {expected}")]
    BadKeyword {
        /// Its path in the schema.
        at: String,
        /// The value, or its beginning.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// A definition that says nothing but its own name.
    #[error("the schema at {at} is defined by itself")]
    EndlessReference {
        /// Its path in the schema.
        at: String,
    },
    /// The schema cannot be compiled: nothing fits it, or it is too complex.
    #[error("the schema is refused: {reason}")]
    Refused {
        /// What the grammar compiler said.
        reason: String,
    },
    /// The model has no token that ends an answer.
    #[error("the tokenizer has no token that ends an answer")]
    NoEndToken,
    /// The vocabulary does not fit the tree of tokens.
    #[error("a vocabulary of {vocab_size} tokens with {bytes} bytes is too large to constrain")]
    VocabularyTooLarge {
        /// Bytes of all tokens.
        bytes: usize,
        /// Tokens.
        vocab_size: usize,
    },
    /// The token is not one that may come next.
    #[error("token {token} does not fit the schema here")]
    NotAllowed {
        /// Its id.
        token: u32,
    },
    /// Finding the tokens that may come next took more steps than an answer is given.
    #[error("the schema is too complex to go on: {reason}")]
    TooComplex {
        /// What the grammar machine said.
        reason: String,
    },
}

/// How far an answer has come in its schema.
#[derive(Clone)]
pub struct Constraint {
    matcher: Matcher,
    mask: TokenMask,
}

impl Constraint {
    /// Any JSON object.
    ///
    /// # Errors
    /// As [`Constraint::json_schema`]; none that another vocabulary would not give too.
    pub fn json_object(table: &TokenTable) -> Result<Self, ConstraintError> {
        Self::compile(json!({"type": "object"}), table)
    }

    /// JSON that fits `schema`.
    ///
    /// # Errors
    /// [`ConstraintError`] for what is unsupported, too large, or fits nothing.
    pub fn json_schema(schema: &Value, table: &TokenTable) -> Result<Self, ConstraintError> {
        schema::check(schema)?;
        let mut schema = schema.clone();
        schema::bound_numbers(&mut schema);
        Self::compile(schema, table)
    }

    /// As [`Constraint::json_schema`], from a schema's text.
    ///
    /// # Errors
    /// [`ConstraintError::NotJson`] too.
    pub fn json_schema_text(schema: &str, table: &TokenTable) -> Result<Self, ConstraintError> {
        if schema.len() > schema::MAX_SCHEMA_BYTES {
            return Err(ConstraintError::SchemaTooLarge {
                what: "bytes",
                found: schema.len(),
                max: schema::MAX_SCHEMA_BYTES,
            });
        }
        let schema = serde_json::from_str(schema).map_err(|e| ConstraintError::NotJson {
            reason: e.to_string(),
        })?;
        Self::json_schema(&schema, table)
    }

    fn compile(schema: Value, table: &TokenTable) -> Result<Self, ConstraintError> {
        // Options travel inside the schema, which has to be an object for them.
        let mut schema = if schema.is_boolean() {
            json!({"anyOf": [schema]})
        } else {
            schema
        };
        if let Some(entries) = schema.as_object_mut() {
            let options = json!({
                "whitespace_pattern": format!(r"(\x20|\x0A\x20{{0,{MAX_INDENT}}})"),
                "json_allowed_escapes": "nrbtf\\\"",
            });
            entries.insert("x-guidance".to_owned(), options);
        }
        let grammar = TopLevelGrammar::from_json_schema(schema);
        let parser = table.factory.create_parser(grammar).map_err(refused)?;
        let matcher = Matcher::new(Ok(parser));
        match matcher.get_error() {
            Some(reason) => Err(ConstraintError::Refused {
                reason: told(reason),
            }),
            None => Ok(Self {
                matcher,
                mask: TokenMask::none(table.vocab_size),
            }),
        }
    }

    /// The tokens that may come next.
    ///
    /// # Errors
    /// [`ConstraintError::TooComplex`]; the constraint is of no use after that.
    pub fn mask(&mut self) -> Result<&TokenMask, ConstraintError> {
        let words = self.matcher.compute_mask_or_eos().map_err(too_complex)?;
        self.mask.set_words(words.as_slice());
        Ok(&self.mask)
    }

    /// Goes on past `token`.
    ///
    /// # Errors
    /// [`ConstraintError::NotAllowed`] for one that may not come next, which changes nothing;
    /// [`ConstraintError::TooComplex`].
    pub fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        let refused = ConstraintError::NotAllowed { token };
        if token as usize >= self.mask.vocab_size() || self.is_finished() {
            return Err(refused);
        }
        let fitting = self
            .matcher
            .validate_tokens(&[token])
            .map_err(too_complex)?;
        if fitting == 0 {
            return Err(refused);
        }
        self.matcher.consume_token(token).map_err(too_complex)
    }

    /// True once nothing but an end token can follow, or one came: the answer is whole.
    pub fn is_finished(&self) -> bool {
        self.matcher.is_stopped()
    }

    /// True where the answer is whole as it is, even if more could follow (`1` of `12`).
    ///
    /// # Errors
    /// [`ConstraintError::TooComplex`].
    pub fn may_end(&mut self) -> Result<bool, ConstraintError> {
        Ok(self.is_finished() || self.matcher.is_accepting().map_err(too_complex)?)
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Characters of another crate's message that are passed on.
const TOLD_CHARS: usize = 300;

fn told(mut reason: String) -> String {
    if let Some((end, _)) = reason.char_indices().nth(TOLD_CHARS) {
        reason.truncate(end);
    }
    reason
}

fn refused(error: impl std::fmt::Display) -> ConstraintError {
    ConstraintError::Refused {
        reason: told(error.to_string()),
    }
}

fn too_complex(error: impl std::fmt::Display) -> ConstraintError {
    ConstraintError::TooComplex {
        reason: told(error.to_string()),
    }
}

#[cfg(test)]
mod judge;
#[cfg(test)]
mod tests;
