//! The llama forward pass, one token at a time, as plainly as it can be written.
//!
//! This file is the specification: every faster path is held against it. Weights are dequantised
//! to f32 when it is built; activations are f32; every sum is carried in f64 and rounded once, so
//! that its own rounding is out of the question when another path differs.

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::kv::KvCache;
use crate::quant::dequantize;
use crate::rope::Rope;
use crate::weights::{Matrix, Weights};

/// A model that computes slowly and legibly.
#[derive(Debug, Clone)]
pub struct ReferenceModel {
    config: ModelConfig,
    rope: Rope,
    cache: KvCache,
    token_embedding: Dense, // (vocab_size, dim)
    layers: Vec<Layer>,     // n_layers
    output_norm: Vec<f32>,  // (dim)
    output: Dense,          // (vocab_size, dim)
}

#[derive(Debug, Clone)]
struct Layer {
    attn_norm: Vec<f32>, // (dim)
    attn_q: Dense,       // (q_dim, dim)
    attn_k: Dense,       // (kv_dim, dim)
    attn_v: Dense,       // (kv_dim, dim)
    attn_output: Dense,  // (dim, q_dim)
    ffn_norm: Vec<f32>,  // (dim)
    ffn_gate: Dense,     // (ffn_dim, dim)
    ffn_up: Dense,       // (ffn_dim, dim)
    ffn_down: Dense,     // (dim, ffn_dim)
}

#[derive(Debug, Clone)]
struct Dense {
    weights: Vec<f32>, // (rows, cols)
    cols: usize,
}

impl ReferenceModel {
    /// Dequantises every weight; takes four bytes for each.
    pub fn new(config: ModelConfig, weights: &Weights) -> Self {
        let layers = weights.layers.iter().map(|layer| Layer {
            attn_norm: layer.attn_norm.clone(),
            attn_q: Dense::new(&layer.attn_q),
            attn_k: Dense::new(&layer.attn_k),
            attn_v: Dense::new(&layer.attn_v),
            attn_output: Dense::new(&layer.attn_output),
            ffn_norm: layer.ffn_norm.clone(),
            ffn_gate: Dense::new(&layer.ffn_gate),
            ffn_up: Dense::new(&layer.ffn_up),
            ffn_down: Dense::new(&layer.ffn_down),
        });
        Self {
            rope: Rope::new(&config),
            cache: KvCache::new(&config),
            token_embedding: Dense::new(&weights.token_embedding),
            layers: layers.collect(),
            output_norm: weights.output_norm.clone(),
            output: Dense::new(weights.head()),
            config,
        }
    }

    /// The same model, with none cached. It takes the memory of its weights again.
    pub fn fork(&self) -> Self {
        Self {
            cache: KvCache::new(&self.config),
            ..self.clone()
        }
    }

    /// The model's sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Feeds `tokens` from position `start_pos` on; returns the logits after the last,
    /// `(vocab_size)`.
    ///
    /// # Errors
    /// As [`crate::kv::check_batch`].
    pub fn forward(&mut self, tokens: &[u32], start_pos: usize) -> Result<Vec<f32>, EngineError> {
        self.cache
            .begin(tokens, start_pos, self.config.vocab_size)?;
        let mut hidden = Vec::new(); // (dim)
        for (i, token) in tokens.iter().enumerate() {
            hidden = self.feed(*token, start_pos + i);
        }
        self.cache.commit(start_pos + tokens.len());
        Ok(self
            .output
            .apply(&rms_norm(&hidden, &self.output_norm, self.config.norm_eps)))
    }

