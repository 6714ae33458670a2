//! Sampled answers whose tokens are drawn on the GPU: the same as the CPU draws of the same logits,
//! and at most 64 bytes brought back for each.
//!
//! Equality is asked for exactly. Numbers that fall within the rounding of a sum of exponentials,
//! some 2^-22 of all probability, of one of 320 boundaries would differ; none of these does.

use super::answers::{Rig, greedy, told};
use super::{ids, model};
use crate::constraint::{Constraint, TokenTable};
use crate::generate::{Generation, GenerationParams};
use crate::gpu::Traffic;
use crate::gpu::test_device::{Noise, device};
use crate::quant::Format;
use crate::sampler::SamplerParams;

/// bytes; what a token may bring back at most.
const MOST_BYTES: u64 = 64;

fn asking(sampling: SamplerParams, max_tokens: usize) -> GenerationParams {
    GenerationParams {
        sampling,
        ..greedy(max_tokens)
    }
}

/// One of each kind, and all together.
fn kinds(seed: u64) -> Vec<SamplerParams> {
    let hot = SamplerParams {
        temperature: 1.2,
        seed,
        ..SamplerParams::GREEDY
    };
    let cut = SamplerParams {
        temperature: 0.8,
        top_k: 40,
        top_p: 0.9,
        ..hot.clone()
    };
    let biased = SamplerParams {
        min_p: 0.05,
        logit_bias: vec![(7, 3.0), (9, -100.0), (7, 1.0)],
        ..hot.clone()
    };
    let penalised = SamplerParams {
        repetition_penalty: 1.3,
        frequency_penalty: 0.5,
        presence_penalty: 0.2,
        ..cut.clone()
    };
    let likeliest = SamplerParams {
        temperature: 0.0,
        ..penalised.clone()
    };
    vec![hot, cut, biased, penalised, likeliest]
}

fn run(rig: &mut Rig) {
    rig.run();
    rig.forget();
}

fn since(rig: &Rig, before: Traffic) -> Traffic {
    let now = rig.traffic();
    Traffic {
        submits: now.submits - before.submits,
        waits: now.waits - before.waits,
        read_bytes: now.read_bytes - before.read_bytes,
    }
}

#[test]
fn a_sampled_answer_brings_back_four_bytes_for_each_token_and_is_the_cpus() {
    const TOKENS: usize = 25;
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt = ids(&mut Noise(41), 20);
    let mut answers = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let mut rig = Rig::new(&device, &file);
        for sampling in kinds(seed) {
            let before = rig.traffic();
            let seen = rig.submit(&prompt, told(asking(sampling.clone(), TOKENS)));
            run(&mut rig);
            let logits_bytes = 4 * rig.model.config().vocab_size as u64;
            assert!(since(&rig, before).read_bytes >= TOKENS as u64 * logits_bytes);

            let before = rig.traffic();
            let drawn = rig.submit(&prompt, asking(sampling.clone(), TOKENS));
            run(&mut rig);
            assert_eq!(rig.answers[&drawn], rig.answers[&seen], "{sampling:?}");
            assert_eq!(rig.answers[&drawn].len(), TOKENS);
            let traffic = since(&rig, before);
            assert_eq!(traffic.read_bytes, 4 * TOKENS as u64);
            // What looks back at the answer needs each token before the next.
            let waits = match sampling.looks_back() {
                true => TOKENS as u64,
                false => 1 + (TOKENS as u64 - 1) / 8,
            };
            assert_eq!((traffic.waits, traffic.submits), (waits, waits));
            answers.insert(rig.answers[&drawn].clone());
        }
    }
    // The seed and the kind matter; the likeliest token has no seed.
    assert!(
        answers.len() > 4 * 8 / 2,
        "{} different ones",
        answers.len()
    );
}

#[test]
fn drawn_answers_side_by_side_are_those_of_each_alone() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt = ids(&mut Noise(42), 40);
    let mut sampling = kinds(3);
    // The last waits for a place.
    sampling.swap(2, 4);
    let mut rig = Rig::new(&device, &file);
    let mut alone = Vec::new();
    for (at, sampling) in sampling.iter().enumerate() {
        let id = rig.submit(&prompt[at..], told(asking(sampling.clone(), 20 + at)));
        run(&mut rig);
        alone.push(id);
    }
    let before = rig.traffic();
    let mut tokens = 0;
    let together: Vec<_> = (0..)
        .zip(&sampling)
        .map(|(at, sampling)| {
            tokens += 20 + at as u64;
            rig.submit(&prompt[at..], asking(sampling.clone(), 20 + at))
        })
        .collect();
    run(&mut rig);
    for (together, alone) in together.iter().zip(&alone) {
        assert_eq!(rig.answers[together], rig.answers[alone]);
    }
    assert_eq!(since(&rig, before).read_bytes, 4 * tokens);
}

#[test]
fn guesses_of_a_sampled_answer_are_confirmed_by_what_is_drawn() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt: Vec<u32> = (0..36).map(|at| 20 + at % 6).collect();
    let mut plain = Rig::new(&device, &file);
    let mut guessing = Rig::guessing(&device, &file);
    let (mut tokens, mut bytes) = (0, 0);
    for mut sampling in kinds(5) {
        // Often enough what was there before.
        sampling.logit_bias = (20..26).map(|id| (id, 30.0)).collect();
        let whole = plain.submit(&prompt, told(asking(sampling.clone(), 30)));
        run(&mut plain);
        let before = guessing.traffic();
        let id = guessing.submit(&prompt, asking(sampling, 30));
        run(&mut guessing);
        assert_eq!(guessing.answers[&id], plain.answers[&whole]);
        let traffic = since(&guessing, before);
        assert!(traffic.read_bytes <= 30 * MOST_BYTES, "{traffic:?}");
        (tokens, bytes) = (tokens + 30, bytes + traffic.read_bytes);
    }
    // Not every guess was right, so that there were some.
    assert!(bytes > 4 * tokens, "{bytes} bytes for {tokens} tokens");
}

#[test]
fn an_answer_held_to_a_schema_is_drawn_among_what_fits() {
    let Some(device) = device() else { return };
    let file = model(Format::Q8_0).gguf();
    let prompt = ids(&mut Noise(43), 9);
    let mut rig = Rig::new(&device, &file);
    let table = TokenTable::new(&rig.tokenizer).expect("a good vocabulary");
    let schema = r#"{"type":"array","items":{"type":"boolean"},"minItems":3,"maxItems":5}"#;
    for sampling in kinds(6) {
        let submit = |rig: &mut Rig, params: GenerationParams| {
            let params = GenerationParams {
                ignore_eos: false,
                ..params
            };
            let made = Generation::new(&rig.model, &rig.tokenizer, &prompt, &[], params);
            let constraint = Constraint::json_schema_text(schema, &table).expect("a good schema");
            let made = made.expect("a good request").constrained(constraint);
            rig.submit_generation(made.expect("nothing is there yet"))
        };
        let seen = submit(&mut rig, told(asking(sampling.clone(), 60)));
        run(&mut rig);
        let before = rig.traffic();
        let drawn = submit(&mut rig, asking(sampling, 60));
        run(&mut rig);
        assert_eq!(rig.answers[&drawn], rig.answers[&seen]);
        assert_eq!(rig.ends[&drawn], rig.ends[&seen]);
        let tokens = rig.answers[&drawn].len() as u64;
        assert!(tokens > 3);
        // One more may have ended it.
        let bytes = since(&rig, before).read_bytes;
        assert!(
            bytes <= 4 * (tokens + 1),
            "{bytes} bytes for {tokens} tokens"
        );
    }
}
