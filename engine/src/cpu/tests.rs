//! The fast path against the specification, and against itself in other batches.

use proptest::prelude::*;

use super::*;
use crate::memory::MAX_BATCH;
use crate::quant::{Format, dequantize, quantize};
use crate::reference::ReferenceModel;
use crate::synthetic::{Random, SyntheticModel};
use crate::weights::{Matrix, WeightStore, Weights};
use crate::{EngineError, ModelConfig};

const FORMATS: [Format; 4] = [Format::F32, Format::F16, Format::Q4_0, Format::Q8_0];

fn load(spec: &SyntheticModel) -> (ModelConfig, Weights) {
    let options = crate::gguf::ReadOptions {
        file_bytes: None,
        available_bytes: None,
        max_context: spec.context_len,
    };
    let mut reader = crate::gguf::GgufReader::new(options);
    let mut store = WeightStore::default();
    reader.push(&spec.gguf(), &mut store).expect("a good file");
    let header = reader.finish(&mut store).expect("a whole file");
    (header.config, store.into_weights().expect("every tensor"))
}

fn tokens(n: usize, vocab_size: usize, seed: u64) -> Vec<u32> {
    let mut random = Random(seed);
    (0..n).map(|_| random.bits() % vocab_size as u32).collect()
}

/// Feeds `tokens` in batches of at most `batch`; the logits after each batch.
fn run(model: &mut CpuModel, tokens: &[u32], batch: usize) -> Vec<Vec<f32>> {
    let batches = tokens.chunks(batch).enumerate();
    batches
        .map(|(n, tokens)| model.forward(tokens, n * batch).expect("a good batch"))
        .collect()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Relative distance of two vectors.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    let pairs = found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from(*a) - f64::from(*b));
    norm(pairs) / norm(expected.iter().map(|it| f64::from(*it))).max(1e-30)
}

#[test]
fn logits_are_the_references() {
    for (n, format) in FORMATS.into_iter().enumerate() {
        let spec = SyntheticModel {
            format,
            seed: n as u64,
            tied_output: n % 2 == 0,
            ..SyntheticModel::SMALL
        };
        let (config, weights) = load(&spec);
        let mut reference = ReferenceModel::new(config.clone(), &weights);
        let mut cpu = CpuModel::new(config, weights);
        for (pos, token) in tokens(40, spec.vocab_size, 5).into_iter().enumerate() {
            let expected = reference.forward(&[token], pos).expect("a good batch");
            let found = cpu.forward(&[token], pos).expect("a good batch");
            // f32 sums of a hundred terms through two layers: a few units in the last place.
            let distance = distance(&found, &expected);
            assert!(distance < 1e-5, "{format:?} at {pos}: {distance:e}");
        }
    }
}

#[test]
fn batches_do_not_change_a_bit() {
    for format in FORMATS {
        let spec = SyntheticModel {
            format,
            ..SyntheticModel::SMALL
        };
        let (config, weights) = load(&spec);
        let mut model = CpuModel::new(config, weights);
        let tokens = tokens(60, spec.vocab_size, 9);
        let one_by_one = run(&mut model, &tokens, 1);
        for batch in [2, 3, 31, MAX_BATCH] {
            let last = run(&mut model, &tokens, batch).pop().expect("a batch");
            assert_eq!(
                bits(&last),
                bits(&one_by_one[tokens.len() - 1]),
                "{format:?} by {batch}"
            );
        }
    }
}

#[test]
fn going_back_forgets_what_came_after() {
    let (config, weights) = load(&SyntheticModel::SMALL);
    let mut model = CpuModel::new(config, weights);
    let first = run(&mut model, &[1, 2, 3], 3);
    run(&mut model, &[9, 8, 7, 6, 5], 2);
    assert_eq!(bits(&run(&mut model, &[1, 2, 3], 1)[2]), bits(&first[0]));
    assert_eq!(model.cached_len(), 3);
}

#[test]
fn refuses_bad_batches_by_name() {
    let (config, weights) = load(&SyntheticModel {
        context_len: 40,
        ..SyntheticModel::SMALL
    });
    let mut model = CpuModel::new(config, weights);
    let too_many = vec![0; MAX_BATCH + 1];
    for tokens in [&[][..], &too_many] {
        let expected = EngineError::BatchSize {
            tokens: tokens.len(),
            max_tokens: MAX_BATCH,
        };
        assert_eq!(model.forward(tokens, 0), Err(expected));
    }
    let hole = EngineError::Position {
        start_pos: 1,
        tokens: 1,
        cached_len: 0,
        context_len: 40,
    };
    assert_eq!(model.forward(&[0], 1), Err(hole));
    run(&mut model, &[7; 40], 20);
    let full = EngineError::Position {
        start_pos: 40,
        tokens: 1,
        cached_len: 40,
        context_len: 40,
    };
    assert_eq!(model.forward(&[0], 40), Err(full));
    let unknown = EngineError::UnknownToken {
        token: 320,
        vocab_size: 320,
    };
    assert_eq!(model.forward(&[0, 320], 0), Err(unknown));
}