    /// One token through every block; returns its hidden state, `(dim)`.
    fn feed(&mut self, token: u32, pos: usize) -> Vec<f32> {
        let mut x = self.token_embedding.row(token as usize).to_vec(); // (dim)
        let turns = self.rope.at(pos); // (rope_dim / 2)
        for (l, layer) in self.layers.iter().enumerate() {
            let normed = rms_norm(&x, &layer.attn_norm, self.config.norm_eps); // (dim)
            let mut q = layer.attn_q.apply(&normed); // (n_heads, head_dim)
            let mut k = layer.attn_k.apply(&normed); // (n_kv_heads, head_dim)
            let v = layer.attn_v.apply(&normed); // (n_kv_heads, head_dim)
            self.rope.rotate(&turns, &mut q);
            self.rope.rotate(&turns, &mut k);
            self.cache.key_mut(l, pos).copy_from_slice(&k);
            self.cache.value_mut(l, pos).copy_from_slice(&v);
            let mixed = attention(&self.config, &self.cache, l, pos, &q); // (n_heads, head_dim)
            add(&mut x, &layer.attn_output.apply(&mixed));

            let normed = rms_norm(&x, &layer.ffn_norm, self.config.norm_eps); // (dim)
            let gate = layer.ffn_gate.apply(&normed); // (ffn_dim)
            let up = layer.ffn_up.apply(&normed); // (ffn_dim)
            let gated: Vec<f32> = gate.iter().zip(&up).map(|(g, u)| silu(*g) * u).collect();
            add(&mut x, &layer.ffn_down.apply(&gated));
        }
        x
    }
}

impl Dense {
    fn new(matrix: &Matrix) -> Self {
        let mut weights = vec![0.0; matrix.rows * matrix.cols];
        dequantize(matrix.format, &matrix.bytes, &mut weights);
        Self {
            weights,
            cols: matrix.cols,
        }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.weights[row * self.cols..(row + 1) * self.cols]
    }

    /// `W x`, `(rows)`.
    fn apply(&self, x: &[f32] /* (cols) */) -> Vec<f32> {
        self.weights
            .chunks_exact(self.cols)
            .map(|row| dot(row, x) as f32)
            .collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// `x / sqrt(mean(x^2) + eps) * gain`, `(dim)`.
fn rms_norm(x: &[f32], gain: &[f32], eps: f32) -> Vec<f32> {
    let mean_square = dot(x, x) / x.len() as f64;
    let scale = 1.0 / libm::sqrt(mean_square + f64::from(eps));
    x.iter()
        .zip(gain)
        .map(|(x, gain)| (f64::from(*x) * scale * f64::from(*gain)) as f32)
        .collect()
}

/// `x * sigmoid(x)`.
fn silu(x: f32) -> f32 {
    let x = f64::from(x);
    (x / (1.0 + libm::exp(-x))) as f32
}

/// Every query head attends to all positions up to `pos`; neighbouring heads share keys and
/// values, `(n_heads, head_dim)`.
fn attention(
    config: &ModelConfig,
    cache: &KvCache,
    layer: usize,
    pos: usize,
    q: &[f32],
) -> Vec<f32> {
    let head_dim = config.head_dim;
    let scale = 1.0 / libm::sqrt(head_dim as f64);
    let mut mixed = Vec::with_capacity(q.len());
    for (head, q) in q.chunks_exact(head_dim).enumerate() {
        let first = head / config.heads_per_kv() * head_dim; // first channel of the shared head
        let of = |plane: &[f32], at: usize| -> Vec<f32> {
            plane[at * config.kv_dim() + first..][..head_dim].to_vec()
        };
        let scores: Vec<f64> = (0..=pos)
            .map(|at| dot(q, &of(cache.keys(layer), at)) * scale)
            .collect(); // (pos + 1)
        let shares = softmax(&scores); // (pos + 1)
        for channel in 0..head_dim {
            let sum: f64 = shares
                .iter()
                .enumerate()
                .map(|(at, share)| {
                    share * f64::from(cache.values(layer)[at * config.kv_dim() + first + channel])
                })
                .sum();
            mixed.push(sum as f32);
        }
    }
    mixed
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| libm::exp(score - max)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
