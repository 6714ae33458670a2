//! The whole model on a GPU against the reference: formats, architectures, sequences, adapters.

mod adapters;
mod answers;
mod drawn;
mod sequences;

use std::path::PathBuf;

use super::test_device::{Noise, device};
use crate::arch::{Architecture, TABLE};
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufReader, ReadOptions, WeightSink};
use crate::gpu::{CacheFormat, GpuDevice, GpuModel, GpuSettings, GpuUpload, Tuning};
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::quant::Format;
use crate::reference::{ReferenceModel, Rounding};
use crate::sequences::{BatchRow, SequenceId};
use crate::synthetic::{Mix, SyntheticModel};
use crate::weights::{WeightStore, Weights};

/// Of the largest logit. Both sides hold activations in f32 (2^-24 = 6e-8 each time one is stored)
/// and the GPU adds in f32 too; 2e-6 was the most seen on llvmpipe over these tests, so that this
/// leaves ten times as much for other orders of addition and none for a wrong kernel.
const TOLERANCE: f32 = 2e-5;

/// Of the largest logit, for activations in bytes against the reference that rounds them too: an
/// activation that lies between two codes may fall to either side, a 127th of its group's largest.
/// 1.3e-2 was the most seen.
const PACKED_TOLERANCE: f32 = 3e-2;

/// positions of all sequences of a test.
const POSITIONS: usize = 1_024;

/// Nothing is rounded that the reference does not round.
fn exact() -> GpuSettings {
    GpuSettings {
        cache: Some(CacheFormat::F32),
        exact_activations: true,
        ..GpuSettings::default()
    }
}

/// Shared heads, and rows that are whole blocks of every format.
fn model(format: Format) -> SyntheticModel {
    SyntheticModel {
        dim: 256,
        ffn_dim: 512,
        context_len: 160,
        format,
        ..SyntheticModel::SMALL
    }
}

#[test]
fn logits_match_the_reference_in_every_kind_of_format() {
    let Some(device) = device() else { return };
    let formats = [
        Format::F32,
        Format::BF16,
        Format::Q4_0,
        Format::Q5_1,
        Format::Q6_K,
    ];
    let mixes = formats.map(Mix::One).into_iter().chain([Mix::Q4_K_M]);
    for (case, mix) in (0..).zip(mixes) {
        let synthetic = SyntheticModel {
            tied_output: case % 2 == 0,
            ..model(Format::F32)
        };
        let file = synthetic.gguf_as(mix);
        let (mut gpu, mut reference) = (on_gpu(&device, &file, exact()), reference(&file));
        let mut noise = Noise(900 + case);
        // (tokens, start): a batch with a tail, single tokens, a full batch, then back.
        for (count, start) in [
            (19, 0),
            (1, 19),
            (32, 20),
            (32, 52),
            (3, 7),
            (1, 10),
            (2, 11),
        ] {
            let tokens = ids(&mut noise, count);
            let got = gpu.forward(&tokens, start).expect("tokens are good");
            let want = reference.forward(&tokens, start).expect("here too");
            assert_close(&got, &want, TOLERANCE);
        }
    }
}

#[test]
fn every_architecture_matches_the_reference() {
    let Some(device) = device() else { return };
    for facts in &TABLE {
        let file = SyntheticModel {
            architecture: facts.architecture,
            ..model(Format::Q8_0)
        }
        .gguf();
        let (mut gpu, mut reference) = (on_gpu(&device, &file, exact()), reference(&file));
        let mut noise = Noise(950);
        if !facts.causal {
            let tokens = ids(&mut noise, 77);
            let vector = |text: &mut OneText| pollster::block_on(text.model.embed(&tokens));
            let got = vector(&mut gpu).expect("an encoder embeds");
            assert_close(&got, &vector(&mut reference).expect("both do"), TOLERANCE);
            continue;
        }
        for (count, start) in [(32, 0), (32, 32), (1, 64), (1, 65)] {
            let tokens = ids(&mut noise, count);
            let got = gpu.forward(&tokens, start).expect("tokens are good");
            let want = reference.forward(&tokens, start).expect("here too");
            assert_close(&got, &want, TOLERANCE);
        }
    }
}

#[test]
fn packed_activations_and_small_caches_stay_near() {
    let Some(device) = device() else { return };
    let file = model(Format::Q4_0).gguf();
    let mut reference = reference_that(&file, Rounding::Int8);
    let tokens = ids(&mut Noise(960), 40);
    let caches = [
        (CacheFormat::F32, PACKED_TOLERANCE),
        // Half precision is 2^-11, beside which bytes weigh more.
        (CacheFormat::F16, PACKED_TOLERANCE),
        // Keys and values lose up to half of a 127th.
        (CacheFormat::Q8, 2.0 * PACKED_TOLERANCE),
    ];
    for (cache, tolerance) in caches {
        let settings = GpuSettings {
            cache: Some(cache),
            ..GpuSettings::default()
        };
        let mut gpu = on_gpu(&device, &file, settings);
        for (piece, start) in [
            (&tokens[..32], 0),
            (&tokens[32..39], 32),
            (&tokens[39..], 39),
        ] {
            let got = gpu.forward(piece, start).expect("tokens are good");
            let want = reference.forward(piece, start).expect("here too");
            assert_close(&got, &want, tolerance);
        }
    }
}

