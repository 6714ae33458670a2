//! Every architecture against what llama.cpp computed from the same tiny files.
//!
//! `conformance/llama_cpp.json` is made by `conformance/run.py`: for some positions, the 20 best
//! ids and their logits, from F32 weights with keys and values in F32. The models are made anew.

use std::path::Path as FilePath;

use serde_json::Value;
use thrum_engine::quant::Format;

#[path = "conformance/readings.rs"]
mod readings;
#[path = "conformance/variants.rs"]
mod variants;

use readings::{Path, read};
use variants::{VARIANTS, tokens};

/// logits (or channels of a normalised embedding); llama.cpp sums in f32, the specification in f64.
const EXACT_TOLERANCE: f32 = 2e-3;

/// logits; the fast path keeps keys and values in F16, llama.cpp kept them in F32.
const CPU_TOLERANCE: f32 = 2e-2;

/// One position, or one text of an encoder: ids and logits, the best first; channels and values.
type Best = Vec<(usize, f32)>;

/// By position.
fn golden(name: &str) -> Vec<(usize, Best)> {
    let path = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/llama_cpp.json");
    let text = std::fs::read_to_string(path).expect("golden values are in the repository");
    let golden: Value = serde_json::from_str(&text).expect("json");
    let rows = golden[name].as_object().expect("every variant is there");
    let best = |list: &Value| -> Best {
        let list = list.as_array().expect("a list of pairs");
        let pair = |pair: &Value| {
            let id = pair[0].as_u64().expect("an id") as usize;
            (id, pair[1].as_f64().expect("a logit") as f32)
        };
        list.iter().map(pair).collect()
    };
    rows.iter()
        .map(|(position, list)| (position.parse().expect("a position"), best(list)))
        .collect()
}

/// The largest difference from llama.cpp, over every variant; each within `tolerance`.
fn hold(path: Path, n_tokens: usize, tolerance: f32) {
    let tokens = tokens();
    let mut far = Vec::new();
    for variant in VARIANTS {
        let is_encoder = variant.name == "bert";
        let read_to = if is_encoder { tokens.len() } else { n_tokens };
        let found = read(&variant.gguf(Format::F32), path, &tokens[..read_to]);
        let golden = golden(variant.name);
        let mut compared = 0;
        let mut difference = 0.0_f32;
        for (position, best) in golden
            .iter()
            .filter(|(position, _)| *position < found.len())
        {
            assert!(best.len() >= 20, "{}: {} values", variant.name, best.len());
            for (id, expected) in best {
                difference = difference.max((found[*position][*id] - expected).abs());
                compared += 1;
            }
            if !is_encoder {
                let chosen = best_id(&found[*position]);
                let gap = best[0].1 - best[1].1;
                assert!(
                    chosen == best[0].0 || gap < 2.0 * tolerance,
                    "{}",
                    variant.name
                );
            }
        }
        assert!(compared >= 80, "{}: {compared} values", variant.name);
        if difference.is_nan() || difference > tolerance {
            far.push((variant.name, difference));
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

fn best_id(logits: &[f32]) -> usize {
    (0..logits.len()).fold(0, |best, id| match logits[id] > logits[best] {
        true => id,
        false => best,
    })
}

#[test]
fn the_specification_computes_what_llama_cpp_does() {
    // The f64 path is slow; beyond three windows nothing new begins.
    hold(Path::Exact, 101, EXACT_TOLERANCE);
}

#[test]
fn the_fast_path_computes_what_llama_cpp_does() {
    hold(Path::Cpu, 320, CPU_TOLERANCE);
}
