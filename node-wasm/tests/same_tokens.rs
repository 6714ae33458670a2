//! The engine's three paths in a browser: the specification, WebAssembly's vectors, and WGSL
//! through the browser's own compiler. All give llama.cpp's greedy tokens, up to near ties.

#![cfg(target_arch = "wasm32")]

mod golden;

use golden::{Golden, MODEL};
use thrum_engine::cpu::CpuModel;
use thrum_engine::generate::{Generation, GenerationParams, Step};
use thrum_engine::gguf::{GgufReader, ModelHeader, ReadOptions, WeightSink};
use thrum_engine::gpu::{GpuDevice, GpuOptions, GpuUpload};
use thrum_engine::model::Model;
use thrum_engine::reference::{ReferenceModel, Rounding};
use thrum_engine::sampler::SamplerParams;
use thrum_engine::tokenizer::EncodeOptions;
use thrum_engine::weights::WeightStore;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// positions; room for one answer.
const POSITIONS: usize = 512;

/// bytes; a chunk of a download.
const CHUNK_BYTES: usize = 64 << 10;

fn read(sink: &mut dyn WeightSink) -> ModelHeader {
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: Some(MODEL.len() as u64),
        available_bytes: None,
        max_context: 512,
    });
    for chunk in MODEL.chunks(CHUNK_BYTES) {
        reader
            .push(chunk, sink)
            .expect("the demonstrator is a valid file");
    }
    reader.finish(sink).expect("the demonstrator is whole")
}

async fn answer(header: &ModelHeader, model: &mut Model, prompt: &[u32], n: usize) -> Vec<u32> {
    let params = GenerationParams {
        sampling: SamplerParams::GREEDY,
        max_tokens: n,
        stop: Vec::new(),
        ignore_eos: true,
        keep: None,
    };
    let mut generation =
        Generation::new(model, &header.tokenizer, prompt, &[], params).expect("the prompt fits");
    loop {
        let step = generation
            .step(model, &header.tokenizer)
            .await
            .expect("the model computes");
        if let Step::Finished(_) = step {
            generation.release(model);
            return generation.answer().to_vec();
        }
    }
}

#[wasm_bindgen_test]
async fn all_paths_give_the_same_tokens() {
    let mut store = WeightStore::default();
    let header = read(&mut store);
    let weights = store.into_weights().expect("every tensor was written");
    let config = &header.config;
    let reference = ReferenceModel::new(config.clone(), &weights, Rounding::Int8);
    let mut reference = Model::new(reference, POSITIONS);
    let mut cpu = Model::new(
        CpuModel::new(config.clone(), weights).expect("room"),
        POSITIONS,
    );
    let device = GpuDevice::request(GpuOptions::default())
        .await
        .expect("Chromium has WebGPU");
    let mut upload = GpuUpload::new(&device);
    read(&mut upload);
    let gpu = upload
        .into_model()
        .await
        .expect("the device takes the weights");
    let mut gpu = Model::new(gpu, POSITIONS);

    for case in &Golden::read().cases {
        let options = EncodeOptions {
            add_bos: true,
            control: false,
        };
        let prompt = header
            .tokenizer
            .encode(&case.text, options)
            .expect("every byte has a token");
        assert_eq!(prompt, case.tokens, "{:?}", case.text);
        let n = case.continuation.len();
        let specified = answer(&header, &mut reference, &prompt, n).await;
        assert_eq!(specified.len(), n);
        case.check(&specified);
        // Activations and keys are rounded in other places than here, which may turn a near tie.
        case.check(&answer(&header, &mut gpu, &prompt, n).await);
        case.check(&answer(&header, &mut cpu, &prompt, n).await);
    }
}
