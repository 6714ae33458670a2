//! A model file onto a GPU, as the examples do it.

use std::error::Error;

use thrum_engine::gguf::{GgufReader, ReadOptions};
use thrum_engine::gpu::{GpuDevice, GpuModel, GpuUpload};

/// Reads a whole GGUF `file` onto `device`.
///
/// # Errors
/// As the reader's and the upload's.
pub(crate) fn upload(
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
