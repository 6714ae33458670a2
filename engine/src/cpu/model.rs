//! The llama forward pass over a batch of tokens, with weights as the file has them.

use std::sync::Arc;

use super::kernel;
use super::matmul::{RowScratch, matmul_with};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::kv::KvCache;
use crate::memory::MAX_BATCH;
use crate::quant::dequantize;
use crate::rope::Rope;
use crate::weights::{LayerWeights, Weights};

/// A model on the CPU.
#[derive(Debug, Clone)]
pub struct CpuModel {
    config: ModelConfig,
    /// Shared with every fork.
    weights: Arc<Weights>,
    rope: Rope,
    cache: KvCache,
    buffers: Buffers,
}

/// Activations of a batch of `tokens`; sized for [`MAX_BATCH`] and used from the front.
#[derive(Debug, Clone)]
struct Buffers {
    x: Vec<f32>,      // (tokens, dim)
    normed: Vec<f32>, // (tokens, dim)
    q: Vec<f32>,      // (tokens, n_heads, head_dim)
    k: Vec<f32>,      // (tokens, n_kv_heads, head_dim)
    v: Vec<f32>,      // (tokens, n_kv_heads, head_dim)
    mixed: Vec<f32>,  // (tokens, n_heads, head_dim)
    out: Vec<f32>,    // (tokens, dim)
    gate: Vec<f32>,   // (tokens, ffn_dim)
    up: Vec<f32>,     // (tokens, ffn_dim)
    scores: Vec<f32>, // (positions)
    row: RowScratch,  // (cols) of the widest matrix
}

impl CpuModel {
    /// A model with an empty cache.
    pub fn new(config: ModelConfig, weights: Weights) -> Self {
        Self::over(config, Arc::new(weights))
    }

    /// Another model on the same weights, with keys and values of its own and none cached.
    pub fn fork(&self) -> Self {
        Self::over(self.config.clone(), Arc::clone(&self.weights))
    }

    fn over(config: ModelConfig, weights: Arc<Weights>) -> Self {
        Self {
            rope: Rope::new(&config),
            cache: KvCache::new(&config),
            buffers: Buffers::new(&config),
            config,
            weights,
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Positions cached so far.
    pub fn cached_len(&self) -> usize {
        self.cache.filled()
    }

    /// Feeds `tokens` from position `start_pos` on; returns the logits after the last,
    /// `(vocab_size)`. What was cached from `start_pos` on is forgotten.
    ///
    /// # Errors
    /// As [`crate::kv::check_batch`].
    pub fn forward(&mut self, tokens: &[u32], start_pos: usize) -> Result<Vec<f32>, EngineError> {
        let Self {
            config,
            weights,
            rope,
            cache,
            buffers,
        } = self;
        cache.begin(tokens, start_pos, config.vocab_size)?;
        let dim = config.dim;
        let embedding = &weights.token_embedding;
        for (token, x) in tokens.iter().zip(buffers.x.chunks_exact_mut(dim)) {
            dequantize(embedding.format, embedding.row(*token as usize), x);
        }
        let turns: Vec<_> = (0..tokens.len()).map(|i| rope.at(start_pos + i)).collect();
        let batch = Batch {
            config,
            rope,
            turns: &turns,
            start_pos,
        };
        for (l, layer) in weights.layers.iter().enumerate() {
            batch.attend(l, layer, cache, buffers);
            batch.feed_forward(layer, buffers);
        }
        cache.commit(start_pos + tokens.len());

        let last = (tokens.len() - 1) * dim;
        let normed = &mut buffers.normed[..dim];
        rms_norm(
            &buffers.x[last..last + dim],
            &weights.output_norm,
            config.norm_eps,
            normed,
        );
        let mut logits = vec![0.0; config.vocab_size]; // (vocab_size)
        matmul_with(&mut buffers.row, weights.head(), normed, &mut logits);
        Ok(logits)
    }
}

/// What the blocks of one pass have in common.
struct Batch<'a> {
    config: &'a ModelConfig,
    rope: &'a Rope,
    turns: &'a [Vec<(f32, f32)>], // (tokens, rope_dim / 2)
    start_pos: usize,
}

impl Batch<'_> {
    /// `x += attention(norm(x))` for every token.
    fn attend(&self, l: usize, layer: &LayerWeights, cache: &mut KvCache, buffers: &mut Buffers) {
        let ModelConfig { dim, head_dim, .. } = *self.config;
        let (q_dim, kv_dim) = (self.config.q_dim(), self.config.kv_dim());
        let n = self.turns.len();
        let Buffers {
            x,
            normed,
            q,
            k,
            v,
            mixed,
            out,
            scores,
            row,
            ..
        } = buffers;
        let (x, normed, out) = (
            &mut x[..n * dim],
            &mut normed[..n * dim],
            &mut out[..n * dim],
        );
        let (q, mixed) = (&mut q[..n * q_dim], &mut mixed[..n * q_dim]);
        let (k, v) = (&mut k[..n * kv_dim], &mut v[..n * kv_dim]);

        rms_norm(x, &layer.attn_norm, self.config.norm_eps, normed);
        matmul_with(row, &layer.attn_q, normed, q);
        matmul_with(row, &layer.attn_k, normed, k);
        matmul_with(row, &layer.attn_v, normed, v);
        for (i, turns) in self.turns.iter().enumerate() {
            self.rope.rotate(turns, &mut q[i * q_dim..(i + 1) * q_dim]);
            let k = &mut k[i * kv_dim..(i + 1) * kv_dim];
            self.rope.rotate(turns, k);
            cache.key_mut(l, self.start_pos + i).copy_from_slice(k);
            cache
                .value_mut(l, self.start_pos + i)
                .copy_from_slice(&v[i * kv_dim..(i + 1) * kv_dim]);
        }
        for (i, (q, mixed)) in q
            .chunks_exact(q_dim)
            .zip(mixed.chunks_exact_mut(q_dim))
            .enumerate()
        {
            scores.resize(self.start_pos + i + 1, 0.0);
            let heads = q
                .chunks_exact(head_dim)
                .zip(mixed.chunks_exact_mut(head_dim));
            for (head, (q, mixed)) in heads.enumerate() {
                let first = head / self.config.heads_per_kv() * head_dim;
                attend_head(
                    q,
                    cache.keys(l),
                    cache.values(l),
                    kv_dim,
                    first,
                    scores,
                    mixed,
                );
            }
        }
        matmul_with(row, &layer.attn_output, mixed, out);
        kernel::add_scaled(x, 1.0, out);
    }

