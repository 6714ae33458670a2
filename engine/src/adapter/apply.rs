//! Adds adapters to the outputs of a matrix, on the CPU: two skinny products for each row of
//! activations and each adapter of its stack.
//!
//! The order of every sum is fixed, so that the same bits come out on every target and for every
//! way to put rows together in a pass:
//! - adapters are added in the order of the row's stack, one after another, whatever they are called
//!   and whenever they were loaded;
//! - each of the `rank` products `a_k x` has eight running sums, taken and folded as
//!   [`crate::cpu::lanes`] states, and is then multiplied by `factor * scale`, rounded once;
//! - to each output the products with `b` are added one after another, by ascending rank, each
//!   rounded before it is added.
//!
//! Halves are kept as the kernels read them: four ranks side by side, eight inputs (or outputs) of
//! each at a time, so that both products stream through memory once.

use std::collections::BTreeMap;

use super::packed::{PackedHalf, down, up};
use super::{Adapter, LoraPair};
use crate::cpu::lanes::LANES;
use crate::pass::AdapterId;
use crate::weights::Slot;

/// Adapters in the form that the CPU reads, by id.
#[derive(Debug, Default)]
pub struct CpuAdapters {
    packed: BTreeMap<AdapterId, PackedAdapter>,
    scratch: Scratch,
}

/// An adapter in the form that the CPU reads.
#[derive(Debug, Clone)]
pub struct PackedAdapter {
    pairs: BTreeMap<Slot, PackedPair>,
}

/// A pair in the form that the kernels read.
#[derive(Clone)]
pub struct PackedPair {
    rows: usize,
    cols: usize,
    rank: usize,
    scale: f32,
    a: PackedHalf, // (rank, cols)
    b: PackedHalf, // (rank, rows)
}

/// What is written over by every product.
#[derive(Debug, Default)]
struct Scratch {
    /// `(rank)`
    t: Vec<f32>,
    /// `(cols / 8, 8)`, for inputs that do not come in eights.
    x: Vec<[f32; LANES]>,
}

impl CpuAdapters {
    /// Keeps an adapter under `id`, in place of the one that was there.
    pub fn insert(&mut self, id: AdapterId, adapter: &Adapter) {
        self.packed.insert(id, PackedAdapter::new(adapter));
    }

    /// Forgets an adapter.
    pub fn remove(&mut self, id: AdapterId) {
        self.packed.remove(&id);
    }

    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Bytes of all adapters.
    pub fn bytes(&self) -> u64 {
        self.packed.values().map(PackedAdapter::bytes).sum()
    }

    /// Adds to each row of `y` what its stack adds to the output of the matrix in `slot`; ids that
    /// are not kept add nothing.
    ///
    /// # Panics
    /// When the sizes do not agree.
    pub fn add(
        &mut self,
        slot: Slot,
        stacks: &[&[(AdapterId, f32)]], // (tokens)
        x: &[f32],                      // (tokens, cols)
        y: &mut [f32],                  // (tokens, rows)
    ) {
        if stacks.iter().all(|stack| stack.is_empty()) {
            return;
        }
        for (token, stack) in stacks.iter().enumerate() {
            for (id, factor) in *stack {
                let Some(pair) = self.packed.get(id).and_then(|it| it.pairs.get(&slot)) else {
                    continue;
                };
                let (rows, cols) = (pair.rows, pair.cols);
                assert_eq!(x.len(), stacks.len() * cols, "one input row for each stack");
                assert_eq!(
                    y.len(),
                    stacks.len() * rows,
                    "one output row for each stack"
                );
                let x = &x[token * cols..][..cols];
                let y = &mut y[token * rows..][..rows];
                pair.add_with(&mut self.scratch, *factor, x, y);
            }
        }
    }
}

impl PackedAdapter {
    /// Lays out every pair.
    pub fn new(adapter: &Adapter) -> Self {
        let pairs = adapter.pairs.iter();
        Self {
            pairs: pairs
                .map(|(slot, pair)| (*slot, PackedPair::new(pair)))
                .collect(),
        }
    }

    /// The pair for the matrix in `slot`, if there is one.
    pub fn get(&self, slot: Slot) -> Option<&PackedPair> {
        self.pairs.get(&slot)
    }

    /// Bytes of all pairs.
    pub fn bytes(&self) -> u64 {
        let bytes = |pair: &PackedPair| (pair.a.bytes() + pair.b.bytes()) as u64;
        self.pairs.values().map(bytes).sum()
    }
}

impl PackedPair {
    /// Lays out a pair.
    pub fn new(pair: &LoraPair) -> Self {
        let LoraPair { rank, scale, .. } = *pair;
        let (rows, cols) = (pair.rows(), pair.cols());
        Self {
            rows,
            cols,
            rank,
            scale,
            a: PackedHalf::new(rank, cols, &pair.a, |k, col| k * cols + col),
            b: PackedHalf::new(rank, rows, &pair.b, |k, row| row * rank + k),
        }
    }

    /// `y += factor * scale * B (A x)`.
    ///
    /// # Panics
    /// When the sizes do not agree.
    pub fn add(&self, factor: f32, x: &[f32] /* (cols) */, y: &mut [f32] /* (rows) */) {
        self.add_with(&mut Scratch::default(), factor, x, y);
    }

    fn add_with(&self, scratch: &mut Scratch, factor: f32, x: &[f32], y: &mut [f32]) {
        assert_eq!(
            (x.len(), y.len()),
            (self.cols, self.rows),
            "vectors of the matrix's sizes"
        );
        let Scratch { t, x: padded } = scratch;
        t.resize(self.rank, 0.0);
        let (whole, rest) = x.as_chunks::<LANES>();
        let x = if rest.is_empty() {
            whole
        } else {
            padded.clear();
            padded.extend_from_slice(whole);
            let mut last = [0.0; LANES];
            last[..rest.len()].copy_from_slice(rest);
            padded.push(last);
            padded
        };
        down(&self.a, x, factor * self.scale, t);
        let (whole, rest) = y.as_chunks_mut::<LANES>();
        let mut last = [0.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        up(&self.b, t, whole, (!rest.is_empty()).then_some(&mut last));
        rest.copy_from_slice(&last[..rest.len()]);
    }
}

impl std::fmt::Debug for PackedPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            rows, cols, rank, ..
        } = self;
        write!(f, "PackedPair({rows} x {cols}, rank {rank})")
    }
}

#[cfg(test)]
mod tests;
