//! Rotary position embedding in GGUF's llama order: neighbouring channels form a pair.

use crate::config::ModelConfig;

/// The frequency of each pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// `(rope_dim / 2)`, radians per position.
    frequencies: Vec<f64>,
    head_dim: usize,
}

impl Rope {
    /// `base^(-2i / rope_dim)` for pair `i`.
    pub fn new(config: &ModelConfig) -> Self {
        let frequency = |pair: usize| {
            libm::pow(
                config.rope_base.into(),
                -(2.0 * pair as f64) / config.rope_dim as f64,
            )
        };
        Self {
            frequencies: (0..config.rope_dim / 2).map(frequency).collect(),
            head_dim: config.head_dim,
        }
    }

    /// Cosine and sine of every pair at position `pos`, `(rope_dim / 2)`.
    ///
    /// Angles are taken in f64 and rounded once, so that far positions stay exact.
    pub fn at(&self, pos: usize) -> Vec<(f32, f32)> {
        let angle = |frequency: &f64| frequency * pos as f64;
        self.frequencies
            .iter()
            .map(angle)
            .map(|angle| (libm::cos(angle) as f32, libm::sin(angle) as f32))
            .collect()
    }

    /// Rotates the pairs `(2i, 2i + 1)` of every head in `heads`.
    pub fn rotate(
        &self,
        turns: &[(f32, f32)], // (rope_dim / 2)
        heads: &mut [f32],    // (heads, head_dim)
    ) {
        for head in heads.chunks_exact_mut(self.head_dim) {
            for (pair, (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                let [a, b] = *pair;
                *pair = [a * cos - b * sin, a * sin + b * cos];
            }
        }
    }
}
