//! Tokens drawn by kernels against those that the CPU draws of the same logits.
//!
//! Both cut the same tokens off and walk the rest in the same order; what may differ is a sum of
//! exponentials in its last bits. So the number drawn and the share of top-p are moved by
//! [`BOUNDARY`] either way, and the kernels' token has to be among those that the CPU then draws.

use super::Bench;
use crate::gpu::drawing::{Drawing, Ends};
use crate::gpu::test_device::Noise;
use crate::sampler::{Recipe, Sampler, SamplerParams, TokenMask};

/// Of all probability. An exponential is right to 2^-22, and its argument, a quotient of up to 64,
/// to as much of itself: 2^-16 of a weight that is e^-64, 2^-20 of one that matters.
const BOUNDARY: f64 = 1.0 / (1 << 19) as f64;

/// Vocabularies with tails, one tile, several, and as many as there are.
const VOCABS: [usize; 8] = [1, 2, 63, 257, 1_025, 5_003, 49_152, 262_147];

fn drawn(bench: &Bench, rows: &[Vec<f32>], recipes: &[Recipe]) -> Vec<u32> {
    let device = &bench.device;
    let (logits, ids) = (
        bench.floats(&rows.concat()),
        bench.words(&vec![7; rows.len()]),
    );
    let ends = Ends {
        logits: &logits,
        cols: rows[0].len(),
        ids: &ids,
    };
    let made = Drawing::for_recipes(None, device, &bench.kernels, ends, recipes);
    let drawing = pollster::block_on(made).expect("test buffers are small");
    let needs = drawing.set(&device.queue, recipes, 1);
    let mut encoder = device.encoder();
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        if let Some((dispatch, changes)) = drawing.changes(needs) {
            dispatch.record(&mut pass, changes);
        }
        for dispatch in drawing.dispatches(needs, 0) {
            dispatch.record(&mut pass, rows.len() as u32);
        }
    }
    device.queue.submit([encoder.finish()]);
    bench.read(&ids, rows.len())
}

/// What the CPU makes of `recipe` with another number and another share.
fn moved(recipe: &Recipe, logits: &[f32], by: f64, share_by: f64) -> u32 {
    let mut moved = recipe.clone();
    moved.uniforms[0] = (moved.uniforms[0] + by).clamp(0.0, 1.0 - f64::EPSILON);
    if moved.limits.top_p < 1.0 {
        let top_p = f64::from(moved.limits.top_p) + share_by;
        moved.limits.top_p = top_p.clamp(0.0, 1.0 - f64::from(f32::EPSILON)) as f32;
    }
    moved
        .choose(&mut logits.to_vec(), 0)
        .expect("it can choose")
}

/// Whether the CPU draws `got` too: exactly, or to within [`BOUNDARY`].
#[track_caller]
fn check(recipe: &Recipe, logits: &[f32], got: u32) -> bool {
    let want = moved(recipe, logits, 0.0, 0.0);
    let near = [-BOUNDARY, 0.0, BOUNDARY].into_iter().any(|share_by| {
        let first = moved(recipe, logits, -BOUNDARY, share_by);
        (first..=moved(recipe, logits, BOUNDARY, share_by)).contains(&got)
    });
    assert!(
        near,
        "{got} is not {want}, of {} tokens by {:?} at {} with {} changes",
        logits.len(),
        recipe.limits,
        recipe.temperature,
        recipe.adjustments.len()
    );
    got == want
}

fn recipe(params: SamplerParams, history: &[u32], answer: usize) -> Recipe {
    let sampler = Sampler::new(params).expect("good parameters");
    let recipe = sampler.recipe(history, answer, 1, None);
    recipe.expect("nothing is asked for that kernels cannot do")
}

fn hot(seed: u64) -> SamplerParams {
    SamplerParams {
        temperature: 1.0,
        seed,
        ..SamplerParams::GREEDY
    }
}

fn pick<T: Copy>(noise: &mut Noise, of: &[T]) -> T {
    of[noise.between(0, of.len() - 1)]
}

/// Parameters from everywhere in their ranges, and the ends of these.
fn any_params(noise: &mut Noise, cols: usize) -> SamplerParams {
    let biases = pick(noise, &[0, 0, 3, 300]);
    SamplerParams {
        temperature: pick(noise, &[0.0, 1e-45, 1e-30, 1e-3, 0.3, 0.7, 1.0, 1.4, 2.0]),
        top_k: pick(noise, &[0, 0, 1, 2, 5, 40, 1_000, u32::MAX]),
        top_p: pick(
            noise,
            &[1.0, 1.0, 0.0, 1e-7, 0.1, 0.5, 0.9, 0.95, 0.999_999],
        ),
        min_p: pick(noise, &[0.0, 0.0, 1e-45, 1e-6, 0.05, 0.5, 1.0]),
        repetition_penalty: pick(noise, &[1.0, 1.0, 0.01, 1.1, 10.0]),
        repetition_window: pick(noise, &[0, 64, 4_096]),
        frequency_penalty: pick(noise, &[0.0, 0.0, 0.5, -2.0, 2.0]),
        presence_penalty: pick(noise, &[0.0, 0.0, 1.5, -2.0]),
        logit_bias: (0..biases)
            .map(|_| (noise.between(0, cols - 1) as u32, noise.float(100.0)))
            .collect(),
        seed: noise.word(),
        logprobs: None,
    }
}

