//! The whole model on a GPU against the reference, and what happens when the GPU goes away.

use std::path::PathBuf;

use half::f16;

use super::test_device::{Noise, device};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufError, GgufReader, ReadOptions, WRITE_BLOCKS, WeightSink};
use crate::gpu::plan::no_kernel;
use crate::gpu::{GpuDevice, GpuModel, GpuUpload};
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::quant::Format;
use crate::reference::{ReferenceModel, Rounding};
use crate::sequences::SequenceId;
use crate::synthetic::SyntheticModel;
use crate::weights::{Slot, TensorInfo, WeightStore, Weights};

/// Of the largest logit. Both sides hold activations in f32 (2^-24 = 6e-8 each time one is stored)
/// and the GPU adds in f32 too; 2e-6 was the most seen on llvmpipe over these tests, so that this
/// leaves ten times as much for other orders of addition and none for a wrong kernel.
const TOLERANCE: f32 = 2e-5;

#[test]
fn logits_match_the_reference_in_every_format() {
    let Some(device) = device() else { return };
    for (case, format) in [Format::F32, Format::F16, Format::Q4_0, Format::Q8_0]
        .iter()
        .enumerate()
    {
        for is_tied in [false, true] {
            let synthetic = Synthetic::new(config(is_tied), *format, case as u64);
            let mut gpu = synthetic.on_gpu(&device).expect("the model fits");
            let mut reference = synthetic.reference();
            let mut noise = Noise(900 + case as u64);
            // (tokens, start): a batch with a tail, single tokens, a full batch, then back.
            for (count, start) in [
                (19, 0),
                (1, 19),
                (1, 20),
                (32, 21),
                (3, 7),
                (1, 10),
                (2, 11),
            ] {
                let tokens: Vec<u32> = (0..count)
                    .map(|_| noise.between(0, VOCAB - 1) as u32)
                    .collect();
                let got = pollster::block_on(gpu.forward(&tokens, start)).expect("tokens are good");
                let want = reference
                    .forward(&tokens, start)
                    .expect("and so they are here");
                assert_close(&got, &want);
                assert_eq!(gpu.cached_len(), start + count);
            }
        }
    }
}

#[test]
fn greedy_tokens_match_the_reference_on_the_shipped_models() {
    let Some(device) = device() else { return };
    let models = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&models)
        .expect("the models are in the repository")
        .map(|entry| entry.expect("and can be listed").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gguf")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no model in {}", models.display());
    for file in files {
        let bytes = std::fs::read(&file).expect("a model can be read");
        let mut store = WeightStore::default();
        let config = read_gguf(&bytes, &mut store).expect("a shipped model is whole");
        let weights = store.into_weights().expect("a shipped model is whole");
        let mut reference = OneText::new(config.clone(), &weights);
        let mut upload = GpuUpload::new(&device);
        read_gguf(&bytes, &mut upload).expect("a shipped model is whole");
        let mut gpu = pollster::block_on(upload.into_model()).expect("a shipped model fits");

        for prompt in golden_prompts(&models) {
            // Ids of bytes are the bytes; 256 begins a text.
            let mut tokens: Vec<u32> = std::iter::once(256)
                .chain(prompt.bytes().map(u32::from))
                .collect();
            let last = (tokens.len() - 1) / MAX_BATCH * MAX_BATCH;
            for start in (0..last).step_by(MAX_BATCH) {
                let slice = &tokens[start..start + MAX_BATCH];
                pollster::block_on(gpu.forward(slice, start)).expect("tokens are good");
                reference
                    .forward(slice, start)
                    .expect("and so they are here");
            }
            let mut start = last;
            for _ in 0..64 {
                let fed = &tokens[start..];
                let got = pollster::block_on(gpu.forward(fed, start)).expect("tokens are good");
                let want = reference.forward(fed, start).expect("and so they are here");
                assert_close(&got, &want);
                assert_eq!(
                    argmax(&got),
                    argmax(&want),
                    "{} after {tokens:?}",
                    file.display()
                );
                start = tokens.len();
                tokens.push(argmax(&want));
            }
        }
    }
}

