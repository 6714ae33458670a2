//! Answers of a made-up model: streamed, stopped, cancelled, and taken over half-way.

use super::*;
use crate::cpu::CpuModel;
use crate::synthetic::{EOS, SyntheticModel};

fn sampled() -> SamplerParams {
    SamplerParams {
        temperature: 1.0,
        top_k: 40,
        top_p: 0.95,
        seed: 7,
        ..SamplerParams::GREEDY
    }
}

fn load(spec: &SyntheticModel) -> (Model, Tokenizer) {
    let (header, weights) = spec.load();
    let model = Model::new(CpuModel::new(header.config, weights).expect("room"), 1_024);
    (model, header.tokenizer)
}

fn params(max_tokens: usize) -> GenerationParams {
    GenerationParams {
        sampling: sampled(),
        max_tokens,
        stop: Vec::new(),
        ignore_eos: true,
        keep: None,
    }
}

fn step(generation: &mut Generation, model: &mut Model, tokenizer: &Tokenizer) -> Step {
    pollster::block_on(generation.step(model, tokenizer)).expect("a good step")
}

/// Everything an answer said.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    ids: Vec<u32>,
    text: String,
    slices: usize,
    reason: Option<FinishReason>,
}

fn hear(generation: &mut Generation, model: &mut Model, tokenizer: &Tokenizer) -> Heard {
    let mut heard = Heard::default();
    loop {
        match step(generation, model, tokenizer) {
            Step::Prefill { done, total } => {
                assert!(done < total);
                heard.slices += 1;
            }
            Step::Token(event) => {
                assert_eq!(event.index + 1, generation.answer().len());
                assert_eq!(event.bytes, tokenizer.piece(event.id));
                heard.ids.push(event.id);
                heard.text.push_str(&event.text);
            }
            Step::Finished(finish) => {
                heard.text.push_str(&finish.text);
                heard.reason = Some(finish.reason);
                return heard;
            }
        }
    }
}

fn answer(prompt: &[u32], resumed: &[u32], params: GenerationParams) -> Heard {
    let (mut model, tokenizer) = load(&SyntheticModel::SMALL);
    let mut generation =
        Generation::new(&model, &tokenizer, prompt, resumed, params).expect("a good request");
    hear(&mut generation, &mut model, &tokenizer)
}

#[test]
fn an_answer_ends_at_its_length() {
    let heard = answer(&[256, 97, 98], &[], params(20));
    assert_eq!(heard.ids.len(), 20);
    assert_eq!(heard.reason, Some(FinishReason::Length));
    let (_, tokenizer) = load(&SyntheticModel::SMALL);
    assert_eq!(heard.text, tokenizer.decode(&heard.ids));
}

#[test]
fn an_answer_taken_over_goes_on_as_it_would_have() {
    let prompt = [256, 97, 98];
    let whole = answer(&prompt, &[], params(40));
    for taken in [1, 13, 39] {
        let rest = answer(&prompt, &whole.ids[..taken], params(40));
        assert_eq!(rest.ids, whole.ids[taken..]);
        assert_eq!(rest.reason, whole.reason);
    }
    let over = answer(&prompt, &whole.ids, params(40));
    assert_eq!(
        (over.ids.len(), over.reason),
        (0, Some(FinishReason::Length))
    );
}

#[test]
fn the_text_of_an_answer_taken_over_joins_up() {
    let (mut model, tokenizer) = load(&SyntheticModel::SMALL);
    let mut whole = Generation::new(&model, &tokenizer, &[256, 1], &[], params(30)).expect("good");
    let mut said = Vec::new();
    while let Step::Token(event) = step(&mut whole, &mut model, &tokenizer) {
        said.push(event.text);
    }
    for taken in 1..30 {
        let resumed = &whole.answer()[..taken];
        let mut rest =
            Generation::new(&model, &tokenizer, &[256, 1], resumed, params(30)).expect("good");
        let heard = hear(&mut rest, &mut model, &tokenizer);
        let before: String = said[..taken].concat();
        let whole_text = tokenizer.decode(whole.answer());
        assert_eq!([before, heard.text].concat(), whole_text, "from {taken}");
    }
}

#[test]
fn a_long_prompt_is_read_in_slices() {
    let prompt: Vec<u32> = (0..100).collect();
    let heard = answer(&prompt, &[], params(1));
    assert_eq!((heard.slices, heard.ids.len()), (3, 1));
    let by_hand = {
        let (mut model, _) = load(&SyntheticModel::SMALL);
        let id = model.open().expect("room");
        let mut logits = Vec::new();
        for token in &prompt {
            logits = pollster::block_on(model.read(id, &[*token])).expect("a good batch");
        }
        let sampler = Sampler::new(sampled()).expect("good parameters");
        let choice = sampler.choose(&mut logits, &prompt, 0, None);
        choice.map(|choice| choice.id)
    };
    assert_eq!(by_hand, Ok(heard.ids[0]));
}

