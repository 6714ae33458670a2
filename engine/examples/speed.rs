//! Prints tokens per second of the native paths on a GGUF file:
//! `speed <file.gguf> [tokens] [threads]`.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod upload;

use std::error::Error;
use std::time::Instant;

use thrum_engine::cpu::CpuModel;
use thrum_engine::cpu::crew::ThreadCrew;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::gpu::{GpuDevice, GpuOptions};
use thrum_engine::memory::MAX_BATCH;
use thrum_engine::model::{Backend, Model};
use thrum_engine::weights::WeightStore;
use upload::upload;

/// positions; enough for the prompt and the answer that are timed.
const CONTEXT: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args
        .next()
        .ok_or("usage: speed <file.gguf> [tokens] [threads]")?;
    let n_tokens: usize = args.next().map_or(Ok(128), |it| it.parse())?;
    let threads: usize = args.next().map_or(Ok(1), |it| it.parse())?;
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
    let cpu = match threads.saturating_sub(1) {
        0 => CpuModel::new(config, weights)?,
        members => CpuModel::with_crew(config, weights, Box::new(ThreadCrew::new(members)?))?,
    };
    report(&format!("cpu, {}", cpu.workers()), n_tokens, cpu.into())?;
    match pollster::block_on(GpuDevice::request(GpuOptions::default())) {
        Ok(device) => {
            println!("gpu is {}", device.adapter().name);
            report("gpu", n_tokens, upload(&device, &file, options)?.into())
        }
        Err(error) => {
            println!("       gpu: skipped, {error}");
            Ok(())
        }
    }
}

fn report(path: &str, n_tokens: usize, backend: Backend) -> Result<(), Box<dyn Error>> {
    let mut model = Model::new(backend, CONTEXT);
    let prefill = per_second(&mut model, n_tokens, MAX_BATCH)?;
    let decode = per_second(&mut model, n_tokens, 1)?;
    println!("{path:>10}: prefill {prefill:.0} tok/s, decode {decode:.1} tok/s");
    Ok(())
}

fn per_second(model: &mut Model, n_tokens: usize, batch: usize) -> Result<f64, Box<dyn Error>> {
    let tokens = vec![0_u32; n_tokens];
    let id = model.open()?;
    let start = Instant::now();
    for tokens in tokens.chunks(batch) {
        pollster::block_on(model.read(id, tokens))?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    model.close(id);
    Ok(n_tokens as f64 / elapsed)
}
