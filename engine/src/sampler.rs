//! Chooses the next token from logits: the likeliest, or a seeded draw.
//!
//! The draw for the answer's token `i` is a pure function of the seed and `i`: whoever continues
//! an answer from its token `i`, on whatever machine, draws the same number.

use crate::error::EngineError;

/// The largest temperature accepted; the OpenAI interface's bound.
pub const MAX_TEMPERATURE: f32 = 2.0;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerParams {
    /// 0 takes the likeliest token; up to [`MAX_TEMPERATURE`].
    pub temperature: f32,
    /// Draw among this many likeliest tokens; 0 is no limit.
    pub top_k: u32,
    /// Draw among the fewest likeliest tokens that together have this probability; 1 is no limit.
    pub top_p: f32,
    /// Two generations with one seed draw the same numbers.
    pub seed: u64,
}

impl SamplerParams {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        seed: 0,
    };
}

/// Parameters that have been checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    params: SamplerParams,
}

impl Sampler {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`EngineError::BadParameter`] for one that is out of range or not a number.
    pub fn new(params: SamplerParams) -> Result<Self, EngineError> {
        within("temperature", params.temperature, MAX_TEMPERATURE)?;
        within("top_p", params.top_p, 1.0)?;
        Ok(Self { params })
    }

    /// The answer's token number `index`, given the logits that follow what came before it.
    /// Equal logits go to the lower id.
    ///
    /// # Errors
    /// [`EngineError::LogitsNotFinite`] when there are none or one is infinite or not a number.
    pub fn sample(
        &self,
        logits: &[f32], /* (vocab_size) */
        index: usize,
    ) -> Result<u32, EngineError> {
        if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
            return Err(EngineError::LogitsNotFinite { index });
        }
        if self.params.temperature == 0.0 {
            return Ok(likeliest(logits));
        }
        let candidates = self.candidates(logits);
        let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
        let mut left = uniform(self.params.seed, index as u64) * total;
        for (id, weight) in &candidates {
            if left < *weight {
                return Ok(*id);
            }
            left -= weight;
        }
        // Rounding can leave a crumb beyond the last weight.
        Ok(candidates.last().map_or(0, |(id, _)| *id))
    }

    /// The tokens to draw among, likeliest first, with weights that are not normalised.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let by_logit = |a: &u32, b: &u32| {
            logits[*b as usize]
                .total_cmp(&logits[*a as usize])
                .then(a.cmp(b))
        };
        let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
        let top_k = self.params.top_k as usize;
        if top_k > 0 && top_k < ids.len() {
            ids.select_nth_unstable_by(top_k - 1, by_logit);
            ids.truncate(top_k);
        }
        ids.sort_unstable_by(by_logit);
        let max = f64::from(logits[ids[0] as usize]);
        let temperature = f64::from(self.params.temperature);
        let weight = |id: u32| libm::exp((f64::from(logits[id as usize]) - max) / temperature);
        let mut candidates: Vec<(u32, f64)> = ids.into_iter().map(|id| (id, weight(id))).collect();
        if self.params.top_p < 1.0 {
            let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
            let wanted = f64::from(self.params.top_p) * total;
            let mut sum = 0.0;
            let enough = candidates.iter().position(|(_, weight)| {
                sum += weight;
                sum >= wanted
            });
            candidates.truncate(enough.map_or(candidates.len(), |last| last + 1));
        }
        candidates
    }
}

