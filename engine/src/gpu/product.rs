//! One matrix product on its own, done as a model would do it: for measuring the kernels.

use crate::error::EngineError;
use crate::gpu::bind::Kernels;
use crate::gpu::device::GpuDevice;
use crate::gpu::linear::{Gate, ways};
use crate::gpu::repack::Parts;
use crate::gpu::tensor::GpuTensor;
use crate::gpu::tuning::{Clock, Room, Shape, Trials};
use crate::weights::Matrix;

/// ms; how long a series takes about: long beside the wait for its end.
const SERIES_MS: f64 = 200.0;

/// products in a series at most: a submission that runs for seconds may be taken for a hang.
const MAX_PRODUCTS: u32 = 500;

/// What [`time_product`] found.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductTimes {
    /// Milliseconds of one product, for each series.
    pub millis: Vec<f64>,
    /// `(tokens, rows)`
    pub outputs: Vec<f32>,
    /// The kernel that was chosen.
    pub kernel: String,
}

/// Multiplies `matrix` with `x`, whole vectors of its columns, in `rounds` series with the kernel
/// that is fastest on this device. `clock` gives milliseconds.
///
/// # Errors
/// [`EngineError::GpuLost`], or [`EngineError::GpuBufferTooLarge`].
pub async fn time_product(
    device: &GpuDevice,
    matrix: &Matrix,
    x: &[f32], // (tokens, cols)
    rounds: usize,
    clock: &Clock<'_>,
) -> Result<ProductTimes, EngineError> {
    let Matrix {
        format, rows, cols, ..
    } = *matrix;
    let tokens = x.len() / cols;
    let tensor = GpuTensor::new(device, "a matrix to measure", format, rows, cols)?;
    tensor.write(
        &device.queue,
        format,
        0,
        &matrix.bytes,
        &mut Parts::default(),
    );
    let mut trials = Trials::new(device, clock, Kernels::default());
    let shape = Shape {
        tensor: &tensor,
        is_many: tokens > 1,
        weights: 1,
    };
    let way = match trials.fastest(&shape, false, f64::INFINITY).await? {
        Some(way) => way,
        None => ways(device, tensor.layout, Gate::None, shape.is_many)[0],
    };
    let mut room = Room::new(device, &tensor, tokens)?;
    device
        .queue
        .write_buffer(&room.x, 0, bytemuck::cast_slice(x));
    let dispatches = trials.dispatches(way, &tensor, &room);
    room.compared = tokens * rows;
    let (_, outputs) = trials.run(&dispatches, &room, tokens, 1).await?;
    // From here on the wait is for the end of the work, not for its results.
    room.compared = 1;
    let (once, _) = trials.run(&dispatches, &room, tokens, 1).await?;
    let products = ((SERIES_MS / once.max(0.1)) as u32).clamp(1, MAX_PRODUCTS);
    let mut millis = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let (series, _) = trials.run(&dispatches, &room, tokens, products).await?;
        millis.push(series / f64::from(products));
    }
    Ok(ProductTimes {
        millis,
        outputs,
        kernel: format!("{way:?}"),
    })
}
