//! How long the choice of a token takes for a vocabulary of 151,936:
//! `cargo run --release -p thrum-engine --example sampler_speed`.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::time::{Duration, Instant};

use thrum_engine::sampler::{Sampler, SamplerParams};

/// Qwen2.5's.
const VOCAB_SIZE: u32 = 151_936;

/// The best of this many counts.
const ROUNDS: usize = 50;

fn main() {
    let hot = SamplerParams {
        temperature: 0.8,
        ..SamplerParams::GREEDY
    };
    let top_p = SamplerParams {
        top_p: 0.95,
        ..hot.clone()
    };
    let both = SamplerParams {
        top_k: 40,
        ..top_p.clone()
    };
    let everything = SamplerParams {
        min_p: 0.05,
        repetition_penalty: 1.1,
        frequency_penalty: 0.3,
        presence_penalty: 0.3,
        logprobs: Some(20),
        ..both.clone()
    };
    let cases = [
        ("greedy", SamplerParams::GREEDY),
        ("temperature alone", hot),
        ("top-p 0.95", top_p),
        ("top-k 40, top-p 0.95", both),
        ("everything, 20 logprobs", everything),
    ];
    // A few tokens stand out of noise, as they do in a trained model; and none does.
    let peaked: Vec<f32> = (0..VOCAB_SIZE)
        .map(|id| noise(id) * 4.0 + if id % 3_001 == 7 { 14.0 } else { 0.0 })
        .collect();
    let flat: Vec<f32> = (0..VOCAB_SIZE).map(noise).collect();
    let history: Vec<u32> = (0..1_000).collect();
    for (name, params) in cases {
        let sampler = Sampler::new(params).expect("good parameters");
        for (shape, logits) in [("peaked", &peaked), ("flat", &flat)] {
            let best = (0..ROUNDS)
                .map(|_| time(&sampler, logits, &history))
                .min()
                .unwrap_or_default();
            println!("{name:24} {shape:7} {:7.3} ms", best.as_secs_f64() * 1e3);
        }
    }
}

fn time(sampler: &Sampler, logits: &[f32], history: &[u32]) -> Duration {
    let mut logits = logits.to_vec();
    let start = Instant::now();
    let choice = sampler.choose(&mut logits, history, 500, None);
    let took = start.elapsed();
    choice.expect("finite logits");
    took
}

/// Between -1 and 1, by multiplication and the bits in the middle.
fn noise(id: u32) -> f32 {
    let mixed = (u64::from(id) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) & 0xffff) as f32 / 32_768.0 - 1.0
}
