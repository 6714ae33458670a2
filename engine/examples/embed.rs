//! Prints one vector per line of the standard input, as a JSON array, each of length 1:
//! `embed <file.gguf> [cpu|gpu|reference] < texts`. Texts are cut at the model's longest.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

mod upload;

use std::error::Error;
use std::io::BufRead as _;

use thrum_engine::ModelConfig;
use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::gpu::{GpuDevice, GpuOptions};
use thrum_engine::model::{Backend, Model};
use thrum_engine::reference::{ReferenceModel, Rounding};
use thrum_engine::weights::WeightStore;
use upload::upload;

/// tokens; longer texts are cut. The longest that all-MiniLM-L6-v2 has positions for.
const CONTEXT: usize = 512;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let path = args.next().ok_or("usage: embed <file.gguf> [backend]")?;
    let backend = args.next().unwrap_or_else(|| "cpu".to_owned());
    let file = std::fs::read(path)?;
    let options = ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: CONTEXT,
    };
    let mut reader = GgufReader::new(options);
    let mut store = WeightStore::default();
    reader.push(&file, &mut store)?;
    let header = reader.finish(&mut store)?;
    let config = header.config;
    let tokenizer = header.tokenizer;
    let longest = config.context_len;
    let mut model = Model::new(open(&backend, &file, options, config, store)?, CONTEXT);
    for text in std::io::stdin().lock().lines() {
        let mut tokens = tokenizer.encode_framed(&text?, false)?;
        if let (true, Some(closing)) = (tokens.len() > longest, tokens.last().copied()) {
            tokens.truncate(longest - 1);
            tokens.push(closing);
        }
        let vector = pollster::block_on(model.embed(&tokens))?;
        println!("{}", serde_json::to_string(&vector)?);
    }
    Ok(())
}

fn open(
    backend: &str,
    file: &[u8],
    options: ReadOptions,
    config: ModelConfig,
    store: WeightStore,
) -> Result<Backend, Box<dyn Error>> {
    match backend {
        "cpu" => Ok(CpuModel::new(config, store.into_weights()?)?.into()),
        "reference" => {
            let weights = store.into_weights()?;
            Ok(ReferenceModel::new(config, &weights, Rounding::Exact).into())
        }
        "gpu" => {
            let device = pollster::block_on(GpuDevice::request(GpuOptions::default()))?;
            Ok(upload(&device, file, options)?.into())
        }
        other => Err(format!("no back end {other:?}: cpu, gpu or reference").into()),
    }
}
