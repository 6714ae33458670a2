//! Every query head of every row over the positions that the row sees.

use super::cache::Cache;
use super::vector;
use crate::config::ModelConfig;
use crate::pass::Pass;

/// One attention operation of a plan.
pub(super) struct Attention<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) pass: &'a Pass,
    pub(super) layer: usize,
    pub(super) window: Option<usize>,
    pub(super) cache: &'a Cache,
}

/// Room for one key and value head of one sequence, kept between operations.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    keys: Vec<f32>,   // (positions, head_dim)
    values: Vec<f32>, // (positions, head_dim)
    scores: Vec<f32>, // (positions)
}

impl Attention<'_> {
    pub(super) fn apply(
        &self,
        q: &[f32],         // (rows, n_heads, head_dim)
        mixed: &mut [f32], // (rows, n_heads, head_dim)
        scratch: &mut Scratch,
    ) {
        for sequence in 0..self.pass.sequences.len() {
            let of_sequence = |row: &usize| self.pass.rows[*row].sequence as usize == sequence;
            let rows: Vec<usize> = (0..self.pass.rows.len()).filter(of_sequence).collect();
            let seen = |row: &usize| self.pass.seen(*row, self.window, self.config.is_causal());
            let first = rows.iter().map(|row| seen(row).start).min().unwrap_or(0);
            let end = rows.iter().map(|row| seen(row).end).max().unwrap_or(0);
            for kv_head in 0..self.config.n_kv_heads {
                self.widen(sequence, kv_head, first..end, scratch);
                for row in &rows {
                    let seen = seen(row);
                    self.heads(
                        *row,
                        kv_head,
                        seen.start - first..seen.end - first,
                        scratch,
                        q,
                        mixed,
                    );
                }
            }
        }
    }

    /// Reads one key and value head of a sequence.
    fn widen(
        &self,
        sequence: usize,
        kv_head: usize,
        positions: std::ops::Range<usize>,
        scratch: &mut Scratch,
    ) {
        let sequence = &self.pass.sequences[sequence];
        let head_dim = self.config.head_dim;
        let channel = kv_head * head_dim;
        scratch.keys.resize(positions.len() * head_dim, 0.0);
        scratch.values.resize(positions.len() * head_dim, 0.0);
        let rows = (scratch.keys.chunks_exact_mut(head_dim))
            .zip(scratch.values.chunks_exact_mut(head_dim));
        for (position, (key, value)) in positions.zip(rows) {
            let place = sequence.place(position);
            self.cache.read_key(self.layer, place, channel, key);
            self.cache.read_value(self.layer, place, channel, value);
        }
    }

    /// The query heads of a row that share a key and value head.
    fn heads(
        &self,
        row: usize,
        kv_head: usize,
        seen: std::ops::Range<usize>,
        scratch: &mut Scratch,
        q: &[f32],
        mixed: &mut [f32],
    ) {
        let head_dim = self.config.head_dim;
        let channels = seen.start * head_dim..seen.end * head_dim;
        let (keys, values) = (&scratch.keys[channels.clone()], &scratch.values[channels]);
        scratch.scores.resize(seen.len(), 0.0);
        let scores = &mut scratch.scores[..];
        for head in 0..self.config.heads_per_kv() {
            let head = kv_head * self.config.heads_per_kv() + head;
            let at = row * self.config.q_dim() + head * head_dim;
            let q = &q[at..at + head_dim];
            for (score, key) in scores.iter_mut().zip(keys.chunks_exact(head_dim)) {
                *score = vector::dot(q, key) * self.config.attention_scale;
            }
            if let Some(cap) = self.config.attention_softcap {
                vector::soft_cap(scores, cap);
            }
            vector::softmax(scores);
            let mixed = &mut mixed[at..at + head_dim];
            mixed.fill(0.0);
            for (share, value) in scores.iter().zip(values.chunks_exact(head_dim)) {
                vector::add_scaled(mixed, *share, value);
            }
        }
    }
}
