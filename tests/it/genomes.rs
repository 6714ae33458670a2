//! Two small adapters for the default model, and what the native CPU path answers with them on:
//! what the browser tests expect of real tabs.
//!
//! `tests/vectors/genomes/` holds them; `THRUM_BLESS=1 cargo test -p thrum-tests genomes` makes
//! them anew after the default model changed. Their numbers are drawn, so what they teach is
//! nonsense; it is other nonsense for each.

use crate::answers::{Cpu, params};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use thrum_engine::adapter::{Adapter, LoraPair, read_gguf, read_peft};
use thrum_engine::config::ModelConfig;
use thrum_engine::generate::TokenEvent;
use thrum_engine::pass::AdapterId;
use thrum_engine::quant::{Format, quantize};
use thrum_engine::synthetic::{GgufWriter, Random};
use thrum_engine::weights::{LayerSlot, Slot};

/// bytes; what may be committed of files that are made.
const MAX_FILE_BYTES: u64 = 100_000;

const PROMPT: &str = "cat>tac;dog>god;bird>";

/// tokens; enough to tell two answers apart.
const TOKENS: usize = 48;

/// Rank of the GGUF adapter and of the one that PEFT would save.
const RANKS: [usize; 2] = [4, 2];

/// Numbers as large as make answers different without making them all the same.
const AMPLITUDE: f32 = 0.08;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/genomes")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(folder().join(name)).unwrap()
}

/// An adapter for every matrix that `wanted` names, its numbers such that F16 holds them.
fn drawn(
    config: &ModelConfig,
    rank: usize,
    seed: u64,
    wanted: impl Fn(LayerSlot) -> bool,
) -> Adapter {
    let mut random = Random(seed);
    let mut draw = |n: usize| -> Vec<f32> {
        let number = |x: f32| (x * AMPLITUDE * 4_096.0).round() / 4_096.0;
        (0..n).map(|_| number(random.symmetric())).collect()
    };
    let mut pairs = BTreeMap::new();
    for slot in Slot::all(config) {
        if let Slot::Layer(_, layer_slot) = slot
            && layer_slot.is_matrix()
            && wanted(layer_slot)
        {
            let (rows, cols) = slot.shape(config);
            let pair = LoraPair {
                rank,
                scale: 2.0,
                a: draw(rank * cols),
                b: draw(rows * rank),
            };
            pairs.insert(slot, pair);
        }
    }
    let name = "drawn".to_owned();
    Adapter { name, rank, pairs }
}

/// As llama.cpp's converter writes it, in F16.
fn gguf(adapter: &Adapter, config: &ModelConfig) -> Vec<u8> {
    let mut writer = GgufWriter::default();
    writer
        .text("general.architecture", config.facts().name)
        .text("general.type", "adapter")
        .text("adapter.type", "lora")
        .text("general.name", "nonsense")
        .float("adapter.lora.alpha", 2.0 * adapter.rank as f32);
    for (slot, pair) in &adapter.pairs {
        let (rows, cols, rank) = (pair.rows() as u64, pair.cols() as u64, pair.rank as u64);
        let halves = [("a", [cols, rank], &pair.a), ("b", [rank, rows], &pair.b)];
        for (half, dims, numbers) in halves {
            let name = format!("{}.lora_{half}", slot.name());
            let bytes = quantize(Format::F16, numbers);
            writer.tensor(&name, &dims, Format::F16.type_id(), bytes);
        }
    }
    writer.finish()
}

/// Writes the files of both adapters.
fn make(config: &ModelConfig) {
    fs::create_dir_all(folder()).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder().join(name), bytes).unwrap();
    let all = drawn(config, RANKS[0], 1, |_| true);
    write("nonsense.gguf", &gguf(&all, config));
    let two = drawn(config, RANKS[1], 2, |slot| {
        matches!(slot, LayerSlot::AttnQ | LayerSlot::AttnV)
    });
    let files = two.to_peft(config);
    write("adapter_config.json", &files.config);
    write("adapter_model.safetensors", &files.safetensors);
}

/// Between the two largest logits, in thousandths.
fn gap_milli(token: &TokenEvent) -> u32 {
    let top = &token.logprobs.as_ref().unwrap().top;
    ((top[0].1 - top[1].1) * 1_000.0).round() as u32
}

fn computed(cpu: &mut Cpu) -> Value {
    let config = cpu.model.config().clone();
    let gguf = read_gguf(&read("nonsense.gguf"), &config).unwrap();
    let config_json = read("adapter_config.json");
    let peft = read_peft(&config_json, &read("adapter_model.safetensors"), &config).unwrap();
    let a = pollster::block_on(cpu.model.add_adapter(gguf)).unwrap();
    let b = pollster::block_on(cpu.model.add_adapter(peft)).unwrap();
    let mut answer = |stack: &[(AdapterId, f32)]| {
        let mut params = params(TOKENS, 0.0, 0, true);
        params.sampling.logprobs = Some(2);
        let (tokens, text) = cpu.answer_with(PROMPT, stack, params);
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        let gaps: Vec<u32> = tokens.iter().map(gap_milli).collect();
        json!({ "ids": ids, "text": text, "gaps_milli": gaps })
    };
    json!({
        "prompt": PROMPT,
        "max_tokens": TOKENS,
        "base": answer(&[]),
        "gguf": answer(&[(a, 1.0)]),
        "peft": answer(&[(b, 1.0)]),
        "half": answer(&[(a, 0.5)]),
        "both": answer(&[(a, 0.5), (b, -1.5)]),
    })
}

#[test]
fn the_engine_still_answers_what_the_browser_tests_expect_of_genomes() {
    let mut cpu = Cpu::load();
    let bless = std::env::var_os("THRUM_BLESS").is_some();
    if bless {
        make(cpu.model.config());
    }
    let computed = computed(&mut cpu);
    let file = folder().join("answers.json");
    if bless {
        let text = serde_json::to_string_pretty(&computed).unwrap() + "\n";
        fs::write(&file, text).unwrap();
    }
    let expected: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(computed, expected);
    let names = ["base", "gguf", "peft", "half", "both"];
    for (place, name) in names.iter().enumerate() {
        for other in &names[..place] {
            let ids = |name: &str| &computed[name]["ids"];
            assert_ne!(ids(name), ids(other), "{name} says what {other} says");
        }
    }
    for entry in fs::read_dir(folder()).unwrap() {
        let bytes = entry.unwrap().metadata().unwrap().len();
        assert!(bytes < MAX_FILE_BYTES, "{bytes}");
    }
}
