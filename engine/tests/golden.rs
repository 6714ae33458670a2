//! The default model, in both formats, against what llama.cpp computed from the same files.
//!
//! `models/golden/*.json` is made by `models/golden.mjs`. The fast path reads F16 as llama.cpp
//! does, so its logits agree closely; for Q8_0 llama.cpp also rounds activations to 8 bits, which
//! moves its logits and, where two tokens are nearly level, its choice.

use std::path::Path;

use serde_json::Value;
use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ModelHeader, ReadOptions};
use thrum_engine::memory::MAX_BATCH;
use thrum_engine::model::Model;
use thrum_engine::reference::{ReferenceModel, Rounding};
use thrum_engine::sequences::SequenceId;
use thrum_engine::tokenizer::EncodeOptions;
use thrum_engine::weights::{WeightStore, Weights};

/// logits; llama.cpp rounds activations to f16 before it multiplies with F16 weights.
/// Twice the 0.0208 measured; PyTorch in f32 is as far from llama.cpp (models/README.md: 0.021).
const F16_TOLERANCE: f32 = 0.042;

/// logits; llama.cpp and the fast path both round activations to 8 bits before they multiply with
/// Q8_0 weights, but llama.cpp also rounds their scales to f16, which tips codes over.
/// Twice the 0.402 measured.
const Q8_0_TOLERANCE: f32 = 0.81;

/// logits; how close llama.cpp's two best may be where another choice is forgiven for Q8_0.
/// Twice the 0.166 measured, in 44 of 1,664 choices.
const Q8_0_NEAR_TIE: f32 = 0.34;

/// choices of 1,664; twice what was measured.
const Q8_0_MAX_MISSED: usize = 88;

/// logits; how close the reference's two best may be where the fast path chooses otherwise: a last
/// bit tips an activation over to its next code, and this small model is steep.
const TIPPED: f32 = 0.15;

/// positions; the default model's context.
const POSITIONS: usize = 512;

struct Case {
    tokens: Vec<u32>,
    continuation: Vec<u32>,
    /// Between the two best logits, at each token of the continuation.
    gaps: Vec<f32>,
    /// By position; what follows it.
    logits: Vec<(usize, Vec<f32>)>,
    text: String,
}

fn model_path(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models")
        .join(name)
}

fn load(name: &str) -> (ModelHeader, Weights) {
    let file = std::fs::read(model_path(name)).expect("the default model is in the repository");
    let options = ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: 4_096,
    };
    let mut reader = GgufReader::new(options);
    let mut store = WeightStore::default();
    for chunk in file.chunks(65_536) {
        reader.push(chunk, &mut store).expect("a good file");
    }
    let header = reader.finish(&mut store).expect("a whole file");
    (header, store.into_weights().expect("every tensor"))
}

fn golden(kind: &str) -> Vec<Case> {
    let path = model_path(&format!("golden/{kind}.json"));
    let text = std::fs::read_to_string(path).expect("golden values are in the repository");
    let golden: Value = serde_json::from_str(&text).expect("json");
    let cases = golden["cases"].as_array().expect("a list of cases");
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    cases.iter().map(case).collect()
}

fn case(case: &Value) -> Case {
    let ids = |name: &str| {
        numbers(&case[name])
            .into_iter()
            .map(|it| it as u32)
            .collect()
    };
    let logits = case["logits"].as_object().expect("logits by position");
    let case = Case {
        tokens: ids("tokens"),
        continuation: ids("continuation"),
        gaps: numbers(&case["gaps"]),
        logits: logits
            .iter()
            .map(|(pos, logits)| (pos.parse().expect("a position"), numbers(logits)))
            .collect(),
        text: case["text"].as_str().expect("a text").to_owned(),
    };
    assert_eq!((case.continuation.len(), case.gaps.len()), (64, 64));
    assert!(!case.logits.is_empty());
    case
}

fn numbers(list: &Value) -> Vec<f32> {
    let list = list.as_array().expect("a list of numbers");
    list.iter()
        .map(|it| it.as_f64().expect("a number") as f32)
        .collect()
}

fn argmax(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().fold(
        0,
        |best, (id, it)| if *it > logits[best] { id } else { best },
    );
    best as u32
}

fn read(model: &mut Model, id: SequenceId, tokens: &[u32]) -> Vec<f32> {
    pollster::block_on(model.read(id, tokens)).expect("a good batch")
}

/// Feeds one token at a time, following llama.cpp's continuation; the logits at every position.
fn forced(model: &mut Model, case: &Case) -> Vec<Vec<f32>> {
    let all = [&case.tokens[..], &case.continuation].concat();
    let id = model.open().expect("room for one");
    let logits = all.iter().map(|token| read(model, id, &[*token])).collect();
    model.close(id);
    logits
}

