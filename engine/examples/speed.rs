//! Prints tokens per second of the native paths on a GGUF file: `speed <file.gguf> [tokens]`.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::error::Error;
use std::time::Instant;

use thrum_engine::EngineError;
use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::gpu::{GpuDevice, GpuModel, GpuOptions, GpuUpload};
use thrum_engine::memory::MAX_BATCH;
use thrum_engine::reference::ReferenceModel;
use thrum_engine::weights::WeightStore;

/// positions; enough for the prompt and the answer that are timed.
const CONTEXT: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: speed <file.gguf> [tokens]")?;
    let n_tokens: usize = args.next().map_or(Ok(128), |it| it.parse())?;
    let file = std::fs::read(path)?;
    let options = ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: CONTEXT,
    };
    let mut reader = GgufReader::new(options);
    let mut store = WeightStore::default();
    reader.push(&file, &mut store)?;
    let config = reader.finish(&mut store)?.config;
    let weights = store.into_weights()?;
    let n_tokens = n_tokens.min(config.context_len - MAX_BATCH);
    println!(
        "{} layers of {}, {n_tokens} tokens",
        config.n_layers, config.dim
    );
    let mut reference = ReferenceModel::new(config.clone(), &weights);
    report("reference", n_tokens, |tokens, pos| {
        reference.forward(tokens, pos)
    })?;
    let mut cpu = CpuModel::new(config, weights);
    report("cpu", n_tokens, |tokens, pos| cpu.forward(tokens, pos))?;
    match pollster::block_on(GpuDevice::request(GpuOptions::default())) {
        Ok(device) => {
            println!("gpu is {}", device.adapter().name);
            let mut gpu = upload(&device, &file, options)?;
            report("gpu", n_tokens, |tokens, pos| {
                pollster::block_on(gpu.forward(tokens, pos))
            })
        }
        Err(error) => {
            println!("       gpu: skipped, {error}");
            Ok(())
        }
    }
}

fn upload(
    device: &GpuDevice,
    file: &[u8],
    options: ReadOptions,
) -> Result<GpuModel, Box<dyn Error>> {
    let mut reader = GgufReader::new(options);
    let mut upload = GpuUpload::new(device);
    reader.push(file, &mut upload)?;
    reader.finish(&mut upload)?;
    Ok(pollster::block_on(upload.into_model())?)
}

type Forward<'a> = &'a mut dyn FnMut(&[u32], usize) -> Result<Vec<f32>, EngineError>;

fn report(
    path: &str,
    n_tokens: usize,
    mut forward: impl FnMut(&[u32], usize) -> Result<Vec<f32>, EngineError>,
) -> Result<(), Box<dyn Error>> {
    let prefill = per_second(n_tokens, MAX_BATCH, &mut forward)?;
    let decode = per_second(n_tokens, 1, &mut forward)?;
    println!("{path:>10}: prefill {prefill:.0} tok/s, decode {decode:.0} tok/s");
    Ok(())
}

fn per_second(n_tokens: usize, batch: usize, forward: Forward<'_>) -> Result<f64, Box<dyn Error>> {
    let tokens = vec![0_u32; n_tokens];
    let start = Instant::now();
    for (n, tokens) in tokens.chunks(batch).enumerate() {
        forward(tokens, n * batch)?;
    }
    Ok(n_tokens as f64 / start.elapsed().as_secs_f64())
}