/// The first 20 prompts that llama.cpp was asked, too.
fn golden_prompts(models: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(models.join("golden/f16.json")).expect("it is committed");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("json");
    let cases = golden["cases"].as_array().expect("a list of cases");
    let prompts: Vec<String> = cases
        .iter()
        .filter_map(|case| case["text"].as_str())
        .map(str::to_owned)
        .take(20)
        .collect();
    assert_eq!(prompts.len(), 20);
    prompts
}

#[test]
fn a_lost_device_is_an_error_at_every_step() {
    let Some(device) = device() else { return };
    let synthetic = Synthetic::new(config(true), Format::Q8_0, 1);
    let mut model = synthetic.on_gpu(&device).expect("the model fits");
    pollster::block_on(model.forward(&[1, 2], 0)).expect("the device is there");
    device.destroy();
    for _ in 0..2 {
        assert_lost(pollster::block_on(model.forward(&[3], 2)).map(drop));
    }
    assert_lost(synthetic.on_gpu(&device).map(drop));

    let fresh = super::test_device::device().expect("there was an adapter a moment ago");
    let mut model = synthetic
        .on_gpu(&fresh)
        .expect("the file makes the model again");
    pollster::block_on(model.forward(&[1, 2, 3], 0)).expect("and it runs");
}

#[test]
fn a_device_lost_at_any_moment_ends_the_pass_that_runs() {
    let Some(device) = device() else { return };
    let synthetic = Synthetic::new(config(true), Format::Q8_0, 1);
    let mut model = synthetic.on_gpu(&device).expect("the model fits");
    let (begun, wait_for_begun) = std::sync::mpsc::channel();
    let other = std::thread::spawn(move || {
        wait_for_begun.recv().expect("passes begin");
        device.destroy();
    });
    let mut ending = Ok(());
    for pass in 0..100_000 {
        ending = pollster::block_on(model.forward(&[7; 32], 0)).map(drop);
        if ending.is_err() {
            break;
        }
        if pass == 3 {
            begun.send(()).expect("the other thread waits");
        }
    }
    assert_lost(ending);
    other.join().expect("destroying does not panic");
}

#[test]
fn a_device_lost_while_weights_arrive_ends_the_upload() {
    let Some(device) = device() else { return };
    let synthetic = Synthetic::new(config(true), Format::F16, 1);
    let mut upload = GpuUpload::new(&device);
    synthetic.write_to(&mut upload).expect("the weights fit");
    device.destroy();
    assert_lost(pollster::block_on(upload.into_model()).map(drop));
}

#[test]
fn a_pass_that_is_dropped_before_it_begins_changes_nothing() {
    let Some(device) = device() else { return };
    let synthetic = Synthetic::new(config(true), Format::Q4_0, 2);
    let mut gpu = synthetic.on_gpu(&device).expect("the model fits");
    let mut reference = synthetic.reference();
    pollster::block_on(gpu.forward(&[5, 6, 7], 0)).expect("tokens are good");
    drop(gpu.forward(&[8, 9], 1));
    assert_eq!(gpu.cached_len(), 3);
    let got = pollster::block_on(gpu.forward(&[3], 3)).expect("tokens are good");
    assert_close(
        &got,
        &reference
            .forward(&[5, 6, 7, 3], 0)
            .expect("tokens are good"),
    );
}

#[test]
fn forks_share_weights_and_nothing_else() {
    let Some(device) = device() else { return };
    let synthetic = Synthetic::new(config(false), Format::Q8_0, 4);
    let mut first = synthetic.on_gpu(&device).expect("the model fits");
    let mut reference = synthetic.reference();
    pollster::block_on(first.forward(&[1, 2, 3], 0)).expect("tokens are good");
    let mut second = first.fork().expect("there is room for another");
    assert_eq!(second.cached_len(), 0);
    pollster::block_on(second.forward(&[40, 50], 0)).expect("tokens are good");
    let got = pollster::block_on(first.forward(&[4], 3)).expect("tokens are good");
    assert_close(
        &got,
        &reference
            .forward(&[1, 2, 3, 4], 0)
            .expect("tokens are good"),
    );
    drop(first);
    let got = pollster::block_on(second.forward(&[60], 2)).expect("tokens are good");
    assert_close(
        &got,
        &reference
            .forward(&[40, 50, 60], 0)
            .expect("tokens are good"),
    );
    device.destroy();
    assert_lost(second.fork().map(drop));
    assert!(device.lost().is_some());
}