/// How far the logits are from llama.cpp's, and how often the choice differs.
#[derive(Debug, Default)]
struct Agreement {
    max_difference: f32,
    choices: usize,
    /// Gap in llama.cpp's logits where the choice differs.
    missed_gaps: Vec<f32>,
}

impl Agreement {
    fn add(&mut self, case: &Case, logits: &[Vec<f32>]) {
        for (pos, expected) in &case.logits {
            assert_eq!(expected.len(), logits[*pos].len());
            for (found, expected) in logits[*pos].iter().zip(expected) {
                self.max_difference = self.max_difference.max((found - expected).abs());
            }
        }
        for (n, expected) in case.continuation.iter().enumerate() {
            self.choices += 1;
            if argmax(&logits[case.tokens.len() - 1 + n]) != *expected {
                self.missed_gaps.push(case.gaps[n]);
            }
        }
    }
}

fn cpu_agreement(kind: &str) -> Agreement {
    let (header, weights) = load(&format!("thrum-demo.{kind}.gguf"));
    let mut cpu = Model::new(
        CpuModel::new(header.config, weights).expect("room"),
        POSITIONS,
    );
    let mut agreement = Agreement::default();
    for case in golden(kind) {
        agreement.add(&case, &forced(&mut cpu, &case));
    }
    agreement
}

#[test]
fn tokens_are_llama_cpps() {
    let (header, _) = load("thrum-demo.q8_0.gguf");
    for case in golden("q8_0") {
        let options = EncodeOptions {
            add_bos: true,
            control: false,
        };
        assert_eq!(
            header.tokenizer.encode(&case.text, options).as_ref(),
            Ok(&case.tokens),
            "{}",
            case.text
        );
    }
}

#[test]
fn f16_logits_and_greedy_tokens_are_llama_cpps() {
    let agreement = cpu_agreement("f16");
    assert!(agreement.max_difference < F16_TOLERANCE, "{agreement:?}");
    assert!(agreement.missed_gaps.is_empty(), "{agreement:?}");
}

#[test]
fn q8_0_logits_are_llama_cpps_and_choices_differ_at_near_ties_only() {
    let agreement = cpu_agreement("q8_0");
    assert!(agreement.max_difference < Q8_0_TOLERANCE, "{agreement:?}");
    assert!(
        agreement.missed_gaps.len() <= Q8_0_MAX_MISSED,
        "{agreement:?}"
    );
    assert!(
        agreement.missed_gaps.iter().all(|gap| *gap < Q8_0_NEAR_TIE),
        "{agreement:?}"
    );
}

#[test]
fn greedy_tokens_are_the_references_but_for_near_ties() {
    for kind in ["f16", "q8_0"] {
        let (header, weights) = load(&format!("thrum-demo.{kind}.gguf"));
        let reference = ReferenceModel::new(header.config.clone(), &weights, Rounding::Int8);
        let mut reference = Model::new(reference, POSITIONS);
        let cpu = CpuModel::new(header.config, weights).expect("room");
        let mut cpu = Model::new(cpu, POSITIONS);
        let (mut choices, mut missed) = (0, 0);
        for case in golden(kind).into_iter().take(20) {
            let (mine, theirs) = (
                reference.open().expect("room for one"),
                cpu.open().expect("room for one"),
            );
            let mut tokens = case.tokens.clone();
            for _ in 0..64 {
                let n = reference.len(mine).expect("it is open");
                let expected = read_all(&mut reference, mine, &tokens[n..]);
                let found = read_all(&mut cpu, theirs, &tokens[n..]);
                let (expected_id, found_id) = (argmax(&expected), argmax(&found));
                let gap = expected[expected_id as usize] - expected[found_id as usize];
                assert!(
                    gap <= if kind == "f16" { 0.0 } else { TIPPED },
                    "{kind}: {gap}"
                );
                choices += 1;
                missed += usize::from(found_id != expected_id);
                tokens.push(expected_id);
            }
            reference.close(mine);
            cpu.close(theirs);
        }
        assert!(missed * 50 < choices, "{kind}: {missed} of {choices}");
    }
}

/// The logits after `tokens`, which are read in slices.
fn read_all(model: &mut Model, id: SequenceId, tokens: &[u32]) -> Vec<f32> {
    let slices = tokens.chunks(MAX_BATCH).map(|slice| read(model, id, slice));
    slices.last().expect("there is a token to read")
}
