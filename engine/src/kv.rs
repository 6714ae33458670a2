//! What is asked of a batch of one sequence before it is computed.

use crate::error::EngineError;
use crate::memory::MAX_BATCH;

/// What every back end asks of a batch before it computes anything: 1 to [`MAX_BATCH`] known
/// tokens that continue the `cached_len` positions there are (or go back among them) and end
/// within the context.
///
/// # Errors
/// [`EngineError::BatchSize`], [`EngineError::Position`] or [`EngineError::UnknownToken`].
pub fn check_batch(
    tokens: &[u32],
    start_pos: usize,
    cached_len: usize,
    context_len: usize,
    vocab_size: usize,
) -> Result<(), EngineError> {
    if tokens.is_empty() || tokens.len() > MAX_BATCH {
        return Err(EngineError::BatchSize {
            tokens: tokens.len(),
            max_tokens: MAX_BATCH,
        });
    }
    if start_pos > cached_len || tokens.len() > context_len.saturating_sub(start_pos) {
        return Err(EngineError::Position {
            start_pos,
            tokens: tokens.len(),
            cached_len,
            context_len,
        });
    }
    match tokens.iter().find(|token| **token as usize >= vocab_size) {
        Some(token) => Err(EngineError::UnknownToken {
            token: *token,
            vocab_size,
        }),
        None => Ok(()),
    }
}
