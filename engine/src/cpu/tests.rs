//! The fast path against the specification, and against itself in other batches.

use proptest::prelude::*;

use std::collections::BTreeMap;

use super::*;
use crate::ModelConfig;
use crate::adapter::{Adapter, LoraPair};
use crate::arch::{Architecture, TABLE};
use crate::kv::KvFormat;
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::quant::Format;
use crate::reference::{ReferenceModel, Rounding};
use crate::sequences::{BatchRow, SequenceId};
use crate::synthetic::{Random, SyntheticModel};
use crate::weights::{LayerSlot, Slot, Weights};

fn load(spec: &SyntheticModel) -> (ModelConfig, Weights) {
    let (header, weights) = spec.load();
    (header.config, weights)
}

fn both(spec: &SyntheticModel) -> (Model, Model) {
    let (config, weights) = load(spec);
    let reference = ReferenceModel::new(config.clone(), &weights, Rounding::Int8);
    (
        Model::new(reference, 1_024),
        Model::new(CpuModel::new(config, weights).expect("room"), 1_024),
    )
}

fn cpu(spec: &SyntheticModel) -> Model {
    let (config, weights) = load(spec);
    Model::new(CpuModel::new(config, weights).expect("room"), 1_024)
}

fn tokens(n: usize, vocab_size: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    (0..n).map(|_| random.bits() % vocab_size as u32).collect()
}

fn forward(model: &mut Model, rows: &[BatchRow]) -> Vec<f32> {
    pollster::block_on(model.forward(rows)).expect("a good batch")
}

/// Appends `tokens` to a sequence in batches of at most `batch`; the logits after every token.
fn run(model: &mut Model, id: SequenceId, tokens: &[u32], batch: usize) -> Vec<Vec<f32>> {
    let row = |token: &u32| BatchRow {
        sequence: id,
        token: *token,
        logits: true,
    };
    let rows: Vec<BatchRow> = tokens.iter().map(row).collect();
    let vocab_size = model.config().vocab_size;
    let batches = rows.chunks(batch).map(|rows| forward(model, rows));
    batches
        .flat_map(|logits| {
            let rows: Vec<Vec<f32>> = logits.chunks(vocab_size).map(<[f32]>::to_vec).collect();
            rows
        })
        .collect()
}

fn run_anew(model: &mut Model, tokens: &[u32], batch: usize) -> Vec<Vec<f32>> {
    let id = model.open().expect("room");
    run(model, id, tokens, batch)
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Relative distance of two vectors.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from(*a) - f64::from(*b));
    norm(pairs) / norm(expected.iter().map(|it| f64::from(*it))).max(1e-30)
}

/// f32 sums of a few hundred terms through a few layers are a few units in the last place apart,
/// until such a difference tips a key or a value over to the next f16, 2^-11 of it away, or an
/// activation to the next of its 255 codes, which moves it and all that follows by some hundredths
/// at most.
fn assert_near(found: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let distances: Vec<f64> = pairs.map(|(a, b)| distance(a, b)).collect();
    let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
    let farthest = distances.iter().copied().fold(0.0, f64::max);
    assert!(nearest < 5e-4, "{what}: {distances:?}");
    assert!(farthest < 5e-2, "{what}: {distances:?}");
}

#[test]
fn logits_are_the_references_in_every_format() {
    for (n, format) in Format::ALL.into_iter().enumerate() {
        let spec = SyntheticModel {
            dim: 256,
            ffn_dim: 256,
            format,
            seed: n as u64,
            tied_output: n % 2 == 0,
            ..SyntheticModel::SMALL
        };
        let (mut reference, mut cpu) = both(&spec);
        let tokens = tokens(40, spec.vocab_size, 5);
        let expected = run_anew(&mut reference, &tokens, 1);
        let found = run_anew(&mut cpu, &tokens, 1);
        assert_near(&found, &expected, format.name());
    }
}

#[test]
fn logits_are_the_references_in_every_architecture() {
    for facts in TABLE.iter().filter(|facts| facts.causal) {
        let spec = SyntheticModel {
            architecture: facts.architecture,
            n_layers: 7,
            format: Format::F32,
            ..SyntheticModel::SMALL
        };
        let (mut reference, mut cpu) = both(&spec);
        let tokens = tokens(50, spec.vocab_size, 5);
        let expected = run_anew(&mut reference, &tokens, 9);
        let found = run_anew(&mut cpu, &tokens, 9);
        assert_near(&found, &expected, facts.name);
    }
}

