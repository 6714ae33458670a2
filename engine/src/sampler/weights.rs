//! Sums and exponentials over a whole vocabulary: fast, and the same bits on every machine.

pub(super) use crate::cpu::vector::max;

use crate::cpu::vector::exp;

/// Scores whose sums are kept apart, so that additions need not wait for each other; the order of
/// the additions is part of the result.
const LANES: usize = 8;

/// `exp((score - max) / temperature)` in the place of every score. `max` is the highest of them.
pub(super) fn to_weights(scores: &mut [f32], max: f32, temperature: f32) {
    for score in scores {
        *score = exp((*score - max) / temperature);
    }
}

/// The sum of `exp(score - max)` over all scores. `max` is the highest of them.
pub(super) fn sum_of_weights(scores: &[f32], max: f32) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest: f64 = chunks
        .remainder()
        .iter()
        .map(|score| f64::from(exp(score - max)))
        .sum();
    for chunk in chunks {
        for (sum, score) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(exp(score - max));
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The sum of `weights`.
pub(super) fn sum(weights: &[f32]) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let chunks = weights.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().copied().map(f64::from).sum();
    for chunk in chunks {
        for (sum, weight) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*weight);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_maxima_reach_every_element() {
        for len in 1..40 {
            let scores: Vec<f32> = (0..len).map(|i| -((i * 7 % 13) as f32)).collect();
            let expected: f64 = scores.iter().map(|x| libm::exp(f64::from(*x))).sum();
            assert!((sum_of_weights(&scores, 0.0) - expected).abs() < 1e-6 * expected);
            assert_eq!(
                sum(&scores),
                scores.iter().copied().map(f64::from).sum::<f64>()
            );
            for place in 0..len {
                let mut peaked = scores.clone();
                peaked[place] = 5.0;
                assert_eq!(max(&peaked), 5.0);
            }
        }
    }
}
