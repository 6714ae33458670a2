//! The rotation tables in GPU memory: what the position of a token does to each pair of a head.

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::device::GpuDevice;
use crate::rope::Rope;

/// positions in the first part of a table, as in `rope.wgsl`.
const FINE: usize = 256;

/// The tables of a model: of layers that see everything, and of layers that see a window.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    tables: [wgpu::Buffer; 2],
}

impl Turns {
    /// Two small tables instead of one row for every position: a turn is the product of two.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the adapter cannot bind them.
    pub(super) fn new(
        device: &GpuDevice,
        config: &ModelConfig,
        rope: &Rope,
    ) -> Result<Self, EngineError> {
        let coarse = config.context_len.div_ceil(FINE);
        let table = |local: bool| {
            let fine = (0..FINE).map(|position| forward(rope, position, local));
            let far = (0..coarse).map(|row| rope.at(row * FINE, local));
            upload(device, FINE + coarse, fine.chain(far))
        };
        Ok(Self {
            tables: [table(false)?, table(true)?],
        })
    }

    /// Tables that take every position back by `by`.
    ///
    /// # Errors
    /// As [`Turns::new`].
    pub(super) fn back(device: &GpuDevice, rope: &Rope, by: usize) -> Result<Self, EngineError> {
        let table = |local: bool| {
            let turn = rope.back(by, local);
            let stay = vec![(1.0, 0.0); turn.len()];
            let rows = std::iter::repeat_n(turn, FINE);
            upload(device, FINE + 1, rows.chain(std::iter::once(stay)))
        };
        Ok(Self {
            tables: [table(false)?, table(true)?],
        })
    }

    /// The table of layers with a window (`local`) or without.
    pub(super) fn table(&self, local: bool) -> &wgpu::Buffer {
        &self.tables[usize::from(local)]
    }
}

/// Turns by `position`, without the magnitude, which the other factor has.
fn forward(rope: &Rope, position: usize, local: bool) -> Vec<(f32, f32)> {
    let turns = rope.back(position, local);
    turns.into_iter().map(|(cos, sin)| (cos, -sin)).collect()
}

fn upload(
    device: &GpuDevice,
    count: usize,
    rows: impl Iterator<Item = Vec<(f32, f32)>>,
) -> Result<wgpu::Buffer, EngineError> {
    let mut rows = rows.peekable();
    let pairs = rows.peek().map_or(0, Vec::len);
    // Asked for before anything is computed: a header can say any number of positions.
    let bytes = count as u64 * pairs as u64 * 8;
    let buffer = device.storage("rotations", bytes)?;
    let turns: Vec<[f32; 2]> = rows.flatten().map(<[f32; 2]>::from).collect();
    device
        .queue
        .write_buffer(&buffer, 0, bytemuck::cast_slice(&turns));
    Ok(buffer)
}