#[test]
fn an_answer_ends_at_a_stop_string() {
    let prompt = [256, 97, 98];
    let whole = answer(&prompt, &[], params(60));
    let ascii = |byte: &char| byte.is_ascii_graphic();
    let at = whole
        .text
        .char_indices()
        .skip(3)
        .find(|(_, c)| ascii(c))
        .expect("a letter")
        .0;
    let stop = whole.text[at..].chars().take(1).collect::<String>();
    let expected = whole.text.split(&stop).next().expect("what comes before");
    let stopped = answer(
        &prompt,
        &[],
        GenerationParams {
            stop: vec![stop.clone()],
            ..params(60)
        },
    );
    assert_eq!(stopped.reason, Some(FinishReason::Stop));
    assert_eq!(stopped.text, expected);
    assert!(whole.ids.starts_with(&stopped.ids));
}

#[test]
fn an_answer_ends_at_the_end_token() {
    let prompt = [256, 97, 98];
    let ends = |seed| {
        let sampling = SamplerParams {
            seed,
            temperature: 2.0,
            ..SamplerParams::GREEDY
        };
        let going_on = answer(
            &prompt,
            &[],
            GenerationParams {
                sampling: sampling.clone(),
                ..params(100)
            },
        );
        let at = going_on.ids.iter().position(|id| *id == EOS)?;
        Some((sampling, going_on, at))
    };
    let (sampling, going_on, at) = (0..200)
        .find_map(ends)
        .expect("some seed draws the end token");
    let ended = answer(
        &prompt,
        &[],
        GenerationParams {
            sampling,
            ignore_eos: false,
            ..params(100)
        },
    );
    assert_eq!(ended.reason, Some(FinishReason::Stop));
    assert_eq!(ended.ids, going_on.ids[..at]);
}

#[test]
fn the_end_of_the_context_is_a_length() {
    let prompt: Vec<u32> = (0..120).collect();
    let heard = answer(&prompt, &[], params(1_000));
    // Every position can be read, and the last of them gives one more token.
    assert_eq!(
        (heard.ids.len(), heard.reason),
        (9, Some(FinishReason::Length))
    );
}

#[test]
fn cancelling_ends_it_and_keeps_what_was_said() {
    let (mut model, tokenizer) = load(&SyntheticModel::SMALL);
    let mut generation =
        Generation::new(&model, &tokenizer, &[256], &[], params(50)).expect("a good request");
    for _ in 0..3 {
        assert!(matches!(
            step(&mut generation, &mut model, &tokenizer),
            Step::Token(_)
        ));
    }
    generation.cancel();
    let heard = hear(&mut generation, &mut model, &tokenizer);
    assert_eq!(heard.reason, Some(FinishReason::Cancelled));
    assert_eq!(generation.answer().len(), 3);
}

#[test]
fn refuses_bad_requests_by_name() {
    let (model, tokenizer) = load(&SyntheticModel::SMALL);
    let refused = |prompt: &[u32], resumed: &[u32], params| {
        Generation::new(&model, &tokenizer, prompt, resumed, params).err()
    };
    assert_eq!(refused(&[], &[], params(1)), Some(EngineError::EmptyPrompt));
    let long = EngineError::PromptTooLong {
        prompt_tokens: 129,
        context_len: 128,
    };
    assert_eq!(refused(&[0; 100], &[0; 29], params(1)), Some(long));
    let unknown = EngineError::UnknownToken {
        token: 320,
        vocab_size: 320,
    };
    assert_eq!(refused(&[0], &[320], params(1)), Some(unknown));
    let bad = |name| move |error| matches!(error, EngineError::BadParameter { name: it, .. } if it == name);
    assert!(refused(&[0], &[], params(0)).is_some_and(bad("max_tokens")));
    let hot = SamplerParams {
        temperature: 9.0,
        ..sampled()
    };
    let hot = GenerationParams {
        sampling: hot,
        ..params(1)
    };
    assert!(refused(&[0], &[], hot).is_some_and(bad("temperature")));
    let empty = GenerationParams {
        stop: vec![String::new()],
        ..params(1)
    };
    assert!(refused(&[0], &[], empty).is_some_and(bad("stop")));
}
