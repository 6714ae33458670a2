//! Every query head of every row over the positions that the row sees.

use super::cache::Cache;
use super::kernel;
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

impl Attention<'_> {
    pub(super) fn apply(
        &self,
        q: &[f32],         // (rows, n_heads, head_dim)
        mixed: &mut [f32], // (rows, n_heads, head_dim)
    ) {
        let q_dim = self.config.q_dim();
        let head_dim = self.config.head_dim;
        let mut scores = Vec::new();
        let rows = q.chunks_exact(q_dim).zip(mixed.chunks_exact_mut(q_dim));
        for (row, (q, mixed)) in rows.enumerate() {
            let sequence = &self.pass.sequences[self.pass.rows[row].sequence as usize];
            let places: Vec<usize> = self
                .pass
                .seen(row, self.window, self.config.is_causal())
                .map(|position| sequence.place(position))
                .collect();
            scores.resize(places.len(), 0.0);
            let heads = q
                .chunks_exact(head_dim)
                .zip(mixed.chunks_exact_mut(head_dim));
            for (head, (q, mixed)) in heads.enumerate() {
                let first = head / self.config.heads_per_kv() * head_dim;
                self.attend(q, first, &places, &mut scores, mixed);
            }
        }
    }

    /// One query head.
    fn attend(
        &self,
        q: &[f32],    // (head_dim)
        first: usize, // first channel of the key and value head
        places: &[usize],
        scores: &mut [f32], // (places), scratch
        mixed: &mut [f32],  // (head_dim)
    ) {
        let kv_dim = self.config.kv_dim();
        let keys = self.cache.keys(self.layer);
        let values = self.cache.values(self.layer);
        let mut max = f32::NEG_INFINITY;
        for (score, place) in scores.iter_mut().zip(places) {
            let at = place * kv_dim + first;
            *score = kernel::dot(q, &keys[at..at + q.len()]) * self.config.attention_scale;
            if let Some(cap) = self.config.attention_softcap {
                *score = cap * libm::tanhf(*score / cap);
            }
            max = max.max(*score);
        }
        let mut sum = 0.0;
        for score in scores.iter_mut() {
            *score = libm::expf(*score - max);
            sum += *score;
        }
        mixed.fill(0.0);
        for (score, place) in scores.iter().zip(places) {
            let at = place * kv_dim + first;
            kernel::add_scaled(mixed, *score / sum, &values[at..at + q.len()]);
        }
    }
}