#[test]
fn refuses_what_cannot_be_fed() {
    let Some(device) = device() else { return };
    let synthetic = Synthetic::new(config(true), Format::Q8_0, 3);
    let mut model = synthetic.on_gpu(&device).expect("the model fits");
    let mut refused = |tokens: &[u32], start| {
        pollster::block_on(model.forward(tokens, start)).expect_err("this cannot be fed")
    };
    assert!(matches!(
        refused(&[], 0),
        EngineError::BatchSize { tokens: 0, .. }
    ));
    assert!(matches!(
        refused(&[0; 33], 0),
        EngineError::BatchSize { tokens: 33, .. }
    ));
    assert!(matches!(
        refused(&[0], 1),
        EngineError::Position { cached_len: 0, .. }
    ));
    assert!(matches!(
        refused(&[0, VOCAB as u32], 0),
        EngineError::UnknownToken { .. }
    ));
}

#[test]
fn refuses_a_cache_that_no_buffer_holds() {
    let Some(device) = device() else { return };
    let context_len = 1 << 40;
    let synthetic = Synthetic::new(
        ModelConfig {
            context_len,
            ..config(true)
        },
        Format::Q8_0,
        3,
    );
    let error = synthetic
        .on_gpu(&device)
        .expect_err("a terabyte of positions");
    let EngineError::GpuBufferTooLarge {
        what,
        needed_bytes,
        available_bytes,
    } = error
    else {
        panic!("{error}");
    };
    assert!(needed_bytes > available_bytes && available_bytes > 0 && !what.is_empty());
}

