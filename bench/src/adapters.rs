//! Times passes with adapters and without, on the CPU path of a page.

use thrum_engine::cpu::CpuModel;
use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::model::Model;
use thrum_engine::weights::WeightStore;
use wasm_bindgen::prelude::*;

#[path = "../../engine/examples/adapter_speed/measure.rs"]
mod measure;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// What the engine's example `adapter_speed` prints, of a GGUF file.
///
/// # Errors
/// In words, what the engine refuses.
#[wasm_bindgen(js_name = adapterSpeed)]
pub async fn adapter_speed(file: Vec<u8>, narrow: bool) -> Result<String, String> {
    let words = |error: thrum_engine::EngineError| error.to_string();
    let mut reader = GgufReader::new(ReadOptions {
        file_bytes: Some(file.len() as u64),
        available_bytes: None,
        max_context: measure::POSITIONS,
    });
    let mut store = WeightStore::default();
    reader.push(&file, &mut store).map_err(words)?;
    let config = reader.finish(&mut store).map_err(words)?.config;
    let weights = store.into_weights().map_err(words)?;
    let cpu = CpuModel::new(config, weights).map_err(words)?;
    let mut model = Model::new(cpu, measure::POSITIONS);
    let seconds = || now() / 1e3;
    measure::measure(&mut model, narrow, &seconds)
        .await
        .map_err(words)
}