    /// `x += down(silu(gate(norm(x))) * up(norm(x)))` for every token.
    fn feed_forward(&self, layer: &LayerWeights, buffers: &mut Buffers) {
        let ModelConfig {
            dim,
            ffn_dim,
            norm_eps,
            ..
        } = *self.config;
        let n = self.turns.len();
        let Buffers {
            x,
            normed,
            out,
            gate,
            up,
            row,
            ..
        } = buffers;
        let (x, normed, out) = (
            &mut x[..n * dim],
            &mut normed[..n * dim],
            &mut out[..n * dim],
        );
        let (gate, up) = (&mut gate[..n * ffn_dim], &mut up[..n * ffn_dim]);

        rms_norm(x, &layer.ffn_norm, norm_eps, normed);
        matmul_with(row, &layer.ffn_gate, normed, gate);
        matmul_with(row, &layer.ffn_up, normed, up);
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + libm::expf(-*gate)) * *up;
        }
        matmul_with(row, &layer.ffn_down, gate, out);
        kernel::add_scaled(x, 1.0, out);
    }
}

impl Buffers {
    fn new(config: &ModelConfig) -> Self {
        let of = |width: usize| vec![0.0; MAX_BATCH * width];
        Self {
            x: of(config.dim),
            normed: of(config.dim),
            q: of(config.q_dim()),
            k: of(config.kv_dim()),
            v: of(config.kv_dim()),
            mixed: of(config.q_dim()),
            out: of(config.dim),
            gate: of(config.ffn_dim),
            up: of(config.ffn_dim),
            scores: Vec::new(),
            row: RowScratch::default(),
        }
    }
}

/// One query head over the positions that `scores` has room for.
fn attend_head(
    q: &[f32],      // (head_dim)
    keys: &[f32],   // (positions, kv_dim)
    values: &[f32], // (positions, kv_dim)
    kv_dim: usize,
    first: usize,       // first channel of the key and value head
    scores: &mut [f32], // (positions), scratch
    mixed: &mut [f32],  // (head_dim)
) {
    let scale = 1.0 / (q.len() as f32).sqrt();
    let mut max = f32::NEG_INFINITY;
    for (score, key) in scores.iter_mut().zip(keys.chunks_exact(kv_dim)) {
        *score = kernel::dot(q, &key[first..first + q.len()]) * scale;
        max = max.max(*score);
    }
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = libm::expf(*score - max);
        sum += *score;
    }
    mixed.fill(0.0);
    for (score, value) in scores.iter().zip(values.chunks_exact(kv_dim)) {
        kernel::add_scaled(mixed, *score / sum, &value[first..first + q.len()]);
    }
}

/// `x / sqrt(mean(x^2) + eps) * gain` for every token.
fn rms_norm(
    x: &[f32],    // (tokens, dim)
    gain: &[f32], // (dim)
    eps: f32,
    out: &mut [f32], // (tokens, dim)
) {
    let dim = gain.len();
    for (x, out) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)) {
        let scale = 1.0 / (kernel::dot(x, x) / dim as f32 + eps).sqrt();
        for (out, (x, gain)) in out.iter_mut().zip(x.iter().zip(gain)) {
            *out = x * scale * gain;
        }
    }
}
