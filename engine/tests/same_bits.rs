//! The CPU path gives the same bits natively and in wasm with simd128, and so does the choice of
//! tokens, with a schema to keep to.
//!
//! Run for both: `cargo test -p thrum-engine --test same_bits`, and the same with
//! `--target wasm32-unknown-unknown` (in Node, through wasm-bindgen-test-runner). A digest that
//! changes is a change of arithmetic, and every peer's answers change with it.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use thrum_engine::adapter::apply::CpuAdapters;
use thrum_engine::adapter::{Adapter, LoraPair};
use thrum_engine::arch::TABLE;
use thrum_engine::constraint::{Constraint, TokenTable};
use thrum_engine::cpu::CpuModel;
use thrum_engine::model::Model;
use thrum_engine::pass::AdapterId;
use thrum_engine::quant::Format;
use thrum_engine::sampler::{Sampler, SamplerParams};
use thrum_engine::synthetic::{Random, SyntheticModel};
use thrum_engine::weights::Slot;
use wasm_bindgen_test::wasm_bindgen_test;

/// A digest of every bit of the logits after each batch, for a format and two shapes.
fn digest_of_format(format: Format) -> u64 {
    let wide = SyntheticModel {
        dim: 256,
        ffn_dim: 256,
        format,
        ..SyntheticModel::SMALL
    };
    // Heads of 10 channels and rows of 60: tails in every loop. Matrices are then F32 or F16.
    let odd = SyntheticModel {
        dim: 60,
        n_heads: 6,
        n_kv_heads: 3,
        ffn_dim: 77,
        ..wide
    };
    [wide, odd].iter().fold(FNV_OFFSET, digest_of_model)
}

/// Of a model's logits, or of an encoder's vector, on top of `digest`.
fn digest_of_model(digest: u64, spec: &SyntheticModel) -> u64 {
    let mut model = load(spec);
    let mut random = Random(11);
    let tokens: Vec<u32> = (0..90).map(|_| random.bits() % 320).collect();
    let mut found = Vec::new();
    if model.config().is_causal() {
        let id = model.open().expect("room for one");
        for batch in tokens.chunks(7) {
            let logits = model.read(id, batch).now_or_never();
            found.extend(logits.expect("no waiting").expect("a good batch"));
        }
    } else {
        let vector = model.embed(&tokens).now_or_never();
        found.extend(vector.expect("no waiting").expect("a good text"));
    }
    found.iter().fold(digest, |digest, number| {
        (digest ^ u64::from(number.to_bits())).wrapping_mul(FNV_PRIME)
    })
}

/// FNV-1a's 64-bit offset basis.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a's 64-bit prime.
const FNV_PRIME: u64 = 0x0100_0000_01b3;

fn load(spec: &SyntheticModel) -> Model {
    let (header, weights) = spec.load();
    Model::new(CpuModel::new(header.config, weights).expect("room"), 128)
}

#[wasm_bindgen_test(unsupported = test)]
fn logits_are_the_same_bits_everywhere() {
    let digests: Vec<(&str, String)> = Format::ALL
        .into_iter()
        .map(|format| (format.name(), format!("{:016x}", digest_of_format(format))))
        .collect();
    let expected = [
        ("F32", "062d3130964ea616"),
        ("F16", "028bbde69cbcd44c"),
        ("BF16", "06b238996634d711"),
        ("Q8_0", "7203dcb93f6d0b23"),
        ("Q4_0", "49ea4cb8331dd9a5"),
        ("Q4_1", "91097a2040881e62"),
        ("Q5_0", "047bc9d86d2b5cd6"),
        ("Q5_1", "77c0add7ad4fd261"),
        ("Q2_K", "df2de2ca788444b1"),
        ("Q3_K", "4c3ed5a74e1a481d"),
        ("Q4_K", "2671ee8f28a20d09"),
        ("Q5_K", "500e62f313849da1"),
        ("Q6_K", "f20bee5b7b6dbfd3"),
        ("IQ4_NL", "a2dffd957fb28554"),
    ];
    let expected: Vec<(&str, String)> = expected
        .into_iter()
        .map(|(name, digest)| (name, digest.to_owned()))
        .collect();
    assert_eq!(digests, expected);
}

