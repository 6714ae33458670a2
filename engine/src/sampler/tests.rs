//! Choices against a plain reference in `f64` that sorts everything, and what must never change.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn sampler(params: SamplerParams) -> Sampler {
    Sampler::new(params).expect("valid parameters")
}

fn hot(seed: u64) -> SamplerParams {
    SamplerParams {
        temperature: 1.0,
        seed,
        ..SamplerParams::GREEDY
    }
}

/// The choice after nothing.
fn id(params: &SamplerParams, logits: &[f32], index: usize) -> Result<u32, EngineError> {
    let mut logits = logits.to_vec();
    let history = vec![0; index];
    let choice = sampler(params.clone()).choose(&mut logits, &history, index, None);
    choice.map(|choice| choice.id)
}

/// The probability of every token by the definitions, in `f64`, sorting everything.
fn reference(params: &SamplerParams, logits: &[f32], history: &[u32], index: usize) -> Vec<f64> {
    let mut scores: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    for (id, bias) in &params.logit_bias {
        scores[*id as usize] += f64::from(*bias);
    }
    let window = &history[history
        .len()
        .saturating_sub(params.repetition_window as usize)..];
    let answer = &history[history.len() - index..];
    for (id, score) in scores.iter_mut().enumerate() {
        if window.contains(&(id as u32)) {
            let penalty = f64::from(params.repetition_penalty);
            *score = if *score > 0.0 {
                *score / penalty
            } else {
                *score * penalty
            };
        }
        let times = answer.iter().filter(|token| **token == id as u32).count();
        *score -= times as f64 * f64::from(params.frequency_penalty);
        *score -= f64::from(u8::from(times > 0)) * f64::from(params.presence_penalty);
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    let top = scores[order[0]];
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    let total: f64 = order.iter().map(|id| (scores[*id] - top).exp()).sum();
    let mut sum = 0.0;
    let mut kept = Vec::new();
    for id in order {
        let p = (scores[id] - top).exp() / total;
        if params.min_p > 0.0 && (scores[id] - top).exp() < f64::from(params.min_p) {
            break;
        }
        kept.push(id);
        sum += p;
        if params.top_p < 1.0 && sum >= f64::from(params.top_p) {
            break;
        }
    }
    let heat = f64::from(params.temperature);
    let weight = |id: usize| ((scores[id] - top) / heat).exp();
    let total: f64 = kept.iter().map(|id| weight(*id)).sum();
    let mut probabilities = vec![0.0; scores.len()];
    for id in kept {
        probabilities[id] = weight(id) / total;
    }
    probabilities
}

/// Draws many times and compares the counts with the reference, by chi-square.
fn check_distribution(params: &SamplerParams, logits: &[f32], prompt: &[u32], answer: &[u32]) {
    const DRAWS: u64 = 20_000;
    let history = [prompt, answer].concat();
    let expected = reference(params, logits, &history, answer.len());
    let mut counts = vec![0.0; logits.len()];
    for seed in 0..DRAWS {
        let sampler = sampler(SamplerParams {
            seed,
            ..params.clone()
        });
        let choice = sampler.choose(&mut logits.to_vec(), &history, answer.len(), None);
        counts[choice.expect("finite logits").id as usize] += 1.0;
    }
    let mut chi_square = 0.0;
    let mut freedom = -1.0;
    for (count, p) in counts.iter().zip(&expected) {
        assert!(*p > 0.0 || *count == 0.0, "drew what is cut: {params:?}");
        if *p > 0.0 {
            let mean = p * DRAWS as f64;
            chi_square += (count - mean).powi(2) / mean;
            freedom += 1.0;
        }
    }
    // Mean `freedom`, variance twice that: five standard deviations and a bit for small ones.
    let bound = freedom + 5.0 * (2.0_f64 * freedom).sqrt() + 5.0;
    assert!(chi_square <= bound, "{chi_square} over {bound}: {params:?}");
}

#[test]
fn draws_follow_the_reference_distribution() {
    let logits: Vec<f32> = (0..60)
        .map(|i| ((i * 37 % 60) as f32) / 12.0 - 2.0)
        .collect();
    let variants = [
        hot(0),
        SamplerParams {
            temperature: 0.7,
            ..hot(0)
        },
        SamplerParams {
            temperature: 1.8,
            top_k: 17,
            ..hot(0)
        },
        SamplerParams {
            top_p: 0.8,
            ..hot(0)
        },
        SamplerParams {
            top_k: 30,
            top_p: 0.6,
            temperature: 0.5,
            ..hot(0)
        },
        SamplerParams {
            min_p: 0.2,
            ..hot(0)
        },
        SamplerParams {
            repetition_penalty: 1.5,
            repetition_window: 4,
            frequency_penalty: 0.7,
            presence_penalty: -0.4,
            logit_bias: vec![(3, 4.0), (59, -3.0), (3, -1.0)],
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            ..hot(0)
        },
    ];
    for params in variants {
        check_distribution(&params, &logits, &[1, 2, 3], &[5, 5, 59, 8, 5]);
    }
}

#[test]
fn greedy_takes_the_lowest_of_equal_ids() {
    let greedy = SamplerParams::GREEDY;
    assert_eq!(id(&greedy, &[0.0, 3.0, 1.0, 3.0], 7), Ok(1));
    assert_eq!(id(&greedy, &[-0.0, 0.0], 7), Ok(0));
}

#[test]
fn refuses_parameters_by_name() {
    let refusal = |params: SamplerParams| match Sampler::new(params) {
        Err(EngineError::BadParameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    type Set = fn(&mut SamplerParams, f32);
    let cases: [(&str, Set, &[f32]); 7] = [
        ("temperature", |p, v| p.temperature = v, &[-0.1, 2.1]),
        ("top_p", |p, v| p.top_p = v, &[-0.1, 1.1]),
        ("min_p", |p, v| p.min_p = v, &[-0.1, 1.1]),
        (
            "repetition_penalty",
            |p, v| p.repetition_penalty = v,
            &[-1.0, 0.0, 10.1],
        ),
        (
            "frequency_penalty",
            |p, v| p.frequency_penalty = v,
            &[-2.1, 2.1],
        ),
        (
            "presence_penalty",
            |p, v| p.presence_penalty = v,
            &[-2.1, 2.1],
        ),
        (
            "logit_bias",
            |p, v| p.logit_bias = vec![(1, 0.0), (0, v)],
            &[-101.0, 101.0],
        ),
    ];
    for (name, set, values) in cases {
        let never = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for value in values.iter().chain(&never) {
            let mut params = SamplerParams::GREEDY;
            set(&mut params, *value);
            assert_eq!(refusal(params), name, "{value}");
        }
    }
    let mut params = SamplerParams::GREEDY;
    params.logprobs = Some(21);
    assert_eq!(refusal(params), "logprobs");
    let mut params = SamplerParams::GREEDY;
    params.logit_bias = vec![(0, 0.0); 301];
    assert_eq!(refusal(params), "logit_bias");
    let mut params = SamplerParams::GREEDY;
    params.repetition_window = 5_000;
    assert_eq!(refusal(params), "repetition_window");
}

#[test]
fn a_bias_for_a_token_that_is_not_there_is_refused() {
    let biased = sampler(SamplerParams {
        logit_bias: vec![(9, 1.0), (10, 1.0)],
        ..SamplerParams::GREEDY
    });
    assert_eq!(biased.check_vocabulary(11), Ok(()));
    let unknown = EngineError::UnknownToken {
        token: 10,
        vocab_size: 10,
    };
    assert_eq!(biased.check_vocabulary(10), Err(unknown));
}

#[test]
fn refuses_logits_that_are_not_numbers() {
    let expected = Err(EngineError::LogitsNotFinite { index: 3 });
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(id(&SamplerParams::GREEDY, &[0.0, bad], 3), expected);
        assert_eq!(id(&hot(1), &[bad, 0.0, 1.0], 3), expected);
    }
    assert_eq!(id(&hot(1), &[], 3), expected);
}

#[test]
fn a_draw_depends_on_seed_and_index_alone() {
    let logits: Vec<f32> = (0..50).map(|i| (i % 7) as f32).collect();
    let draw = |seed, index| id(&hot(seed), &logits, index);
    let forward: Vec<_> = (0..64).map(|i| draw(9, i)).collect();
    let backward: Vec<_> = (0..64).rev().map(|i| draw(9, i)).collect();
    assert!(forward.iter().eq(backward.iter().rev()));
    assert_ne!(forward, (0..64).map(|i| draw(10, i)).collect::<Vec<_>>());
}

#[test]
fn limits_cut_the_tail() {
    let logits = [0.1_f32.ln(), 0.6_f32.ln(), 0.3_f32.ln()];
    let seen = |top_k, top_p, min_p| {
        let params = SamplerParams {
            top_k,
            top_p,
            min_p,
            ..hot(5)
        };
        let mut seen: Vec<u32> = (0..500)
            .map(|i| id(&params, &logits, i).expect("finite"))
            .collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    assert_eq!(seen(0, 1.0, 0.0), [0, 1, 2]);
    assert_eq!(seen(2, 1.0, 0.0), [1, 2]);
    assert_eq!(seen(1, 1.0, 0.0), [1]);
    assert_eq!(seen(0, 0.61, 0.0), [1, 2]);
    assert_eq!(seen(0, 0.59, 0.0), [1]);
    assert_eq!(seen(0, 0.0, 0.0), [1]);
    assert_eq!(seen(0, 1.0, 0.4), [1, 2]);
    assert_eq!(seen(0, 1.0, 0.6), [1]);
    // top-p counts what top-k left: 0.6 of 0.9 is two thirds.
    assert_eq!(seen(2, 0.65, 0.0), [1]);
    assert_eq!(seen(2, 0.68, 0.0), [1, 2]);
}

#[test]
fn a_tiny_temperature_is_almost_greedy() {
    let cold = SamplerParams {
        temperature: 1e-30,
        ..hot(3)
    };
    assert!((0..100).all(|i| id(&cold, &[1.0, 1.5, 1.4], i) == Ok(1)));
    assert_eq!(id(&cold, &[f32::MIN, f32::MAX, 0.0], 0), Ok(1));
}

#[test]
fn penalties_look_where_they_should() {
    // Token 0 is in the prompt, token 1 in the answer, token 2 in neither.
    let logits = [1.2, 1.1, 1.0];
    let choice = |params: SamplerParams| {
        let choice = sampler(params).choose(&mut logits.to_vec(), &[0, 1], 1, None);
        choice.expect("finite").id
    };
    assert_eq!(choice(SamplerParams::GREEDY), 0);
    let repeated = SamplerParams {
        repetition_penalty: 2.0,
        ..SamplerParams::GREEDY
    };
    assert_eq!(choice(repeated.clone()), 2, "prompt and answer");
    let last_only = SamplerParams {
        repetition_window: 1,
        ..repeated.clone()
    };
    assert_eq!(choice(last_only), 0, "the last token only");
    let nothing = SamplerParams {
        repetition_window: 0,
        ..repeated
    };
    assert_eq!(choice(nothing), 0, "an empty window");
    let present = SamplerParams {
        presence_penalty: 2.0,
        logit_bias: vec![(0, -0.15)],
        ..SamplerParams::GREEDY
    };
    assert_eq!(choice(present), 0, "the answer only");
}

#[test]
fn negative_logits_are_multiplied_by_the_repetition_penalty() {
    let params = SamplerParams {
        repetition_penalty: 2.0,
        ..SamplerParams::GREEDY
    };
    let choice = sampler(params).choose(&mut [-1.0, -1.5], &[0], 0, None);
    assert_eq!(choice.expect("finite").id, 1);
}

#[test]
fn a_mask_is_obeyed_whatever_the_logits_say() {
    let mut allowed = TokenMask::none(70);
    for id in [3, 33, 69] {
        allowed.allow(id);
    }
    assert_eq!(allowed.ids().collect::<Vec<_>>(), [3, 33, 69]);
    assert_eq!(allowed.count(), 3);
    let logits: Vec<f32> = (0..70).map(|i| -(i as f32)).collect();
    let greedy = sampler(SamplerParams {
        logprobs: Some(2),
        ..SamplerParams::GREEDY
    });
    let choice = greedy.choose(&mut logits.clone(), &[], 0, Some(&allowed));
    let choice = choice.expect("one is allowed");
    assert_eq!(choice.id, 3);
    // Log probabilities are the model's, mask or no mask.
    let told = choice.logprobs.expect("asked for");
    assert_eq!(
        told.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [0, 1]
    );
    assert!((told.chosen - (told.top[0].1 - 3.0)).abs() < 1e-5);
    for limits in [(0, 1.0), (2, 1.0), (0, 0.9), (2, 0.9)] {
        let params = SamplerParams {
            top_k: limits.0,
            top_p: limits.1,
            temperature: 2.0,
            ..hot(3)
        };
        for index in 0..200 {
            let history = vec![0; index];
            let choice = sampler(params.clone()).choose(
                &mut logits.clone(),
                &history,
                index,
                Some(&allowed),
            );
            assert!(allowed.allows(choice.expect("allowed").id));
        }
    }
    let nothing = TokenMask::none(70);
    let refused = greedy.choose(&mut logits.clone(), &[], 4, Some(&nothing));
    assert_eq!(refused, Err(EngineError::NothingAllowed { index: 4 }));
}

#[test]
fn log_probabilities_are_of_the_models_own_logits() {
    let logits = [1.0, 3.0, 2.0, -4.0];
    let total: f64 = logits.iter().map(|x| libm::exp(f64::from(*x))).sum();
    let expected = |id: usize| (f64::from(logits[id]) - libm::log(total)) as f32;
    let params = SamplerParams {
        temperature: 0.1,
        logit_bias: vec![(3, 100.0)],
        presence_penalty: 2.0,
        logprobs: Some(3),
        ..hot(1)
    };
    let choice = sampler(params).choose(&mut logits.clone(), &[1, 1], 2, None);
    let choice = choice.expect("finite");
    assert_eq!(choice.id, 3);
    let told = choice.logprobs.expect("asked for");
    assert!((told.chosen - expected(3)).abs() < 1e-5);
    let ids: Vec<u32> = told.top.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [1, 2, 0]);
    for (id, logprob) in told.top {
        assert!((logprob - expected(id as usize)).abs() < 1e-5);
    }
    let silent = sampler(hot(1)).choose(&mut logits.clone(), &[], 0, None);
    assert_eq!(silent.expect("finite").logprobs, None);
}

/// Beyond the tokens that top-p looks at first, and with ties everywhere.
#[test]
fn top_p_of_a_flat_vocabulary_keeps_its_share() {
    let logits = vec![0.25; 20_000];
    for top_p in [0.01_f32, 0.1, 0.5, 0.9] {
        let limits = Limits {
            top_k: 0,
            top_p,
            min_p: 0.0,
        };
        let cut = limits.cut(&logits, 0.25);
        let kept = (0..20_000).filter(|id| cut.keeps(0.25, *id)).count();
        let expected = (f64::from(top_p) * 20_000.0).ceil() as usize;
        assert!(kept.abs_diff(expected) <= 1, "{top_p}: {kept}");
        assert!(cut.keeps(0.25, 0) && !cut.keeps(0.25, 19_999));
    }
}

fn arbitrary_logits() -> impl Strategy<Value = Vec<f32>> {
    // Few different values, so that ties are common.
    prop::collection::vec((-40_i32..40).prop_map(|x| x as f32 / 4.0), 1..3_000)
}

#[test]
fn what_no_recipe_can_say_has_none() {
    let told = SamplerParams {
        logprobs: Some(0),
        ..hot(1)
    };
    assert_eq!(sampler(told).recipe(&[1], 0, 1, None), None);
    let often = SamplerParams {
        frequency_penalty: 1.0,
        ..hot(1)
    };
    let most = MAX_ADJUSTMENTS as u32;
    let answer: Vec<u32> = (0..=most).collect();
    let of = |answer: &[u32]| sampler(often.clone()).recipe(answer, answer.len(), 1, None);
    assert_eq!(of(&answer), None);
    assert!(of(&answer[1..]).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn only_what_the_reference_keeps_is_drawn(
        logits in arbitrary_logits(),
        (top_k, top_p, min_p) in (0_u32..50, 0.05_f32..1.0, 0.0_f32..0.5),
        temperature in 0.1_f32..2.0,
        seed in any::<u64>(),
        answer in prop::collection::vec(0_u32..40, 0..20),
        repetition_penalty in 0.5_f32..2.0,
        frequency_penalty in -2.0_f32..2.0,
    ) {
        // Nudged off the steps that sums of equal weights make, where rounding decides.
        let top_p = top_p + 1e-5;
        let params = SamplerParams {
            temperature, top_k, top_p, min_p, seed, repetition_penalty, frequency_penalty,
            ..SamplerParams::GREEDY
        };
        let expected = reference(&params, &logits, &answer, answer.len());
        let choice = sampler(params)
            .choose(&mut logits.clone(), &answer, answer.len(), None)
            .expect("finite");
        let p = expected[choice.id as usize];
        prop_assert!(p > 0.0, "token {} of {:?}", choice.id, expected.iter().filter(|p| **p > 0.0).count());
    }

    #[test]
    fn the_likeliest_are_those_that_sorting_finds(
        logits in arbitrary_logits(),
        count in 0_usize..400,
    ) {
        let mut sorted: Vec<(f32, u32)> = logits.iter().copied().zip(0..).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        sorted.truncate(count);
        prop_assert_eq!(cut::likeliest(&logits, count), sorted);
    }

    #[test]
    fn no_logits_at_all_make_it_panic(
        bits in prop::collection::vec(any::<u32>(), 0..300),
        allowed in prop::collection::vec(0_u32..400, 0..50),
        (top_k, top_p, min_p) in (any::<u32>(), 0.0_f32..=1.0, 0.0_f32..=1.0),
        temperature in 0.0_f32..=2.0,
        history in prop::collection::vec(any::<u32>(), 0..30),
        index in 0_usize..40,
    ) {
        let mut logits: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        let finite = !logits.is_empty() && logits.iter().all(|logit| logit.is_finite());
        let mut mask = TokenMask::none(300);
        for id in allowed {
            mask.allow(id);
        }
        let params = SamplerParams {
            temperature, top_k, top_p, min_p,
            repetition_penalty: 1.3, frequency_penalty: 2.0, logprobs: Some(20),
            ..SamplerParams::GREEDY
        };
        match sampler(params).choose(&mut logits, &history, index, Some(&mask)) {
            Ok(choice) => prop_assert!(mask.allows(choice.id)),
            Err(EngineError::LogitsNotFinite { .. }) => prop_assert!(!finite),
            Err(EngineError::NothingAllowed { .. }) => {
                prop_assert!(mask.ids().all(|id| id as usize >= logits.len()));
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_recipe_chooses_as_its_sampler_does(
        logits in arbitrary_logits(),
        (top_k, top_p, min_p) in (0_u32..50, 0.0_f32..=1.0, 0.0_f32..0.5),
        temperature in 0.0_f32..2.0,
        seed in any::<u64>(),
        history in prop::collection::vec(any::<u32>(), 10..30),
        biases in prop::collection::btree_map(0_u32..400, -100.0_f32..100.0, 0..20),
        (repetition_penalty, frequency_penalty, presence_penalty)
            in (0.01_f32..10.0, -2.0_f32..2.0, -2.0_f32..2.0),
        allowed in prop::option::of(prop::collection::vec(0_u32..400, 1..50)),
    ) {
        let mut history: Vec<u32> = history;
        history.iter_mut().for_each(|id| *id %= 50);
        let mask = allowed.map(|ids| {
            let mut mask = TokenMask::none(400);
            ids.iter().for_each(|id| mask.allow(*id));
            mask
        });
        let sampler = sampler(SamplerParams {
            temperature, top_k, top_p, min_p, seed, repetition_penalty, frequency_penalty,
            presence_penalty, logit_bias: biases.into_iter().collect(),
            ..SamplerParams::GREEDY
        });
        let recipe = sampler.recipe(&history, 10, 2, mask.as_ref()).expect("few changes");
        prop_assert_eq!(recipe.steps(), 2);
        let choose = |index| sampler.choose(&mut logits.clone(), &history, index, mask.as_ref());
        match (recipe.choose(&mut logits.clone(), 0), choose(10)) {
            (Ok(id), Ok(choice)) => prop_assert_eq!(id, choice.id),
            (Err(_), Err(_)) => {}
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    #[test]
    fn a_mask_holds_what_was_put_in(ids in prop::collection::btree_set(0_u32..200, 0..60)) {
        let mut mask = TokenMask::none(150);
        ids.iter().for_each(|id| mask.allow(*id));
        let kept: Vec<u32> = ids.iter().copied().filter(|id| *id < 150).collect();
        prop_assert_eq!(mask.count(), kept.len());
        let found: BTreeMap<u32, bool> = (0..220).map(|id| (id, mask.allows(id))).collect();
        prop_assert!(found.iter().all(|(id, found)| *found == kept.contains(id)));
        prop_assert_eq!(mask.ids().collect::<Vec<_>>(), kept);
    }
}
