//! Exponentials for a whole vocabulary: fast, and the same bits on every machine.

/// Scores whose sums are kept apart, so that additions need not wait for each other; the order of
/// the additions is part of the result.
const LANES: usize = 8;

/// Below this, `exp` is less than the smallest normal `f32`; it counts as 0.
const LOWEST_EXPONENT: f32 = -87.0;

/// 1.5 * 2^23: adding it rounds to a whole number, which then stands in the lowest bits.
const ROUNDER: f32 = 12_582_912.0;

/// ln 2 in two parts, the first exact in few bits, so that `x - n * ln 2` loses nothing.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// e to the power of `x`, which is at most 0, within 4 units in the last place; 0 below
/// [`LOWEST_EXPONENT`]. No table, no branch, no fused multiply-add: compilers make vectors of it,
/// and every machine gives the same bits.
#[inline]
pub(super) fn exp_of_at_most_zero(x: f32) -> f32 {
    let clamped = x.max(LOWEST_EXPONENT);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    // e^r for |r| <= ln(2) / 2, by its Taylor series to the 7th power: the rest is below 2^-27.
    let mut p = 1.0 / 5_040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < LOWEST_EXPONENT { 0.0 } else { p * scale }
}

/// `exp((score - max) / temperature)` in the place of every score. `max` is the highest of them.
pub(super) fn to_weights(scores: &mut [f32], max: f32, temperature: f32) {
    for score in scores {
        *score = exp_of_at_most_zero((*score - max) / temperature);
    }
}

/// The sum of `exp(score - max)` over all scores. `max` is the highest of them.
pub(super) fn sum_of_weights(scores: &[f32], max: f32) -> f64 {
    let mut sums = [0.0_f64; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest: f64 = chunks
        .remainder()
        .iter()
        .map(|score| f64::from(exp_of_at_most_zero(score - max)))
        .sum();
    for chunk in chunks {
        for (sum, score) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(exp_of_at_most_zero(score - max));
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

/// The highest of `scores`; negative infinity where there are none.
pub(super) fn max(scores: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder();
    let higher = |a: f32, b: f32| if b > a { b } else { a };
    for chunk in chunks {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *lane = higher(*lane, *score);
        }
    }
    lanes
        .into_iter()
        .chain(rest.iter().copied())
        .fold(f32::NEG_INFINITY, higher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_within_four_units_in_the_last_place() {
        for step in 0..=870_000 {
            let x = -(step as f32) * 1e-4;
            let found = exp_of_at_most_zero(x);
            let expected = libm::exp(f64::from(x));
            let unit = expected * f64::from(f32::EPSILON);
            assert!((f64::from(found) - expected).abs() <= 4.0 * unit, "{x}");
        }
        assert_eq!(exp_of_at_most_zero(0.0), 1.0);
        for far in [-87.1, -1e30, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp_of_at_most_zero(far), 0.0);
        }
    }

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