#[test]
fn refuses_a_width_that_vectors_do_not_divide() {
    let Some(device) = device() else { return };
    let config = ModelConfig {
        ffn_dim: 98,
        ..config(true)
    };
    let synthetic = Synthetic::new(config, Format::F32, 3);
    let error = synthetic
        .on_gpu(&device)
        .expect_err("98 is no multiple of 4");
    assert!(
        matches!(
            error,
            EngineError::GpuShape {
                value: 98,
                multiple: 4,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn refuses_a_model_of_which_a_tensor_is_missing() {
    let Some(device) = device() else { return };
    let mut synthetic = Synthetic::new(config(true), Format::F16, 3);
    let last = synthetic.bytes.last_mut().expect("a model has tensors");
    last.truncate(last.len() / 2);
    let error = synthetic
        .on_gpu(&device)
        .expect_err("half of it is missing");
    assert!(
        matches!(error, EngineError::Gguf(GgufError::MissingTensor { .. })),
        "{error}"
    );
}

/// ids; odd, so that the last workgroup of the head has a tail.
const VOCAB: usize = 71;

/// Grouped heads, a partial rotation, odd numbers of blocks.
fn config(tied_output: bool) -> ModelConfig {
    let mut config = SyntheticModel {
        dim: 96,
        ffn_dim: 160,
        context_len: 64,
        tied_output,
        ..SyntheticModel::SMALL
    }
    .config();
    config.vocab_size = VOCAB;
    config.rope.as_mut().expect("a llama has one").dim = 20;
    config
}

/// The reference, fed like the GPU.
struct OneText {
    model: Model,
    id: SequenceId,
}

impl OneText {
    fn new(config: ModelConfig, weights: &Weights) -> Self {
        let reference = ReferenceModel::new(config, weights, Rounding::Exact);
        let mut model = Model::new(reference, 512);
        let id = model.open().expect("room for one");
        Self { model, id }
    }

    fn forward(&mut self, tokens: &[u32], start: usize) -> Result<Vec<f32>, EngineError> {
        self.model.truncate(self.id, start)?;
        pollster::block_on(self.model.read(self.id, tokens))
    }
}

/// A model of random weights, as the bytes of a file.
struct Synthetic {
    config: ModelConfig,
    tensors: Vec<TensorInfo>,
    bytes: Vec<Vec<u8>>,
}

impl Synthetic {
    fn new(config: ModelConfig, format: Format, seed: u64) -> Self {
        let mut noise = Noise(seed);
        let infos = Slot::all(&config).map(|slot| {
            let (rows, cols) = slot.shape(&config);
            let format = if slot.is_matrix() {
                format
            } else {
                Format::F32
            };
            TensorInfo {
                slot,
                format,
                rows,
                cols,
                offset: 0,
            }
        });
        let tensors: Vec<TensorInfo> = infos.collect();
        let bytes = tensors
            .iter()
            .map(|info| random_bytes(&mut noise, info))
            .collect();
        Self {
            config,
            tensors,
            bytes,
        }
    }

    fn write_to(&self, sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        sink.begin(&self.config, &self.tensors)?;
        for (tensor, (info, bytes)) in self.tensors.iter().zip(&self.bytes).enumerate() {
            // Three groups at a time, so that most tensors come in several pieces with a tail.
            let piece = 3 * WRITE_BLOCKS * info.format.block_bytes();
            for (at, piece) in (0..).step_by(piece).zip(bytes.chunks(piece)) {
                sink.write(tensor, at, piece)?;
            }
        }
        sink.finish()
    }

    fn on_gpu(&self, device: &GpuDevice) -> Result<GpuModel, EngineError> {
        let mut upload = GpuUpload::new(device);
        self.write_to(&mut upload)?;
        pollster::block_on(upload.into_model())
    }

    fn reference(&self) -> OneText {
        let mut store = WeightStore::default();
        self.write_to(&mut store).expect("memory takes everything");
        let weights = store.into_weights().expect("and everything was written");
        OneText::new(self.config.clone(), &weights)
    }
}

/// Weights of about the size that keeps activations about one.
fn random_bytes(noise: &mut Noise, info: &TensorInfo) -> Vec<u8> {
    if !info.slot.is_matrix() {
        return (0..info.cols)
            .flat_map(|_| (1.0 + noise.float(0.5)).to_le_bytes())
            .collect();
    }
    let size = 2.0 / (info.cols as f32).sqrt();
    let mut bytes = Vec::new();
    for _ in 0..info.rows * info.cols / info.format.block_len() {
        match info.format {
            Format::F32 => bytes.extend(noise.float(size).to_le_bytes()),
            Format::F16 => bytes.extend(f16::from_f32(noise.float(size)).to_le_bytes()),
            Format::BF16
            | Format::Q4_1
            | Format::Q5_0
            | Format::Q5_1
            | Format::Q2_K
            | Format::Q3_K
            | Format::Q4_K
            | Format::Q5_K
            | Format::Q6_K
            | Format::IQ4_NL => no_kernel(),
            Format::Q4_0 | Format::Q8_0 => {
                let most = if info.format == Format::Q4_0 {
                    8.0
                } else {
                    128.0
                };
                bytes.extend(f16::from_f32(size / most).to_le_bytes());
                bytes.extend((2..info.format.block_bytes()).map(|_| noise.word() as u8));
            }
        }
    }
    bytes
}

fn read_gguf(bytes: &[u8], sink: &mut dyn WeightSink) -> Result<ModelConfig, EngineError> {
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: Some(bytes.len() as u64),
        available_bytes: None,
        max_context: 512,
    });
    for chunk in bytes.chunks(10_007) {
        reader.push(chunk, sink)?;
    }
    Ok(reader.finish(sink)?.config)
}

fn argmax(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.expect("a vocabulary is not empty").0 as u32
}

#[track_caller]
fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    let largest = want
        .iter()
        .fold(0.0_f32, |most, logit| most.max(logit.abs()));
    let error = got
        .iter()
        .zip(want)
        .fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
    assert!(
        error <= TOLERANCE * largest,
        "off by {error} where the largest logit is {largest}"
    );
}

#[track_caller]
fn assert_lost(result: Result<(), EngineError>) {
    match result {
        Err(EngineError::GpuLost { reason }) => assert!(!reason.is_empty()),
        other => panic!("{other:?} from a device that is gone"),
    }
}
