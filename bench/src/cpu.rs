//! Times one matrix product on the CPU, for each kind of kernel that the browser runs.

use thrum_engine::cpu::activations::Activations;
use thrum_engine::cpu::kernels::{self, Kernels};
use thrum_engine::cpu::panels::{PanelBuilder, Panels};
use thrum_engine::quant::{Format, quantize};
use thrum_engine::synthetic::Random;
use wasm_bindgen::prelude::*;

/// rows; drawn once and repeated, because quantising takes longer than what is measured.
const DRAWN_ROWS: usize = 8;

/// ms; how long a series of products takes about: well above the steps of a browser's clock.
const SERIES_MS: f64 = 30.0;

/// products; more are not needed for a steady mean.
const MAX_PRODUCTS: u32 = 4_096;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// The kinds of kernel that this browser runs, the fastest last.
#[wasm_bindgen(js_name = kernelNames)]
pub fn kernel_names() -> Vec<String> {
    kernels::all()
        .iter()
        .map(|kernels| kernels.name().to_owned())
        .collect()
}

/// Milliseconds of one product in each of `rounds` series, with the kernels called `name`.
/// `format` is GGUF's number.
///
/// # Errors
/// In words, what there is not.
#[wasm_bindgen]
pub fn matmul(
    name: &str,
    format: u32,
    cols: usize,
    rows: usize,
    tokens: usize,
    rounds: usize,
) -> Result<Vec<f64>, String> {
    let kernels = kernels::all()
        .into_iter()
        .find(|kernels| kernels.name() == name)
        .ok_or_else(|| format!("this browser runs no kernels called {name:?}"))?;
    let format = Format::from_type_id(format).ok_or("no such format")?;
    let weights = matrix(format, cols, rows).map_err(|error| error.to_string())?;
    let mut random = Random(7);
    let x: Vec<f32> = (0..tokens * cols).map(|_| random.symmetric()).collect();
    let mut inputs = Activations::default();
    inputs.set(&x, cols);
    let mut outputs = vec![0.0; tokens * rows];
    let mut series = |products: u32| timed(kernels, &weights, &inputs, &mut outputs, products);
    // The first warms the caches and the compiler, the second says how many fill a series.
    series(1);
    let once = series(2).max(SERIES_MS / f64::from(MAX_PRODUCTS));
    let products = ((SERIES_MS / once) as u32).clamp(1, MAX_PRODUCTS);
    series(products);
    Ok((0..rounds).map(|_| series(products)).collect())
}

fn timed(
    kernels: &dyn Kernels,
    weights: &Panels,
    inputs: &Activations,
    outputs: &mut [f32],
    products: u32,
) -> f64 {
    let since = now();
    for _ in 0..products {
        kernels.matmul(weights, inputs, outputs);
    }
    (now() - since) / f64::from(products)
}

fn matrix(format: Format, cols: usize, rows: usize) -> Result<Panels, thrum_engine::EngineError> {
    let mut random = Random(3);
    let spread = (cols as f32).sqrt().recip();
    let drawn: Vec<f32> = (0..DRAWN_ROWS * cols)
        .map(|_| spread * random.symmetric())
        .collect();
    let bytes = quantize(format, &drawn);
    let row_bytes = bytes.len() / DRAWN_ROWS;
    let mut builder = PanelBuilder::new(format, rows, cols)?;
    let mut left = rows;
    while left > 0 {
        let taken = left.min(DRAWN_ROWS);
        builder.push(&bytes[..taken * row_bytes])?;
        left -= taken;
    }
    builder.finish()
}
