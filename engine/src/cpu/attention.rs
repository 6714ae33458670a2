//! Every query head of every row over the positions that the row sees.
//!
//! The cache is read a head of a page at a time, widened once for all queries that share it.
//! Scores are sums over channels, one after another; mixtures are sums over positions, one after
//! another: the same bits whatever rows are computed together.

use std::ops::Range;

use super::cache::Cache;
use super::vector;
use crate::config::ModelConfig;
use crate::pass::{PAGE_LEN, Pass};

/// queries; that are computed together, each with a score for every position that one of them sees.
const MAX_QUERIES: usize = 64;

/// queries; whose running sums fit a machine's registers.
const TILE: usize = 4;

/// One attention operation of a plan.
pub(super) struct Attention<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) pass: &'a Pass,
    pub(super) layer: usize,
    pub(super) window: Option<usize>,
    pub(super) cache: &'a Cache,
}

/// A query head of a row.
struct Query {
    /// Where its channels begin, in queries and mixtures alike.
    at: usize,
    /// Positions that it sees.
    seen: Range<usize>,
}

/// Room for a few queries of one key and value head, kept between operations.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    page: Vec<f32>,    // (head_dim, PAGE_LEN) or (PAGE_LEN, head_dim)
    queries: Vec<f32>, // (queries, head_dim)
    scores: Vec<f32>,  // (queries, positions)
    mixed: Vec<f32>,   // (queries, head_dim)
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
            for kv_head in 0..self.config.n_kv_heads {
                let queries: Vec<Query> = (rows.iter())
                    .flat_map(|row| self.queries(*row, kv_head))
                    .collect();
                for queries in queries.chunks(MAX_QUERIES) {
                    self.attend(sequence, kv_head, queries, q, mixed, scratch);
                }
            }
        }
    }

    /// The query heads of a row that share a key and value head.
    fn queries(&self, row: usize, kv_head: usize) -> impl Iterator<Item = Query> {
        let seen = self.pass.seen(row, self.window, self.config.is_causal());
        let n_heads = self.config.heads_per_kv();
        let first = row * self.config.q_dim() + kv_head * n_heads * self.config.head_dim;
        let head_dim = self.config.head_dim;
        (0..n_heads).map(move |head| Query {
            at: first + head * head_dim,
            seen: seen.clone(),
        })
    }

    fn attend(
        &self,
        sequence: usize,
        kv_head: usize,
        queries: &[Query],
        q: &[f32],
        mixed: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let head_dim = self.config.head_dim;
        let first = queries.iter().map(|it| it.seen.start).min().unwrap_or(0) / PAGE_LEN;
        let end = queries.iter().map(|it| it.seen.end).max().unwrap_or(0);
        let end = end.div_ceil(PAGE_LEN);
        let pages = &self.pass.sequences[sequence].pages[first..end];
        let span = pages.len() * PAGE_LEN;
        scratch.page.resize(head_dim * PAGE_LEN, 0.0);
        scratch.queries.clear();
        for query in queries {
            let channels = &q[query.at..query.at + head_dim];
            scratch.queries.extend_from_slice(channels);
        }
        scratch.scores.clear();
        scratch.scores.resize(queries.len() * span, 0.0);
        for (i, page) in pages.iter().enumerate() {
            let keys = &mut scratch.page;
            self.cache.read_keys(self.layer, *page, kv_head, keys);
            vector::add_products(
                queries.len(),
                PAGE_LEN,
                (&mut scratch.scores[i * PAGE_LEN..], span),
                (&scratch.queries, head_dim),
                keys,
            );
        }
        let offset = first * PAGE_LEN;
        for (scores, query) in scratch.scores.chunks_exact_mut(span).zip(queries) {
            self.share_out(&mut scores[query.seen.start - offset..query.seen.end - offset]);
        }
        scratch.mixed.clear();
        scratch.mixed.resize(queries.len() * head_dim, 0.0);
        for (i, page) in pages.iter().enumerate() {
            let values = &mut scratch.page;
            self.cache.read_values(self.layer, *page, kv_head, values);
            let shares = &scratch.scores[i * PAGE_LEN..];
            self.mix(
                queries,
                offset + i * PAGE_LEN,
                (shares, span),
                values,
                &mut scratch.mixed,
            );
        }
        for (found, query) in scratch.mixed.chunks_exact(head_dim).zip(queries) {
            mixed[query.at..query.at + head_dim].copy_from_slice(found);
        }
    }

    /// Makes shares of the scores of the positions that a query sees.
    fn share_out(&self, scores: &mut [f32]) {
        for score in &mut *scores {
            *score *= self.config.attention_scale;
        }
        if let Some(cap) = self.config.attention_softcap {
            vector::soft_cap(scores, cap);
        }
        vector::softmax(scores);
    }

    /// Adds what every query takes of a page whose first position is `offset`. Queries are taken
    /// together over the positions that all of them see.
    fn mix(
        &self,
        queries: &[Query],
        offset: usize,
        (shares, span): (&[f32], usize),
        values: &[f32],    // (PAGE_LEN, head_dim)
        mixed: &mut [f32], // (queries, head_dim)
    ) {
        let head_dim = self.config.head_dim;
        let in_page = |at: usize| at.saturating_sub(offset).min(PAGE_LEN);
        let mut add = |first: usize, n: usize, positions: Range<usize>| {
            if n > 0 && !positions.is_empty() {
                let values = &values[positions.start * head_dim..positions.end * head_dim];
                let mixed = &mut mixed[first * head_dim..];
                let shares = &shares[first * span + positions.start..];
                vector::add_products(n, head_dim, (mixed, head_dim), (shares, span), values);
            }
        };
        for (tile, queries) in queries.chunks(TILE).enumerate() {
            let first = tile * TILE;
            let seen = |query: &Query| in_page(query.seen.start)..in_page(query.seen.end);
            let start = queries.iter().map(|it| seen(it).start).max().unwrap_or(0);
            let end = queries.iter().map(|it| seen(it).end).min().unwrap_or(0);
            if start >= end {
                for (i, query) in queries.iter().enumerate() {
                    add(first + i, 1, seen(query));
                }
                continue;
            }
            for (i, query) in queries.iter().enumerate() {
                add(first + i, 1, seen(query).start..start);
            }
            add(first, queries.len(), start..end);
            for (i, query) in queries.iter().enumerate() {
                add(first + i, 1, end..seen(query).end);
            }
        }
    }
}
