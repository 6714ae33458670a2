//! Adapters that PEFT saved and llama.cpp converted add to every matrix what PyTorch says they do.
//!
//! The files are made by `adapters/make.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use thrum_engine::ModelConfig;
use thrum_engine::adapter::{Adapter, read_gguf, read_peft};
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

fn llama(n_layers: usize) -> ModelConfig {
    let spec = SyntheticModel {
        n_layers,
        dim: 32,
        n_heads: 4,
        n_kv_heads: 2,
        ffn_dim: 40,
        ..SyntheticModel::SMALL
    };
    spec.config()
}

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
fn an_adapter_from_peft_adds_what_pytorch_says() {
    check_peft("llama", &llama(1));
}

#[test]
fn patterns_and_rank_stabilisation_are_honoured() {
    let adapter = check_peft("llama_patterns", &llama(2));
    let ranks: BTreeMap<_, _> = adapter
        .pairs
        .iter()
        .map(|(slot, pair)| (slot.name(), pair.rank))
        .collect();
    assert_eq!(ranks["blk.0.attn_q.weight"], 7);
    assert_eq!(ranks["blk.1.attn_q.weight"], 4);
    assert_eq!(ranks["blk.1.ffn_down.weight"], 1);
}

#[test]
fn an_adapter_from_llama_cpp_is_the_same_adapter() {
    let config = llama(1);
    assert_eq!(
        check_gguf("llama", &config).pairs,
        check_peft("llama", &config).pairs
    );
}
