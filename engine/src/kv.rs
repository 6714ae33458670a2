//! The keys and values of every position seen so far, one plane per layer.

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::memory::MAX_BATCH;

/// Keys and values in f32, `(n_layers, context_len, kv_dim)` each, grown as positions are used.
#[derive(Debug, Clone)]
pub struct KvCache {
    /// One per layer, `(positions, kv_dim)`.
    keys: Vec<Vec<f32>>,
    /// One per layer, `(positions, kv_dim)`.
    values: Vec<Vec<f32>>,
    kv_dim: usize,
    context_len: usize,
    filled: usize,
}

impl KvCache {
    /// An empty cache for `config.context_len` positions.
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            keys: vec![Vec::new(); config.n_layers],
            values: vec![Vec::new(); config.n_layers],
            kv_dim: config.kv_dim(),
            context_len: config.context_len,
            filled: 0,
        }
    }

    /// Makes room for `tokens` from `start_pos` on; what was cached from there on is forgotten.
    ///
    /// # Errors
    /// [`EngineError::BatchSize`] for no or too many tokens, [`EngineError::Position`] when there
    /// would be a hole before them or they would run past the end of the context, and
    /// [`EngineError::UnknownToken`] for an id that the vocabulary does not have.
    pub(crate) fn begin(
        &mut self,
        tokens: &[u32],
        start_pos: usize,
        vocab_size: usize,
    ) -> Result<(), EngineError> {
        check_batch(tokens, start_pos, self.filled, self.context_len, vocab_size)?;
        let end = start_pos + tokens.len();
        for plane in self.keys.iter_mut().chain(&mut self.values) {
            plane.resize(end * self.kv_dim, 0.0);
        }
        self.filled = start_pos;
        Ok(())
    }

    /// Counts the positions up to `end` as filled.
    pub(crate) fn commit(&mut self, end: usize) {
        self.filled = end;
    }

    /// Keys of one position, to be written, `(kv_dim)`.
    pub(crate) fn key_mut(&mut self, layer: usize, pos: usize) -> &mut [f32] {
        &mut self.keys[layer][pos * self.kv_dim..(pos + 1) * self.kv_dim]
    }

    /// Values of one position, to be written, `(kv_dim)`.
    pub(crate) fn value_mut(&mut self, layer: usize, pos: usize) -> &mut [f32] {
        &mut self.values[layer][pos * self.kv_dim..(pos + 1) * self.kv_dim]
    }

    /// Keys of a layer, `(positions, kv_dim)`.
    pub(crate) fn keys(&self, layer: usize) -> &[f32] {
        &self.keys[layer]
    }

    /// Values of a layer, `(positions, kv_dim)`.
    pub(crate) fn values(&self, layer: usize) -> &[f32] {
        &self.values[layer]
    }

    /// Positions filled so far.
    pub fn filled(&self) -> usize {
        self.filled
    }
}

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
