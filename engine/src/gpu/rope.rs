//! The rotation table in GPU memory: what the position of a token does to each pair of a head.

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::device::GpuDevice;
use crate::rope::Rope;

/// positions; the table goes up in pieces of this many, so that a long context is never whole in
/// memory.
const PIECE: usize = 1024;

/// The table `(context, rope_dim / 2)` of `(cos, sin)`, for neighbours `(2i, 2i + 1)` of a head.
///
/// # Errors
/// [`EngineError::GpuBufferTooLarge`] when the adapter cannot bind it.
pub(super) fn upload(
    device: &GpuDevice,
    config: &ModelConfig,
) -> Result<wgpu::Buffer, EngineError> {
    let rope_dim = config.rope.as_ref().map_or(0, |rope| rope.dim);
    let row_bytes = (rope_dim * size_of::<f32>()) as u64;
    let buffer = device.storage("rotations", config.context_len as u64 * row_bytes)?;
    let Some(rope) = Rope::of(config, &[]) else {
        return Ok(buffer);
    };
    for first in (0..config.context_len).step_by(PIECE) {
        let last = config.context_len.min(first + PIECE);
        let turns: Vec<[f32; 2]> = (first..last)
            .flat_map(|pos| rope.at(pos, false))
            .map(<[f32; 2]>::from)
            .collect();
        let at = first as u64 * row_bytes;
        device
            .queue
            .write_buffer(&buffer, at, bytemuck::cast_slice(&turns));
    }
    Ok(buffer)
}