#[test]
fn keys_and_values_in_bytes_are_near_those_in_f16() {
    let (config, weights) = load(&SyntheticModel::SMALL);
    let half = CpuModel::new(config.clone(), weights.clone()).expect("room");
    let bytes = CpuModel::new(config, weights)
        .expect("room")
        .with_kv(KvFormat::Q8);
    let tokens = tokens(70, 320, 5);
    let expected = run_anew(&mut Model::new(half, 1_024), &tokens, 9);
    let found = run_anew(&mut Model::new(bytes, 1_024), &tokens, 9);
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let distance = distance(found, expected);
        // A code is off by half of 1/127 of the largest of its group: some hundredths at most,
        // and never nothing, or bytes were not kept.
        assert!(distance > 0.0 && distance < 0.05, "at {at}: {distance}");
    }
}

#[test]
fn an_encoder_embeds_a_text_and_refuses_to_continue_one() {
    let spec = SyntheticModel {
        architecture: Architecture::Bert,
        format: Format::F32,
        ..SyntheticModel::SMALL
    };
    let (mut reference, mut cpu) = both(&spec);
    let tokens = tokens(70, spec.vocab_size, 5);
    let expected = pollster::block_on(reference.embed(&tokens)).expect("a good text");
    let found = pollster::block_on(cpu.embed(&tokens)).expect("a good text");
    assert_near(&[found], &[expected], "bert");
    let id = cpu.open().expect("room");
    let refused = pollster::block_on(cpu.read(id, &tokens[..1]));
    assert!(matches!(refused, Err(crate::EngineError::WrongTask { .. })));
}

#[test]
fn batches_do_not_change_a_bit() {
    for format in Format::ALL {
        let mut model = cpu(&SyntheticModel {
            dim: 256,
            ffn_dim: 256,
            format,
            ..SyntheticModel::SMALL
        });
        let tokens = tokens(60, 320, 9);
        let one_by_one = run_anew(&mut model, &tokens, 1);
        for batch in [2, 3, 31, MAX_BATCH] {
            let found = run_anew(&mut model, &tokens, batch);
            for (found, expected) in found.iter().zip(&one_by_one) {
                assert_eq!(bits(found), bits(expected), "{format:?} by {batch}");
            }
        }
    }
}

#[test]
fn sequences_in_one_batch_do_not_see_each_other() {
    let mut model = cpu(&SyntheticModel::SMALL);
    let texts: Vec<Vec<u32>> = (0..4).map(|n| tokens(40, 320, n)).collect();
    let alone: Vec<_> = texts.iter().map(|it| run_anew(&mut model, it, 8)).collect();
    let ids: Vec<SequenceId> = texts.iter().map(|_| model.open().expect("room")).collect();
    for at in (0..40).step_by(5) {
        let mut rows = Vec::new();
        for i in at..at + 5 {
            for (id, text) in ids.iter().zip(&texts) {
                rows.push(BatchRow {
                    sequence: *id,
                    token: text[i],
                    logits: true,
                });
            }
        }
        for (n, logits) in forward(&mut model, &rows).chunks(320).enumerate() {
            let expected = &alone[n % 4][at + n / 4];
            assert_eq!(bits(logits), bits(expected), "sequence {}", n % 4);
        }
    }
}

#[test]
fn a_shared_beginning_goes_on_as_if_it_were_ones_own() {
    let mut model = cpu(&SyntheticModel::SMALL);
    let beginning = tokens(45, 320, 1);
    let id = model.open().expect("room");
    run(&mut model, id, &beginning, 20);
    let other = model.share_prefix(id, 40).expect("there");
    let (mine, theirs) = (tokens(30, 320, 2), tokens(30, 320, 3));
    let found_theirs = run(&mut model, other, &theirs, 7);
    let found_mine = run(&mut model, id, &mine, 7);
    let whole = [&beginning[..40], &theirs].concat();
    let expected = run_anew(&mut model, &whole, 9);
    assert_eq!(bits(&found_theirs[29]), bits(&expected[69]));
    let whole = [&beginning[..], &mine].concat();
    let expected = run_anew(&mut model, &whole, 9);
    assert_eq!(bits(&found_mine[29]), bits(&expected[74]));
}

#[test]
fn a_shifted_text_is_the_references_shifted_text() {
    let spec = SyntheticModel {
        format: Format::F32,
        ..SyntheticModel::SMALL
    };
    let (mut reference, mut cpu) = both(&spec);
    let (before, after) = (tokens(100, 320, 1), tokens(20, 320, 2));
    let mut found = Vec::new();
    for model in [&mut reference, &mut cpu] {
        let id = model.open().expect("room");
        run(model, id, &before, 20);
        model.shift(id, 32, 32).expect("whole pages");
        assert_eq!(model.len(id), Ok(68));
        found.push(run(model, id, &after, 20));
    }
    assert_near(&found[1], &found[0], "shifted");
}

