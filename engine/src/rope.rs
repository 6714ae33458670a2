//! Rotary position embedding: which angle each pair of channels turns by at a position.

use crate::arch::PairOrder;
use crate::config::{ModelConfig, RopeConfig};

/// The frequencies of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// `(rope_dim / 2)`, radians per position.
    frequencies: Vec<f64>,
    /// The same, in layers that see a window only.
    local_frequencies: Vec<f64>,
    /// On cosines and sines.
    magnitude: f64,
    order: PairOrder,
    head_dim: usize,
}

impl Rope {
    /// `base^(-2i / rope_dim) / divisor / factor[i]` for pair `i`; no factors are factors of 1.
    pub fn new(config: &RopeConfig, head_dim: usize, factors: &[f32]) -> Self {
        let table = |base: f32, divisor: f32| {
            let frequency = |pair: usize| {
                let exponent = -(2.0 * pair as f64) / config.dim as f64;
                let factor = factors.get(pair).copied().unwrap_or(1.0);
                libm::pow(base.into(), exponent) / f64::from(divisor) / f64::from(factor)
            };
            (0..config.dim / 2).map(frequency).collect()
        };
        Self {
            frequencies: table(config.base, config.divisor),
            local_frequencies: table(config.local_base, config.local_divisor),
            magnitude: config.magnitude.into(),
            order: config.order,
            head_dim,
        }
    }

    /// The rotation of a model, whose factors are `factors`; none where positions are learned.
    pub fn of(config: &ModelConfig, factors: &[f32]) -> Option<Self> {
        let rope = config.rope.as_ref()?;
        Some(Self::new(rope, config.head_dim, factors))
    }

    /// Cosine and sine of every pair at position `pos`, times the magnitude, `(rope_dim / 2)`.
    ///
    /// Angles are taken in f64 and rounded once, so that far positions stay exact.
    pub fn at(&self, pos: usize, local: bool) -> Vec<(f32, f32)> {
        self.turns(pos as f64, local, self.magnitude)
    }

    /// What takes a key back by `by` positions, `(rope_dim / 2)`.
    pub fn back(&self, by: usize, local: bool) -> Vec<(f32, f32)> {
        self.turns(-(by as f64), local, 1.0)
    }

    /// Which channels form pairs.
    pub fn order(&self) -> PairOrder {
        self.order
    }

    /// Channels of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// The two channels of pair `pair`.
    pub fn pair(&self, pair: usize) -> (usize, usize) {
        match self.order {
            PairOrder::Halves => (pair, pair + self.frequencies.len()),
            PairOrder::Neighbours => (2 * pair, 2 * pair + 1),
        }
    }

    /// Rotates the pairs of every head in `heads`.
    pub fn rotate(
        &self,
        turns: &[(f32, f32)], // (rope_dim / 2)
        heads: &mut [f32],    // (heads, head_dim)
    ) {
        for head in heads.chunks_exact_mut(self.head_dim) {
            match self.order {
                PairOrder::Neighbours => {
                    for (pair, turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                        let [a, b] = *pair;
                        *pair = turned(a, b, *turn).into();
                    }
                }
                PairOrder::Halves => {
                    let (first, rest) = head.split_at_mut(turns.len());
                    for ((a, b), turn) in first.iter_mut().zip(rest).zip(turns) {
                        (*a, *b) = turned(*a, *b, *turn);
                    }
                }
            }
        }
    }

    fn turns(&self, pos: f64, local: bool, magnitude: f64) -> Vec<(f32, f32)> {
        let frequencies = match local {
            true => &self.local_frequencies,
            false => &self.frequencies,
        };
        let turn = |frequency: &f64| {
            let angle = frequency * pos;
            (
                (libm::cos(angle) * magnitude) as f32,
                (libm::sin(angle) * magnitude) as f32,
            )
        };
        frequencies.iter().map(turn).collect()
    }
}

fn turned(a: f32, b: f32, (cos, sin): (f32, f32)) -> (f32, f32) {
    (a * cos - b * sin, a * sin + b * cos)
}
