//! Times one matrix product on WebGPU.

use thrum_engine::gpu::{self, GpuDevice, GpuOptions};
use thrum_engine::quant::Format;
use thrum_engine::weights::Matrix;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// Milliseconds.
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// What was found.
#[wasm_bindgen]
#[derive(Debug)]
pub struct GpuTimes(gpu::ProductTimes);

#[wasm_bindgen]
impl GpuTimes {
    /// Milliseconds of one product, for each series.
    #[wasm_bindgen(getter)]
    pub fn millis(&self) -> Vec<f64> {
        self.0.millis.clone()
    }

    /// `(tokens, rows)`
    #[wasm_bindgen(getter)]
    pub fn outputs(&self) -> Vec<f32> {
        self.0.outputs.clone()
    }

    /// The kernel that was chosen.
    #[wasm_bindgen(getter)]
    pub fn kernel(&self) -> String {
        self.0.kernel.clone()
    }
}

/// Multiplies a Q4_0 matrix with activations, `(tokens, cols)`, in `rounds` series.
///
/// # Errors
/// In words, why the GPU did not.
#[wasm_bindgen(js_name = gpuMatmul)]
pub async fn gpu_matmul(
    blocks: Vec<u8>,
    activations: Vec<f32>,
    cols: usize,
    rows: usize,
    rounds: usize,
) -> Result<GpuTimes, String> {
    let device = GpuDevice::request(GpuOptions::default())
        .await
        .map_err(|error| error.to_string())?;
    let matrix = Matrix {
        format: Format::Q4_0,
        rows,
        cols,
        bytes: blocks,
    };
    gpu::time_product(&device, &matrix, &activations, rounds, &now)
        .await
        .map(GpuTimes)
        .map_err(|error| error.to_string())
}
