//! Sampled answers on the browser's GPU, without the worker's loop: what a token brings back.

#![cfg(target_arch = "wasm32")]

use thrum_engine::generate::{Generation, GenerationParams};
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::gpu::{GpuDevice, GpuOptions, GpuUpload, Traffic};
use thrum_engine::model::{Backend, Model};
use thrum_engine::sampler::SamplerParams;
use thrum_engine::schedule::{Event, Priority, Scheduler};
use thrum_engine::synthetic::SyntheticModel;
use thrum_engine::tokenizer::Tokenizer;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// tokens of a vocabulary as they are in use: its logits are 197 kB.
const VOCAB: usize = 49_152;

/// bytes; what a token may bring back at most.
const MOST_BYTES: u64 = 64;

/// tokens of an answer.
const TOKENS: usize = 17;

async fn load() -> (Model, Tokenizer) {
    let file = SyntheticModel {
        vocab_size: VOCAB,
        ..SyntheticModel::SMALL
    }
    .gguf();
    let device = GpuDevice::request(GpuOptions::default()).await;
    let mut upload = GpuUpload::new(&device.expect("this browser has an adapter"));
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: None,
        available_bytes: None,
        max_context: 128,
    });
    reader.push(&file, &mut upload).expect("a good file");
    let header = reader.finish(&mut upload).expect("a whole one");
    let gpu = upload.into_model().await.expect("it fits");
    (Model::new(gpu, 128), header.tokenizer)
}

fn traffic(model: &Model) -> Traffic {
    match model.backend() {
        Backend::Gpu(gpu) => gpu.traffic(),
        Backend::Cpu(_) | Backend::Reference(_) => panic!("it was made on a GPU"),
    }
}

/// The tokens of an answer, and what its tokens after the first brought back.
async fn answer(
    model: &mut Model,
    tokenizer: &Tokenizer,
    sampling: SamplerParams,
) -> (Vec<u32>, Traffic) {
    let mut scheduler = Scheduler::new(1, false);
    let params = GenerationParams {
        sampling,
        max_tokens: TOKENS,
        stop: Vec::new(),
        ignore_eos: true,
        keep: None,
    };
    let generation = Generation::new(model, tokenizer, &[1, 2, 3], &[], params);
    let generation = generation.expect("a good request");
    let id = scheduler.submit(generation, Priority::Local, Vec::new());
    id.expect("it is the only one");
    let (mut ids, mut before) = (Vec::new(), None);
    let mut since = 0.0;
    while scheduler.has_work() {
        for event in scheduler.step(model, tokenizer).await.expect("a good step") {
            if let Event::Step(_, thrum_engine::generate::Step::Token(token)) = event {
                ids.push(token.id);
            }
        }
        if before.is_none() {
            (before, since) = (Some(traffic(model)), js_sys::Date::now());
        }
    }
    let (before, after) = (before.expect("there was a step"), traffic(model));
    let took_ms = (js_sys::Date::now() - since) / (TOKENS - 1) as f64;
    let traffic = Traffic {
        submits: after.submits - before.submits,
        waits: after.waits - before.waits,
        read_bytes: after.read_bytes - before.read_bytes,
    };
    console_log!("{took_ms:.2} ms a token, {traffic:?}");
    scheduler.forget_prefixes(model);
    (ids, traffic)
}

/// Asking for log probabilities brings all logits to the CPU, which then draws: the same tokens, as
/// none of these draws falls on a boundary between two.
#[wasm_bindgen_test]
async fn a_sampled_token_is_the_cpus_and_brings_back_no_logits() {
    let (mut model, tokenizer) = load().await;
    let hot = SamplerParams {
        temperature: 0.9,
        seed: 3,
        ..SamplerParams::GREEDY
    };
    let cut = SamplerParams {
        top_k: 40,
        top_p: 0.9,
        ..hot.clone()
    };
    let penalised = SamplerParams {
        repetition_penalty: 1.2,
        presence_penalty: 0.5,
        ..cut.clone()
    };
    for sampling in [SamplerParams::GREEDY, hot, cut, penalised] {
        let told = SamplerParams {
            logprobs: Some(0),
            ..sampling.clone()
        };
        let (seen, all) = answer(&mut model, &tokenizer, told).await;
        let looks_back = sampling.looks_back();
        let (drawn, few) = answer(&mut model, &tokenizer, sampling).await;
        assert_eq!(drawn, seen);
        let tokens = TOKENS as u64 - 1;
        assert_eq!(all.read_bytes, tokens * 4 * VOCAB as u64);
        assert!(few.read_bytes <= tokens * MOST_BYTES, "{few:?}");
        let waits = if looks_back { tokens } else { tokens / 8 };
        assert_eq!((few.waits, few.submits), (waits, waits));
    }
}