/// Logits of several kinds: spread, all but equal, equal, with ties, huge.
fn any_logits(noise: &mut Noise, cols: usize) -> Vec<f32> {
    let scale = pick(noise, &[0.0, 1e-30, 0.01, 1.0, 5.0, 30.0, 3e38]);
    let mut logits = noise.floats(cols, scale);
    match noise.between(0, 3) {
        0 => logits
            .iter_mut()
            .for_each(|it| *it = (*it * 2.0).trunc() / 2.0),
        1 => logits.iter_mut().for_each(|it| *it = -it.abs()),
        2 => {
            let at = noise.between(0, cols - 1);
            logits[at] = 40.0;
        }
        _ => {}
    }
    logits
        .iter_mut()
        .for_each(|it| *it = it.clamp(f32::MIN, f32::MAX));
    logits
}

#[test]
fn drawn_tokens_are_those_of_the_cpu() {
    let Some(bench) = Bench::new() else { return };
    let mut noise = Noise(700);
    let (mut same, mut all) = (0, 0);
    for cols in VOCABS {
        let rounds = if cols > 10_000 { 4 } else { 24 };
        for _ in 0..rounds {
            let count = noise.between(1, 3);
            let rows: Vec<Vec<f32>> = (0..count).map(|_| any_logits(&mut noise, cols)).collect();
            let history: Vec<u32> = (0..100)
                .map(|_| noise.between(0, cols - 1) as u32)
                .collect();
            let recipes: Vec<Recipe> = (0..count)
                .map(|_| recipe(any_params(&mut noise, cols), &history, 37))
                .collect();
            let got = drawn(&bench, &rows, &recipes);
            for ((row, recipe), got) in rows.iter().zip(&recipes).zip(got) {
                same += usize::from(check(recipe, row, got));
                all += 1;
            }
        }
    }
    // Numbers that fall on a boundary are as rare as the boundaries are narrow.
    assert!(same * 200 >= all * 199, "{same} of {all} are the same");
}

#[test]
fn cuts_between_equals_keep_the_lower_ids() {
    let Some(bench) = Bench::new() else { return };
    for cols in [70, 5_003] {
        // Every third token has one score, every other a lower one.
        let logits: Vec<f32> = (0..cols)
            .map(|at| f32::from(u8::from(at % 3 == 1)))
            .collect();
        let kept = |params: SamplerParams| -> Vec<u32> {
            let recipes: Vec<Recipe> = (0..32)
                .map(|at| {
                    let mut recipe = recipe(params.clone(), &[], 0);
                    recipe.uniforms[0] = (f64::from(at) + 0.5) / 32.0;
                    recipe
                })
                .collect();
            let mut ids = drawn(&bench, &vec![logits.clone(); 32], &recipes);
            ids.dedup();
            ids
        };
        let top_k = |top_k| SamplerParams { top_k, ..hot(0) };
        assert_eq!(kept(top_k(1)), [1]);
        assert_eq!(kept(top_k(5)), [1, 4, 7, 10, 13]);
        // Half of five of one weight.
        let both = SamplerParams {
            top_p: 0.5,
            ..top_k(5)
        };
        assert_eq!(kept(both), [1, 4, 7]);
        let min_p = SamplerParams {
            min_p: 1.0,
            ..top_k(4)
        };
        assert_eq!(kept(min_p), [1, 4, 7, 10]);
        let tiny = SamplerParams {
            top_p: 0.0,
            ..hot(0)
        };
        assert_eq!(kept(tiny), [1]);
    }
}

