//! Adapters that PEFT saved and llama.cpp converted add to every matrix what PyTorch says they do.
//!
//! The files are made by `adapters/make.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use thrum_engine::ModelConfig;
use thrum_engine::adapter::{Adapter, read_gguf, read_peft};
use thrum_engine::arch::Architecture;
use thrum_engine::safetensors;
use thrum_engine::synthetic::SyntheticModel;
use thrum_engine::weights::Slot;

/// Of the largest entry of a matrix's delta. PyTorch sums `rank` products in f32 and multiplies by
/// a scale that was rounded to f32: at most 9 roundings of 6e-8 each.
const TOLERANCE: f64 = 1e-6;

fn file(case: &str, name: &str) -> Vec<u8> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    fs::read(root.join("tests/adapters").join(case).join(name)).expect("a committed file")
}

fn config(architecture: Architecture, n_layers: usize) -> ModelConfig {
    let n_kv_heads = if architecture == Architecture::Bert {
        4
    } else {
        2
    };
    let spec = SyntheticModel {
        architecture,
        n_layers,
        dim: 32,
        n_heads: 4,
        n_kv_heads,
        ffn_dim: 40,
        ..SyntheticModel::SMALL
    };
    let wide_heads = [Architecture::Gemma2, Architecture::Qwen3].contains(&architecture);
    let head_dim = if wide_heads { 16 } else { 8 };
    ModelConfig {
        head_dim,
        ..spec.config()
    }
}

/// Every case with one layer, and the model it is for.
const CASES: [(&str, Architecture); 6] = [
    ("bert", Architecture::Bert),
    ("gemma2", Architecture::Gemma2),
    ("llama", Architecture::Llama),
    ("phi3", Architecture::Phi3),
    ("qwen2", Architecture::Qwen2),
    ("qwen3", Architecture::Qwen3),
];

fn check(case: &str, adapter: &Adapter) {
    let deltas = file(case, "deltas.safetensors");
    let deltas: BTreeMap<_, _> = safetensors::read(&deltas).expect("a good file");
    let mut names: Vec<String> = adapter.pairs.keys().map(|slot| slot.name()).collect();
    names.sort();
    assert!(names.iter().eq(deltas.keys()), "{case}: {names:?}");
    for (name, expected) in &deltas {
        let pair = &adapter.pairs[&Slot::from_name(name).expect("a matrix")];
        assert_eq!(
            expected.shape,
            [pair.rows() as u64, pair.cols() as u64],
            "{case} {name}"
        );
        let expected = expected.to_f32();
        let largest = expected.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
        for row in 0..pair.rows() {
            let delta = pair.delta_row(row);
            for (delta, expected) in delta.iter().zip(&expected[row * pair.cols()..]) {
                let difference = (delta - f64::from(*expected)).abs();
                assert!(
                    difference <= TOLERANCE * f64::from(largest),
                    "{case} {name} row {row}: {delta} and {expected}"
                );
            }
        }
    }
}

fn check_peft(case: &str, config: &ModelConfig) -> Adapter {
    let json = file(case, "adapter_config.json");
    let adapter = read_peft(&json, &file(case, "adapter_model.safetensors"), config)
        .unwrap_or_else(|error| panic!("{case}: {error}"));
    check(case, &adapter);
    let again = adapter.to_peft(config);
    let again = read_peft(&again.config, &again.safetensors, config)
        .unwrap_or_else(|error| panic!("{case}, written and read: {error}"));
    assert_eq!(adapter, again, "{case}, written and read");
    adapter
}

fn check_gguf(case: &str, config: &ModelConfig) -> Adapter {
    let adapter = read_gguf(&file(case, "adapter.gguf"), config)
        .unwrap_or_else(|error| panic!("{case}.gguf: {error}"));
    check(case, &adapter);
    adapter
}

#[test]
fn adapters_from_peft_add_what_pytorch_says() {
    for (case, architecture) in CASES {
        check_peft(case, &config(architecture, 1));
    }
}

#[test]
fn patterns_and_rank_stabilisation_are_honoured() {
    let adapter = check_peft("llama_patterns", &config(Architecture::Llama, 2));
    let rank = |name: &str| adapter.pairs[&Slot::from_name(name).expect("a matrix")].rank;
    assert_eq!(rank("blk.0.attn_q.weight"), 7);
    assert_eq!(rank("blk.1.attn_q.weight"), 4);
    assert_eq!(rank("blk.1.ffn_down.weight"), 1);
}

#[test]
fn adapters_from_llama_cpp_are_the_same_adapters() {
    for (case, architecture) in CASES {
        let config = config(architecture, 1);
        let converted = check_gguf(case, &config);
        assert_eq!(converted.pairs, check_peft(case, &config).pairs, "{case}");
    }
}

#[test]
fn adapters_for_another_base_are_refused_by_name() {
    for (case, architecture) in CASES {
        for (other, other_architecture) in CASES {
            let config = config(other_architecture, 1);
            let gguf = read_gguf(&file(case, "adapter.gguf"), &config);
            let json = file(case, "adapter_config.json");
            let peft = read_peft(&json, &file(case, "adapter_model.safetensors"), &config);
            if architecture == other_architecture {
                continue;
            }
            let message = gguf.expect_err("another architecture").to_string();
            assert!(
                message.contains(case) && message.contains(other),
                "{message}"
            );
            // PEFT's files do not say which architecture they are for: names and shapes do, and
            // these have the same.
            let twins = [["llama", "qwen2"], ["gemma2", "qwen3"]];
            let is_twin = |pair: &[&str; 2]| pair.contains(&case) && pair.contains(&other);
            if twins.iter().any(is_twin) {
                peft.expect("the same names and shapes");
                continue;
            }
            let message = peft.expect_err(other).to_string();
            let says = message.contains(other) || message.contains("this model asks for");
            assert!(says, "{message}");
        }
    }
}
