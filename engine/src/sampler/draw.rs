//! Random numbers that depend on nothing but a seed and a place.

/// A number in `[0, 1)` with 53 random bits that depends on nothing but its arguments.
pub(super) fn uniform(seed: u64, index: u64) -> f64 {
    let bits = mix(mix(seed).wrapping_add(index.wrapping_mul(GOLDEN_GAMMA)));
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The seed of choice number `choice` of a request for several answers to one prompt.
///
/// Choice 0 has the request's own seed, so that asking for one answer or for several gives the
/// same first one. Choice `c > 0` has `mix(seed ^ mix(c))`, where `mix` is SplitMix64's first
/// output for a seed.
pub fn choice_seed(seed: u64, choice: u32) -> u64 {
    if choice == 0 {
        return seed;
    }
    mix(seed ^ mix(u64::from(choice)))
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
    fn the_first_choice_has_the_seed_itself_and_the_others_have_their_own() {
        assert_eq!(choice_seed(99, 0), 99);
        let mut seeds: Vec<u64> = (0..4)
            .flat_map(|seed| (0..128).map(move |choice| choice_seed(seed, choice)))
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 4 * 128);
    }
}