fn within(name: &'static str, value: f32, max: f32) -> Result<(), EngineError> {
    if (0.0..=max).contains(&value) {
        return Ok(());
    }
    Err(EngineError::BadParameter {
        name,
        value: value.to_string(),
        expected: format!("between 0 and {max}"),
    })
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// A number in `[0, 1)` with 53 random bits that depends on nothing but its arguments.
fn uniform(seed: u64, index: u64) -> f64 {
    let bits = mix(mix(seed).wrapping_add(index.wrapping_mul(GOLDEN_GAMMA)));
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// 2^64 divided by the golden ratio, odd: SplitMix64's step between draws.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64's output function (Steele, Lea and Flood 2014, with Stafford's mix 13).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(GOLDEN_GAMMA);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_k: u32, top_p: f32, seed: u64) -> Sampler {
        Sampler::new(SamplerParams {
            temperature,
            top_k,
            top_p,
            seed,
        })
        .expect("valid parameters")
    }

    fn refusal(params: SamplerParams) -> &'static str {
        match Sampler::new(params) {
            Err(EngineError::BadParameter { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn greedy_takes_the_lowest_of_equal_ids() {
        let greedy = Sampler::new(SamplerParams::GREEDY).expect("valid parameters");
        assert_eq!(greedy.sample(&[0.0, 3.0, 1.0, 3.0], 7), Ok(1));
        assert_eq!(greedy.sample(&[-0.0, 0.0], 7), Ok(0));
    }

    #[test]
    fn refuses_parameters_by_name() {
        for temperature in [f32::NAN, -0.1, f32::INFINITY, 2.1] {
            assert_eq!(
                refusal(SamplerParams {
                    temperature,
                    ..SamplerParams::GREEDY
                }),
                "temperature"
            );
        }
        for top_p in [f32::NAN, -0.1, 1.1] {
            assert_eq!(
                refusal(SamplerParams {
                    top_p,
                    ..SamplerParams::GREEDY
                }),
                "top_p"
            );
        }
    }

    #[test]
    fn refuses_logits_that_are_not_numbers() {
        let expected = Err(EngineError::LogitsNotFinite { index: 3 });
        assert_eq!(
            sampler(0.0, 0, 1.0, 0).sample(&[0.0, f32::NAN], 3),
            expected
        );
        assert_eq!(
            sampler(1.0, 0, 1.0, 0).sample(&[f32::INFINITY], 3),
            expected
        );
        assert_eq!(sampler(1.0, 0, 1.0, 0).sample(&[], 3), expected);
    }

    #[test]
    fn a_draw_depends_on_seed_and_index_alone() {
        let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
        let draw = |seed, index| sampler(1.0, 0, 1.0, seed).sample(&logits, index);
        let forward: Vec<_> = (0..64).map(|i| draw(9, i)).collect();
        let backward: Vec<_> = (0..64).rev().map(|i| draw(9, i)).collect();
        assert!(forward.iter().eq(backward.iter().rev()));
        assert_ne!(forward, (0..64).map(|i| draw(10, i)).collect::<Vec<_>>());
    }

    /// The published SplitMix64 sequence for the seed 1234567.
    #[test]
    fn mixes_as_splitmix64_does() {
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        for (i, expected) in expected.into_iter().enumerate() {
            assert_eq!(
                mix(1_234_567_u64.wrapping_add(GOLDEN_GAMMA.wrapping_mul(i as u64))),
                expected
            );
        }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        // Probabilities 0.5, 0.3, 0.2; 20,000 draws have a standard deviation of 71 at most.
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        let sampler = sampler(1.0, 0, 1.0, 42);
        let mut counts = [0_i32; 3];
        for index in 0..20_000 {
            counts[sampler.sample(&logits, index).expect("finite logits") as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([10_000, 6_000, 4_000]) {
            assert!((count - expected).abs() < 5 * 71, "{counts:?}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let logits = [0.1_f32.ln(), 0.6_f32.ln(), 0.3_f32.ln()];
        let seen = |top_k, top_p| {
            let sampler = sampler(1.0, top_k, top_p, 5);
            let mut seen: Vec<u32> = (0..500)
                .map(|i| sampler.sample(&logits, i).expect("finite"))
                .collect();
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        assert_eq!(seen(0, 1.0), [0, 1, 2]);
        assert_eq!(seen(2, 1.0), [1, 2]);
        assert_eq!(seen(1, 1.0), [1]);
        assert_eq!(seen(0, 0.61), [1, 2]);
        assert_eq!(seen(0, 0.59), [1]);
        assert_eq!(seen(0, 0.0), [1]);
    }

    #[test]
    fn a_tiny_temperature_is_almost_greedy() {
        let logits = [1.0, 1.5, 1.4];
        assert!((0..100).all(|i| sampler(1e-30, 0, 1.0, 3).sample(&logits, i) == Ok(1)));
    }
}