#[test]
fn tuning_finds_a_way_for_every_shape_and_is_remembered() {
    let Some(device) = device() else { return };
    let file = model(Format::Q4_0).gguf();
    // A clock on which every trial takes the same time.
    let ticks = std::cell::Cell::new(0.0);
    let clock = || {
        ticks.set(ticks.get() + 0.001);
        ticks.get()
    };
    let tuned = |settings: GpuSettings, clock: &dyn Fn() -> f64| {
        let mut upload = GpuUpload::new(&device).with_settings(settings);
        read_gguf(&file, &mut upload).expect("a good file");
        pollster::block_on(upload.into_tuned_model(clock)).expect("it fits")
    };
    let model = tuned(GpuSettings::default(), &clock);
    let text = model.tuning().to_string();
    // Queries with keys and values, output, gate with input, down, embedding; one token and many.
    assert_eq!(text.lines().count(), 1 + 2 * 5, "{text}");
    let remembered = Tuning::parse(&text);
    assert_eq!(&remembered, model.tuning());
    let again = tuned(
        GpuSettings {
            tuning: remembered,
            ..GpuSettings::default()
        },
        &|| panic!("everything is known"),
    );
    assert_eq!(again.tuning().to_string(), text);
    let mut gpu = OneText::new(again);
    let mut reference = reference_that(&file, Rounding::Int8);
    let tokens = ids(&mut Noise(5), 9);
    let got = gpu.forward(&tokens, 0).expect("it is good");
    let want = reference.forward(&tokens, 0).expect("it is good");
    assert_close(&got, &want, PACKED_TOLERANCE);
    let (header, found) = text.split_once('\n').expect("a line for each");
    assert!(
        Tuning::parse(&format!(
            "{header}\nnonsense=row\nx=leap packed 3\n=\n\u{0}"
        ))
        .is_empty()
    );
    // Another version's, or cut off.
    assert!(Tuning::parse(&format!("{header}0\n{found}")).is_empty());
    assert!(Tuning::parse(found).is_empty());
}

#[test]
fn a_tuning_that_fits_nothing_here_is_ignored() {
    let Some(device) = device() else { return };
    let file = model(Format::F32).gguf();
    let tune = |tuning: Tuning, ms_each: f64| {
        let ticks = std::cell::Cell::new(0.0);
        let clock = || ticks.replace(ticks.get() + ms_each);
        let settings = GpuSettings { tuning, ..exact() };
        let mut upload = GpuUpload::new(&device).with_settings(settings);
        read_gguf(&file, &mut upload).expect("a good file");
        pollster::block_on(upload.into_tuned_model(&clock)).expect("it fits")
    };
    // No time for a single trial; everything is known nevertheless.
    let usual = tune(Tuning::default(), 1e6).tuning().to_string();
    // Floats have no packed form.
    let wrong = usual.replace(" float ", " packed ");
    assert_ne!(wrong, usual);
    let mut gpu = OneText::new(tune(Tuning::parse(&wrong), 0.001));
    let mut reference = reference(&file);
    let tokens = ids(&mut Noise(6), 9);
    let got = gpu.forward(&tokens, 0).expect("it is good");
    let want = reference.forward(&tokens, 0).expect("it is good");
    assert_close(&got, &want, TOLERANCE);
}

#[test]
fn a_model_larger_than_a_binding_is_cut() {
    let Some(device) = device() else { return };
    let file = SyntheticModel {
        architecture: Architecture::Qwen2,
        vocab_size: 5_003,
        ..model(Format::Q4_0)
    }
    .gguf();
    // The embedding takes 640 KB; the working space of a full batch is the largest that is left.
    let small = device.with_max_buffer_bytes(300 << 10);
    let (mut gpu, mut reference) = (on_gpu(&small, &file, exact()), reference(&file));
    let tokens: Vec<u32> = vec![5_002, 64, 4_000, 1];
    let got = gpu.forward(&tokens, 0).expect("it is good");
    assert_close(
        &got,
        &reference.forward(&tokens, 0).expect("it is good"),
        TOLERANCE,
    );
}

