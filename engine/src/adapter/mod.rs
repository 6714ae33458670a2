//! Low-rank adapters (LoRA): what a model can learn without its weights being touched.
//!
//! An adapter holds, for some of the model's matrices, a pair `A (rank, cols)` and
//! `B (rows, rank)`; with a stack of adapters, each with a scale `s` of the caller's, a matrix
//! gives `y = W x + sum_k s_k * alpha_k / rank_k * B_k (A_k x)`.
//!
//! 1. [`read_peft`] and [`read_gguf`] check untrusted bytes against the model they are for;
//!    [`Adapter::to_peft`] writes what PEFT reads.
//! 2. [`registry`] keeps adapters, counts their memory and checks stacks.
//! 3. [`apply`] adds a stack's contribution to activations; [`merge`] makes one matrix of base and
//!    adapter, which nothing here needs.
//!
//! Rows are in GGUF's order: where GGUF permutes the rows of a matrix (queries and keys of the
//! llama architecture), the readers permute the rows of `B` with it.

pub mod apply;
mod assemble;
mod error;
mod gguf;
mod kernel;
pub mod merge;
mod names;
mod packed;
mod peft;
mod peft_config;
mod peft_write;
pub mod registry;

use std::collections::BTreeMap;
use std::fmt;

pub use error::AdapterError;
pub use gguf::read_gguf;
pub use peft::read_peft;
pub use peft_write::PeftFiles;

use crate::weights::Slot;

/// Largest rank of a pair; published adapters have 4 to 256.
pub const MAX_RANK: usize = 1_024;

/// Largest factor, of an adapter's own scale and of a caller's; a product of the two stays far
/// inside f32.
pub const MAX_SCALE: f32 = 65_536.0;

/// What an adapter adds to one matrix: `scale * B (A x)`.
#[derive(Clone, PartialEq)]
pub struct LoraPair {
    /// Between 1 and [`MAX_RANK`].
    pub rank: usize,
    /// `alpha / rank`, or `alpha / sqrt(rank)` for rank-stabilised adapters; finite.
    pub scale: f32,
    /// `(rank, cols)`, finite.
    pub a: Vec<f32>,
    /// `(rows, rank)`, finite.
    pub b: Vec<f32>,
}

impl LoraPair {
    /// Outputs of the matrix it adds to.
    pub fn rows(&self) -> usize {
        self.b.len() / self.rank
    }

    /// Inputs of the matrix it adds to.
    pub fn cols(&self) -> usize {
        self.a.len() / self.rank
    }

    /// Bytes of both halves.
    pub fn bytes(&self) -> u64 {
        ((self.a.len() + self.b.len()) * size_of::<f32>()) as u64
    }

    /// `factor * scale * B (A x)`, carried in f64, `(rows)`: the specification of what is applied.
    pub fn output(&self, factor: f32, x: &[f32] /* (cols) */) -> Vec<f64> {
        let dot =
            |a: &[f32], x: &[f64]| a.iter().zip(x).map(|(a, x)| f64::from(*a) * x).sum::<f64>();
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let t: Vec<f64> = self
            .a
            .chunks_exact(self.cols())
            .map(|a| dot(a, &x))
            .collect(); // (rank)
        let factor = f64::from(factor) * f64::from(self.scale);
        self.b
            .chunks_exact(self.rank)
            .map(|b| factor * dot(b, &t))
            .collect()
    }

    /// Row `row` of `scale * B A`, carried in f64, `(cols)`: the specification of what is added.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn delta_row(&self, row: usize) -> Vec<f64> {
        let mut delta = vec![0.0; self.cols()];
        let b = &self.b[row * self.rank..][..self.rank]; // (rank)
        for (b, a) in b.iter().zip(self.a.chunks_exact(self.cols())) {
            for (delta, a) in delta.iter_mut().zip(a) {
                *delta += f64::from(self.scale) * f64::from(*b) * f64::from(*a);
            }
        }
        delta
    }
}

impl fmt::Debug for LoraPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, scale, .. } = self;
        let (rows, cols) = (self.rows(), self.cols());
        write!(f, "LoraPair({rows} x {cols}, rank {rank}, scale {scale})")
    }
}

/// A whole adapter, checked against the model it was read for.
#[derive(Debug, Clone, PartialEq)]
pub struct Adapter {
    /// What its file says it is called, or what it was trained on; may be empty.
    pub name: String,
    /// The largest rank of its pairs.
    pub rank: usize,
    /// One for each matrix that it adds to; at least one.
    pub pairs: BTreeMap<Slot, LoraPair>,
}

impl Adapter {
    /// Bytes of all pairs.
    pub fn bytes(&self) -> u64 {
        self.pairs.values().map(LoraPair::bytes).sum()
    }

    /// Numbers in all pairs.
    pub fn parameters(&self) -> u64 {
        self.bytes() / size_of::<f32>() as u64
    }
}

#[cfg(test)]
mod tests;
