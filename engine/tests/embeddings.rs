//! Vectors of texts, from the text to the pooled vector, against what the transformers library
//! gives for the same small BERT (`embeddings/tiny.py` writes both files).

// Reads files of this repository.
#![cfg(not(target_arch = "wasm32"))]

use std::path::Path;

use serde_json::Value;
use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::model::Model;
use thrum_engine::reference::{ReferenceModel, Rounding};
use thrum_engine::tokenizer::Tokenizer;
use thrum_engine::weights::WeightStore;

/// positions; as many as the model has.
const CONTEXT: usize = 300;

struct Case {
    text: String,
    n_tokens: u64,
    vector: Vec<f32>,
}

fn read(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/embeddings");
    std::fs::read(folder.join(name)).expect("a file of this repository")
}

fn cases() -> Vec<Case> {
    let text = String::from_utf8(read("tiny.jsonl")).expect("UTF-8");
    let case = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let vector = row["vector"].as_array().expect("a vector");
        Case {
            text: row["text"].as_str().expect("a text").to_owned(),
            n_tokens: row["tokens"].as_u64().expect("a count"),
            vector: (vector.iter())
                .map(|it| it.as_f64().expect("a number") as f32)
                .collect(),
        }
    };
    text.lines().map(case).collect()
}

/// The tokenizer, and the model by the specification and by the CPU's kernels.
fn open() -> (Tokenizer, [Model; 2]) {
    let file = read("tiny.gguf");
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: CONTEXT,
    });
    let mut store = WeightStore::default();
    reader.push(&file, &mut store).expect("a good file");
    let header = reader.finish(&mut store).expect("a whole file");
    let weights = store.into_weights().expect("every tensor");
    let reference = ReferenceModel::new(header.config.clone(), &weights, Rounding::Exact);
    let cpu = CpuModel::new(header.config, weights).expect("a model of this size fits");
    let models = [Model::new(reference, CONTEXT), Model::new(cpu, CONTEXT)];
    (header.tokenizer, models)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn vectors_are_those_of_the_transformers_library() {
    let (tokenizer, models) = open();
    for mut model in models {
        for case in cases() {
            let tokens = tokenizer
                .encode_framed(&case.text, false)
                .expect("every text has tokens");
            assert_eq!(tokens.len() as u64, case.n_tokens, "{}", case.text);
            let found = pollster::block_on(model.embed(&tokens)).expect("an encoder embeds");
            let cosine = cosine(&found, &case.vector);
            assert!(cosine >= 0.9999, "{cosine} for {}", case.text);
        }
        assert!(model.is_empty(), "a text leaves nothing behind");
    }
}

/// Without this the comparison above would say little.
#[test]
fn texts_differ_by_more_than_the_comparison_allows() {
    let cases = cases();
    for (at, case) in cases.iter().enumerate() {
        for other in &cases[..at] {
            let cosine = cosine(&case.vector, &other.vector);
            assert!(cosine < 0.99, "{} and {}", case.text, other.text);
        }
    }
}