/// An adapter of random numbers on some matrices of every block.
fn adapter(config: &ModelConfig, rank: usize, seed: u64) -> Adapter {
    let mut random = Random(seed);
    let mut pairs = BTreeMap::new();
    for layer in 0..config.n_layers {
        for part in [LayerSlot::AttnQ, LayerSlot::AttnV, LayerSlot::FfnDown] {
            let slot = Slot::Layer(layer, part);
            let (rows, cols) = slot.shape(config);
            let mut floats = |n: usize| (0..n).map(|_| random.symmetric() * 0.2).collect();
            let (a, b) = (floats(rank * cols), floats(rows * rank));
            let pair = LoraPair {
                rank,
                scale: 0.5,
                a,
                b,
            };
            pairs.insert(slot, pair);
        }
    }
    Adapter {
        name: String::new(),
        rank,
        pairs,
    }
}

#[test]
fn sequences_with_adapters_of_their_own_are_the_references_and_leave_others_alone() {
    let (mut reference, mut cpu) = both(&SyntheticModel::SMALL);
    let plain = run_anew(&mut cpu, &tokens(20, 320, 5), 7);
    let mut logits: Vec<Vec<Vec<f32>>> = Vec::new();
    for model in [&mut reference, &mut cpu] {
        let config = model.config().clone();
        let mut add = |rank, seed| {
            let adapter = adapter(&config, rank, seed);
            pollster::block_on(model.add_adapter(adapter)).expect("room")
        };
        let (first, second) = (add(8, 1), add(3, 2));
        let stacks = [
            vec![],
            vec![(first, 1.0)],
            vec![(first, -0.5), (second, 2.0)],
        ];
        let ids = stacks.map(|stack| {
            let id = model.open().expect("room");
            model.set_adapters(id, stack).expect("both are there");
            id
        });
        let text = tokens(20, 320, 5);
        let mut out = vec![Vec::new(); 3];
        for token in &text {
            let rows = ids.map(|id| BatchRow {
                sequence: id,
                token: *token,
                logits: true,
            });
            let all = forward(model, &rows);
            for (out, logits) in out.iter_mut().zip(all.chunks(320)) {
                out.push(logits.to_vec());
            }
        }
        logits.extend(out);
        pollster::block_on(model.remove_adapter(first)).expect("it is there");
        assert!(model.set_adapters(ids[0], vec![(first, 1.0)]).is_err());
    }
    let (expected, found) = logits.split_at(3);
    for (n, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_near(found, expected, &format!("stack {n}"));
    }
    assert_eq!(bits(&found[0][19]), bits(&plain[19]));
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(distance(&found[a][19], &found[b][19]) > 0.01);
    }
}

#[test]
fn going_back_forgets_what_came_after() {
    let mut model = cpu(&SyntheticModel::SMALL);
    let first = run_anew(&mut model, &[1, 2, 3], 3);
    let id = model.open().expect("room");
    run(&mut model, id, &[9, 8, 7, 6, 5], 2);
    model.truncate(id, 0).expect("there");
    let again = run(&mut model, id, &[1, 2, 3], 1);
    assert_eq!(bits(&again[2]), bits(&first[2]));
    assert_eq!(model.len(id), Ok(3));
}

proptest! {
    #[test]
    fn random_shapes_are_the_references(
        kv_heads in 1_usize..3, group in 1_usize..4, half_head in 1_usize..6,
        ffn_dim in 1_usize..40, n_tokens in 1_usize..20, seed in any::<u64>()
    ) {
        let n_heads = kv_heads * group;
        let spec = SyntheticModel {
            architecture: Architecture::Qwen2,
            n_layers: 1, dim: n_heads * 2 * half_head, n_heads, n_kv_heads: kv_heads, ffn_dim,
            vocab_size: 261, context_len: 20, format: Format::F16, tied_output: false, seed,
        };
        let (mut reference, mut cpu) = both(&spec);
        let tokens = tokens(n_tokens, spec.vocab_size, seed);
        let expected = run_anew(&mut reference, &tokens, n_tokens);
        let found = run_anew(&mut cpu, &tokens, n_tokens);
        for (found, expected) in found.iter().zip(&expected) {
            let distance = distance(found, expected);
            prop_assert!(distance < 2e-3, "{distance:e}");
        }
    }
}