#[test]
fn only_allowed_tokens_are_drawn() {
    let Some(bench) = Bench::new() else { return };
    let mut noise = Noise(720);
    for cols in [31, 33, 5_003] {
        // A tokenizer may know more tokens than the model, or fewer.
        for (known, count) in [(cols, 1), (cols + 40, 2), (cols - 30, 9), (cols, cols / 2)] {
            let mut allowed = TokenMask::none(known);
            for _ in 0..count {
                allowed.allow(noise.between(0, known.min(cols) - 1) as u32);
            }
            if known > cols {
                (cols..known).for_each(|id| allowed.allow(id as u32));
            }
            let logits = noise.floats(cols, 9.0);
            let recipes: Vec<Recipe> = [hot(3), hot(4), SamplerParams::GREEDY, hot(5)]
                .into_iter()
                .enumerate()
                .map(|(at, params)| {
                    let params = SamplerParams {
                        top_k: 1 + count as u32,
                        top_p: 0.9,
                        ..params
                    };
                    // One row without, so that places of sets and of rows differ.
                    let set = (at != 1).then_some(&allowed);
                    let sampler = Sampler::new(params).expect("good parameters");
                    sampler.recipe(&[], 0, 1, set).expect("kernels can")
                })
                .collect();
            let got = drawn(&bench, &vec![logits.clone(); 4], &recipes);
            for (recipe, got) in recipes.iter().zip(got) {
                check(recipe, &logits, got);
                assert!(recipe.allowed.as_ref().is_none_or(|set| set.allows(got)));
            }
        }
    }
}

#[test]
fn what_cannot_be_chosen_is_said_so_and_disturbs_no_other_row() {
    let Some(bench) = Bench::new() else { return };
    let cols = 3_001;
    let good = Noise(730).floats(cols, 4.0);
    let spoilt = |value: f32, at: usize| {
        let mut row = good.clone();
        row[at] = value;
        row
    };
    let rows = [
        spoilt(f32::NAN, 3_000),
        good.clone(),
        spoilt(f32::INFINITY, 0),
        spoilt(f32::NEG_INFINITY, 1_500),
        good.clone(),
    ];
    let params = SamplerParams {
        top_k: 40,
        top_p: 0.9,
        logit_bias: vec![(0, 5.0), (1_500, 5.0), (3_000, 5.0)],
        ..hot(8)
    };
    let mut recipes = vec![recipe(params, &[], 0); rows.len()];
    recipes[4].allowed = Some(TokenMask::none(cols));
    let got = drawn(&bench, &rows, &recipes);
    assert_eq!([got[0], got[2], got[3], got[4]], [u32::MAX; 4]);
    check(&recipes[1], &good, got[1]);
}

#[test]
fn draws_follow_the_distribution() {
    const DRAWS: usize = 6_400;
    let Some(bench) = Bench::new() else { return };
    let logits = Noise(740).floats(41, 2.5);
    let cases = [
        hot(0),
        SamplerParams {
            temperature: 1.7,
            ..hot(0)
        },
        SamplerParams {
            temperature: 0.6,
            top_k: 20,
            top_p: 0.9,
            min_p: 0.02,
            ..hot(0)
        },
    ];
    for params in cases {
        let expected = probabilities(&params, &logits);
        let mut seen = vec![0_usize; logits.len()];
        for first in (0..DRAWS).step_by(32) {
            let recipes: Vec<Recipe> = (first..first + 32)
                .map(|index| {
                    let sampler = Sampler::new(params.clone()).expect("good parameters");
                    let recipe = sampler.recipe(&vec![0; index], index, 1, None);
                    recipe.expect("kernels can")
                })
                .collect();
            for id in drawn(&bench, &vec![logits.clone(); 32], &recipes) {
                seen[id as usize] += 1;
            }
        }
        let mut chi_square = 0.0;
        let mut degrees = -1.0;
        for (seen, expected) in seen.iter().zip(&expected) {
            let expected = expected * DRAWS as f64;
            if expected == 0.0 {
                assert_eq!(*seen, 0, "{params:?}");
                continue;
            }
            chi_square += (*seen as f64 - expected).powi(2) / expected;
            degrees += 1.0;
        }
        // Five standard deviations of the statistic.
        let bound = degrees + 5.0 * f64::sqrt(2.0 * degrees);
        assert!(
            chi_square < bound,
            "{chi_square} with {degrees}: {params:?}"
        );
    }
}

/// By the definitions, in `f64`, sorting everything.
fn probabilities(params: &SamplerParams, logits: &[f32]) -> Vec<f64> {
    let score = |id: usize| f64::from(logits[id]);
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    let top = score(order[0]);
    if params.top_k > 0 {
        order.truncate(params.top_k as usize);
    }
    let total: f64 = order.iter().map(|id| (score(*id) - top).exp()).sum();
    let mut sum = 0.0;
    let mut kept = Vec::new();
    for id in order {
        let p = (score(id) - top).exp();
        let is_enough = sum >= f64::from(params.top_p) * total;
        if (params.top_p < 1.0 && is_enough) || p < f64::from(params.min_p) {
            break;
        }
        sum += p;
        kept.push(id);
    }
    let hot = |id: &usize| ((score(*id) - top) / f64::from(params.temperature)).exp();
    let total: f64 = kept.iter().map(hot).sum();
    let mut out = vec![0.0; logits.len()];
    for id in kept {
        out[id] = hot(&id) / total;
    }
    out
}
