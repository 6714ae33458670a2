//! Where the likeliest tokens end and the tail that is never drawn begins: top-k, top-p, min-p.
//!
//! All three keep the front of the tokens in order of likelihood, so what they agree on is one
//! place in that order. It is found by selection; nothing sorts a vocabulary.

use std::cmp::Ordering;

use super::weights;
use crate::cpu::vector::exp;

/// A token's score and id.
pub(super) type Scored = (f32, u32);

/// The last token that is kept, in order of likelihood; equal scores go by id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut(Scored);

/// Cuts nothing off but what has negative infinity for a score.
pub(super) const KEEP_ALL: Cut = Cut((f32::MIN, u32::MAX));

/// Tokens that top-p looks at first: nearly always they hold enough of the probability.
const FIRST_NUCLEUS: usize = 1_024;

/// Probabilities are added up as whole numbers of this fraction, so that the order of the
/// additions cannot matter; 2^17 tokens of weight 1 fit in 2^64 and to spare.
const MASS_UNIT: f64 = (1_u64 << 40) as f64;

/// Scores compared at once while looking for the likeliest.
const CHUNK: usize = 16;

impl Cut {
    /// True for a token at or before the cut.
    #[inline]
    pub(super) fn keeps(self, score: f32, id: u32) -> bool {
        let Cut((last, last_id)) = self;
        score > last || (score == last && id <= last_id)
    }

    fn earlier(self, other: Self) -> Self {
        match likelier_first(&self.0, &other.0) {
            Ordering::Greater => other,
            Ordering::Equal | Ordering::Less => self,
        }
    }
}

/// The three limits, as [`super::SamplerParams`] has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limits {
    pub(crate) top_k: u32,
    pub(crate) top_p: f32,
    pub(crate) min_p: f32,
}

impl Limits {
    /// Where `scores` are cut. `max` is the highest of them and finite; negative infinity marks
    /// tokens that are out already.
    pub(super) fn cut(self, scores: &[f32], max: f32) -> Cut {
        let top_k = self.top_k as usize;
        let mut cut = KEEP_ALL;
        if top_k > 0 && top_k < scores.len() {
            let front = likeliest(scores, top_k);
            if self.top_p < 1.0 {
                let total = front.iter().map(|(score, _)| mass(*score, max)).sum();
                cut = cut.earlier(nucleus_of_sorted(&front, max, share(self.top_p, total)));
            }
            cut = cut.earlier(Cut(front[front.len() - 1]));
        } else if self.top_p < 1.0 {
            cut = cut.earlier(nucleus(scores, max, self.top_p));
        }
        if self.min_p > 0.0 {
            // p >= min_p * p_max, in logarithms; all ids of the last score stay.
            cut = cut.earlier(Cut((max + libm::logf(self.min_p), u32::MAX)));
        }
        cut
    }
}

fn likelier_first(a: &Scored, b: &Scored) -> Ordering {
    b.0.partial_cmp(&a.0)
        .unwrap_or(Ordering::Equal)
        .then(a.1.cmp(&b.1))
}

/// The `count` likeliest tokens, likeliest first; fewer where fewer have a finite score.
pub(super) fn likeliest(scores: &[f32], count: usize) -> Vec<Scored> {
    if count == 0 {
        return Vec::new();
    }
    let room = (2 * count).max(256);
    let mut front: Vec<Scored> = Vec::with_capacity(room.min(scores.len()));
    // Ids ascend, so a score that only equals the last of the front comes after it.
    let mut floor = f32::NEG_INFINITY;
    for (place, chunk) in scores.chunks(CHUNK).enumerate() {
        if !chunk
            .iter()
            .fold(false, |any, score| any | (*score > floor))
        {
            continue;
        }
        for (offset, score) in chunk.iter().enumerate() {
            if *score > floor {
                front.push((*score, (place * CHUNK + offset) as u32));
                if front.len() == room {
                    front.select_nth_unstable_by(count - 1, likelier_first);
                    front.truncate(count);
                    floor = front[count - 1].0;
                }
            }
        }
    }
    front.sort_unstable_by(likelier_first);
    front.truncate(count);
    front
}

/// A token's weight as a whole number of [`MASS_UNIT`]s.
fn mass(score: f32, max: f32) -> u64 {
    (f64::from(exp(score - max)) * MASS_UNIT) as u64
}

fn share(top_p: f32, total: u64) -> u64 {
    (f64::from(top_p) * total as f64) as u64
}

/// The end of the fewest likeliest tokens of `front`, sorted, that weigh `wanted` together.
fn nucleus_of_sorted(front: &[Scored], max: f32, wanted: u64) -> Cut {
    let mut sum = 0;
    let last = front.iter().position(|(score, _)| {
        sum += mass(*score, max);
        sum >= wanted
    });
    last.map_or(KEEP_ALL, |last| Cut(front[last]))
}

/// The end of the fewest likeliest of all tokens that have the probability `top_p` together.
fn nucleus(scores: &[f32], max: f32, top_p: f32) -> Cut {
    let total = (weights::sum_of_weights(scores, max) * MASS_UNIT) as u64;
    let wanted = share(top_p, total);
    let front = likeliest(scores, FIRST_NUCLEUS);
    let of_front = nucleus_of_sorted(&front, max, wanted);
    if of_front != KEEP_ALL {
        return of_front;
    }
    let held: u64 = front.iter().map(|(score, _)| mass(*score, max)).sum();
    let last = Cut(front[front.len() - 1]);
    let mut tail: Vec<Scored> = (0_u32..)
        .zip(scores)
        .filter(|(id, score)| score.is_finite() && !last.keeps(**score, *id))
        .map(|(id, score)| (*score, id))
        .collect();
    nucleus_of_unsorted(&mut tail, max, wanted - held)
}

/// As [`nucleus_of_sorted`], by halving: the half that holds the end is looked at again.
fn nucleus_of_unsorted(mut tokens: &mut [Scored], max: f32, mut wanted: u64) -> Cut {
    while tokens.len() > 1 {
        let middle = tokens.len() / 2;
        tokens.select_nth_unstable_by(middle, likelier_first);
        let (likelier, rest) = tokens.split_at_mut(middle);
        let held: u64 = likelier.iter().map(|(score, _)| mass(*score, max)).sum();
        if held >= wanted {
            tokens = likelier;
        } else {
            wanted -= held;
            tokens = rest;
        }
    }
    tokens.first().map_or(KEEP_ALL, |token| Cut(*token))
}