#[test]
fn greedy_tokens_match_the_reference_on_the_shipped_models() {
    let Some(device) = device() else { return };
    let models = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&models)
        .expect("the models are in the repository")
        .map(|entry| entry.expect("and can be listed").path())
        .filter(|path| path.extension().is_some_and(|it| it == "gguf"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no model in {}", models.display());
    for file in files {
        let bytes = std::fs::read(&file).expect("a model can be read");
        let (mut gpu, mut reference) = (on_gpu(&device, &bytes, exact()), reference(&bytes));
        for prompt in golden_prompts(&models) {
            // Ids of bytes are the bytes; 256 begins a text.
            let mut tokens: Vec<u32> = std::iter::once(256)
                .chain(prompt.bytes().map(u32::from))
                .collect();
            let last = (tokens.len() - 1) / MAX_BATCH * MAX_BATCH;
            for start in (0..last).step_by(MAX_BATCH) {
                let slice = &tokens[start..start + MAX_BATCH];
                gpu.forward(slice, start).expect("tokens are good");
                reference.forward(slice, start).expect("here too");
            }
            let mut start = last;
            for _ in 0..64 {
                let fed = &tokens[start..];
                let got = gpu.forward(fed, start).expect("tokens are good");
                let want = reference.forward(fed, start).expect("here too");
                assert_close(&got, &want, TOLERANCE);
                let next = argmax(&want);
                assert_eq!(argmax(&got), next, "{} after {tokens:?}", file.display());
                start = tokens.len();
                tokens.push(next);
            }
        }
    }
}

/// The first 20 prompts that llama.cpp was asked, too.
fn golden_prompts(models: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(models.join("golden/f16.json")).expect("it is committed");
    let golden: serde_json::Value = serde_json::from_str(&text).expect("json");
    let cases = golden["cases"].as_array().expect("a list of cases");
    let texts = cases.iter().filter_map(|case| case["text"].as_str());
    let prompts: Vec<String> = texts.map(str::to_owned).take(20).collect();
    assert_eq!(prompts.len(), 20);
    prompts
}

/// A model with one sequence, fed from any position on.
struct OneText {
    model: Model,
    id: SequenceId,
}

impl OneText {
    fn new(backend: impl Into<crate::model::Backend>) -> Self {
        let mut model = Model::new(backend, POSITIONS);
        let id = model.open().expect("room for one");
        Self { model, id }
    }

    fn forward(&mut self, tokens: &[u32], start: usize) -> Result<Vec<f32>, EngineError> {
        self.model.truncate(self.id, start)?;
        pollster::block_on(self.model.read(self.id, tokens))
    }
}

fn on_gpu(device: &GpuDevice, file: &[u8], settings: GpuSettings) -> OneText {
    OneText::new(gpu_model(device, file, settings))
}

fn gpu_model(device: &GpuDevice, file: &[u8], settings: GpuSettings) -> GpuModel {
    let mut upload = GpuUpload::new(device).with_settings(settings);
    read_gguf(file, &mut upload).expect("a good file");
    pollster::block_on(upload.into_model()).expect("it fits")
}

fn reference(file: &[u8]) -> OneText {
    reference_that(file, Rounding::Exact)
}

fn empty_reference(file: &[u8]) -> ReferenceModel {
    let (config, weights) = read(file);
    ReferenceModel::new(config, &weights, Rounding::Exact)
}

fn reference_that(file: &[u8], rounding: Rounding) -> OneText {
    let (config, weights) = read(file);
    OneText::new(ReferenceModel::new(config, &weights, rounding))
}

fn read(file: &[u8]) -> (ModelConfig, Weights) {
    let mut store = WeightStore::default();
    let config = read_gguf(file, &mut store).expect("a good file");
    (config, store.into_weights().expect("every tensor"))
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

fn ids(noise: &mut Noise, count: usize) -> Vec<u32> {
    (0..count).map(|_| noise.between(0, 319) as u32).collect()
}

fn rows(sequence: SequenceId, tokens: &[u32], wanted: &[usize]) -> Vec<BatchRow> {
    let row = |(at, token): (usize, &u32)| BatchRow {
        sequence,
        token: *token,
        logits: wanted.contains(&at),
    };
    tokens.iter().enumerate().map(row).collect()
}

fn batch(model: &mut Model, rows: &[BatchRow]) -> Vec<f32> {
    pollster::block_on(model.forward(rows)).expect("rows are good")
}

fn argmax(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.expect("a vocabulary is not empty").0 as u32
}

#[track_caller]
fn assert_close(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    let most = |most: f32, it: f32| most.max(it.abs());
    let largest = want.iter().copied().fold(0.0, most);
    let error = got.iter().zip(want).map(|(a, b)| a - b).fold(0.0, most);
    assert!(
        error <= tolerance * largest,
        "off by {error} where the largest logit is {largest}"
    );
}