/// Every curve, norm and order of pairs.
#[wasm_bindgen_test(unsupported = test)]
fn architectures_compute_the_same_bits_everywhere() {
    let digests = TABLE.map(|facts| {
        let spec = SyntheticModel {
            architecture: facts.architecture,
            format: Format::Q8_0,
            ..SyntheticModel::SMALL
        };
        let digest = digest_of_model(FNV_OFFSET, &spec);
        (facts.name, format!("{digest:016x}"))
    });
    let expected = [
        ("bert", "cbab7af4e2d5d2aa"),
        ("gemma2", "e1960fd5adb5dbb5"),
        ("gemma3", "3e99f89831cf6a1e"),
        ("llama", "c7cce106162bbb62"),
        ("phi3", "c768fc7aac5e2549"),
        ("qwen2", "d71775f1cde7c1d4"),
        ("qwen3", "b0a80fcdf16da38f"),
    ];
    let expected: Vec<(&str, String)> = expected
        .into_iter()
        .map(|(name, digest)| (name, digest.to_owned()))
        .collect();
    assert_eq!(digests[..], expected);
}

/// Adapters of several ranks and odd sizes, in F32 and in BF16, stacked on three rows.
#[wasm_bindgen_test(unsupported = test)]
fn adapters_add_the_same_bits_everywhere() {
    let mut digest = FNV_OFFSET;
    let mut random = Random(7);
    for (rows, cols) in [(64, 96), (37, 61), (3, 5)] {
        let mut adapters = CpuAdapters::default();
        for (id, rank) in [1, 8, 11, 64].into_iter().enumerate() {
            // Numbers of few bits are numbers of BF16.
            let keep = if id % 2 == 0 { u32::MAX } else { 0xffff_0000 };
            let mut numbers = |n: usize| {
                let number = |_| f32::from_bits(random.symmetric().to_bits() & keep);
                (0..n).map(number).collect::<Vec<f32>>()
            };
            let (a, b) = (numbers(rank * cols), numbers(rows * rank));
            let scale = 0.3;
            let pair = LoraPair { rank, scale, a, b };
            let pairs = BTreeMap::from([(Slot::Output, pair)]);
            let adapter = Adapter {
                name: String::new(),
                rank,
                pairs,
            };
            adapters.insert(AdapterId(id as u32), &adapter);
        }
        let stack: Vec<_> = (0..4)
            .map(|id| (AdapterId(id), 0.5 + id as f32 / 3.0))
            .collect();
        let x: Vec<f32> = (0..3 * cols).map(|_| random.symmetric()).collect();
        let mut y: Vec<f32> = (0..3 * rows).map(|_| random.symmetric()).collect();
        adapters.add(Slot::Output, &[&stack, &stack[1..3], &[]], &x, &mut y);
        for y in y {
            digest = (digest ^ u64::from(y.to_bits())).wrapping_mul(FNV_PRIME);
        }
    }
    assert_eq!(digest, 0xa491_7c25_94f1_afc9);
}

const SCHEMA: &str = r##"{
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-zé]{3,9}$"},
        "sizes": {"type": "array", "items": {"type": "number", "minimum": -2.5, "maximum": 80}},
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}
    },
    "required": ["name", "sizes", "next"],
    "additionalProperties": false
}"##;

#[wasm_bindgen_test(unsupported = test)]
fn choices_are_the_same_everywhere() {
    let (header, _) = SyntheticModel::SMALL.load();
    let tokenizer = header.tokenizer;
    let table = TokenTable::new(&tokenizer).expect("a good vocabulary");
    let mut digest = FNV_OFFSET;
    for (top_k, top_p) in [(0, 1.0), (0, 0.9), (40, 0.95)] {
        let sampler = Sampler::new(SamplerParams {
            temperature: 0.9,
            top_k,
            top_p,
            min_p: 0.01,
            repetition_penalty: 1.1,
            frequency_penalty: 0.2,
            presence_penalty: -0.1,
            logprobs: Some(5),
            ..SamplerParams::GREEDY
        })
        .expect("good parameters");
        let mut constraint = Constraint::json_schema_text(SCHEMA, &table).expect("a good schema");
        let mut random = Random(23);
        let mut answer = Vec::new();
        while answer.len() < 120 && !constraint.is_finished() {
            let mut logits: Vec<f32> = (0..tokenizer.vocab_size())
                .map(|_| 6.0 * random.symmetric())
                .collect();
            let allowed = constraint.mask().expect("affordable");
            let choice = sampler.choose(&mut logits, &answer, answer.len(), Some(allowed));
            let choice = choice.expect("something is allowed");
            constraint.accept(choice.id).expect("the mask allowed it");
            answer.push(choice.id);
            let told = choice.logprobs.expect("asked for");
            for bits in [choice.id, told.chosen.to_bits(), told.top[4].1.to_bits()] {
                digest = (digest ^ u64::from(bits)).wrapping_mul(FNV_PRIME);
            }
        }
        assert!(answer.len() > 20);
    }
    assert_eq!(digest, 0x3ef6_3422_3e14_a549);
}