/// The order of sums that [`lanes`] states, written out with one index.
fn dot_in_order(matrix: &Matrix, row: usize, x: &[f32]) -> f32 {
    let block_len = matrix.format.block_len();
    let mut sums = [0.0_f32; lanes::LANES];
    if block_len == 1 {
        let mut weights = vec![0.0; matrix.cols];
        dequantize(matrix.format, matrix.row(row), &mut weights);
        for (i, (weight, x)) in weights.iter().zip(x).enumerate() {
            sums[i % lanes::LANES] += weight * x;
        }
        return lanes::fold(sums);
    }
    for (block, x) in matrix
        .row(row)
        .chunks(matrix.format.block_bytes())
        .zip(x.chunks(block_len))
    {
        // With the scale replaced by 1, dequantising gives the integers.
        let unit = [&half::f16::ONE.to_le_bytes(), &block[2..]].concat();
        let mut q = vec![0.0; block_len];
        dequantize(matrix.format, &unit, &mut q);
        let mut block_sums = [0.0_f32; lanes::LANES];
        for (i, (q, x)) in q.iter().zip(x).enumerate() {
            block_sums[i % lanes::LANES] += q * x;
        }
        let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
        for (sum, block_sum) in sums.iter_mut().zip(block_sums) {
            *sum += scale * block_sum;
        }
    }
    lanes::fold(sums)
}

proptest! {
    #[test]
    fn products_are_summed_in_the_stated_order(
        rows in 1_usize..7, blocks in 1_usize..5, tail in 0_usize..9, n in 1_usize..5, seed in any::<u64>()
    ) {
        let mut random = Random(seed);
        for format in FORMATS {
            let cols = if format.block_len() == 1 { blocks * 8 + tail } else { blocks * 32 };
            let weights: Vec<f32> = (0..rows * cols).map(|_| random.symmetric()).collect();
            let matrix = Matrix { format, rows, cols, bytes: quantize(format, &weights) };
            let x: Vec<f32> = (0..n * cols).map(|_| random.symmetric()).collect();
            let mut found = vec![0.0; n * rows];
            matmul(&matrix, &x, &mut found);
            let mut dequantized = vec![0.0; rows * cols];
            dequantize(format, &matrix.bytes, &mut dequantized);
            for token in 0..n {
                let x = &x[token * cols..(token + 1) * cols];
                for row in 0..rows {
                    let found = found[token * rows + row];
                    prop_assert_eq!(found.to_bits(), dot_in_order(&matrix, row, x).to_bits());
                    let weights = &dequantized[row * cols..(row + 1) * cols];
                    let products = weights.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let size: f64 = products.clone().map(f64::abs).sum();
                    let exact: f64 = products.sum();
                    // At most cols + 2 roundings, each of half a unit in the last place.
                    let bound = (cols + 2) as f64 * f64::from(f32::EPSILON) * size + 1e-30;
                    prop_assert!((f64::from(found) - exact).abs() <= bound);
                }
            }
        }
    }

    #[test]
    fn random_shapes_are_the_references(
        kv_heads in 1_usize..3, group in 1_usize..4, half_head in 1_usize..6,
        ffn_dim in 1_usize..40, n_tokens in 1_usize..20, seed in any::<u64>()
    ) {
        let n_heads = kv_heads * group;
        let spec = SyntheticModel {
            n_layers: 1, dim: n_heads * 2 * half_head, n_heads, n_kv_heads: kv_heads, ffn_dim,
            vocab_size: 261, context_len: 20, format: Format::F16, tied_output: false, seed,
        };
        let (config, weights) = load(&spec);
        let mut reference = ReferenceModel::new(config.clone(), &weights);
        let mut cpu = CpuModel::new(config, weights);
        let tokens = tokens(n_tokens, spec.vocab_size, seed);
        let expected = reference.forward(&tokens, 0).expect("a good batch");
        let found = cpu.forward(&tokens, 0).expect("a good batch");
        let distance = distance(&found, &expected);
        prop_assert!(distance < 1e-5, "{distance:e}");
    }
}
