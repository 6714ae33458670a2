//! A vocabulary as a tree of bytes, built once for a model and shared by its answers.

use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};

use super::ConstraintError;
use crate::tokenizer::Tokenizer;

/// bytes of a token that takes part; longer ones are never allowed. The tree's own bound is 1,024.
const MAX_PIECE_BYTES: usize = 512;

/// bytes of all tokens together, which bounds the nodes of the tree: it holds 4 million, and the
/// largest vocabularies in use have 2 million bytes.
const MAX_TABLE_BYTES: usize = 3_500_000;

/// tokens in the vocabulary: the tree's ids have 24 bits, of which one value means none.
const MAX_TABLE_TOKENS: usize = (1 << 24) - 1;

/// No text has this byte; the tree takes it for the mark of a token that is not text.
const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// What a constraint needs to know of a tokenizer. Cheap to clone.
#[derive(Clone)]
pub struct TokenTable {
    pub(super) factory: Arc<ParserFactory>,
    pub(super) vocab_size: usize,
}

impl TokenTable {
    /// Reads the pieces of all tokens. Control tokens but those that end an answer take no part.
    ///
    /// # Errors
    /// [`ConstraintError::NoEndToken`] or [`ConstraintError::VocabularyTooLarge`].
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, ConstraintError> {
        let vocab_size = tokenizer.vocab_size();
        let ids = 0..u32::try_from(vocab_size).unwrap_or(u32::MAX);
        let ends: Vec<u32> = ids.clone().filter(|id| tokenizer.is_end(*id)).collect();
        let Some(first_end) = ends.first() else {
            return Err(ConstraintError::NoEndToken);
        };
        let mut bytes = 0;
        let pieces: Vec<Vec<u8>> = ids
            .map(|id| {
                if tokenizer.is_end(id) {
                    return [&[MARK][..], format!("<end {id}>").as_bytes()].concat();
                }
                let piece = tokenizer.piece(id);
                if piece.len() > MAX_PIECE_BYTES || piece.contains(&MARK) {
                    return Vec::new();
                }
                bytes += piece.len();
                piece.to_vec()
            })
            .collect();
        if bytes > MAX_TABLE_BYTES || vocab_size > MAX_TABLE_TOKENS {
            return Err(ConstraintError::VocabularyTooLarge { bytes, vocab_size });
        }
        let info = TokRxInfo::new(vocab_size as u32, *first_end);
        let tree = TokTrie::from(&info, &pieces).with_eos_tokens(&ends);
        // Never asked for the tokens of a text: nothing is forced here, only allowed.
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(tree));
        let slices = SlicedBiasComputer::json_slices();
        let caps = InferenceCapabilities::default();
        let mut factory = ParserFactory::new(&env, caps, &slices).map_err(super::refused)?;
        factory.quiet();
        *factory.limits_mut() = super::LIMITS;
        Ok(Self {
            factory: Arc::new(factory),
            vocab_size,
        })
    }
}

impl std::fmt::Debug for TokenTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenTable")
            .field("vocab_size", &self.vocab_size)
            .finish_non_exhaustive()
    }
}
