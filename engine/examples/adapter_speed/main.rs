//! Prints what adapters cost on a GGUF file, as one JSON line of seconds:
//! `adapter_speed <file.gguf> [f32]`. With and without take turns, so that what else runs hits
//! both; with `f32` the adapters' numbers need all of their bits.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod measure;

use std::error::Error;
use std::time::Instant;

use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::model::Model;
use thrum_engine::weights::WeightStore;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args
        .next()
        .ok_or("usage: adapter_speed <file.gguf> [f32]")?;
    let narrow = args.next().as_deref() != Some("f32");
    let file = std::fs::read(path)?;
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: measure::POSITIONS,
    });
    let mut store = WeightStore::default();
    reader.push(&file, &mut store)?;
    let config = reader.finish(&mut store)?.config;
    let model = CpuModel::new(config, store.into_weights()?)?;
    let mut model = Model::new(model, measure::POSITIONS);
    let begun = Instant::now();
    let seconds = || begun.elapsed().as_secs_f64();
    println!(
        "{}",
        pollster::block_on(measure::measure(&mut model, narrow, &seconds))?
    );
    Ok(())
}
