//! A weight matrix in GPU memory, cut by rows where it is larger than one binding may be.

use crate::error::EngineError;
use crate::gpu::device::GpuDevice;
use crate::gpu::layout::{Layout, SUPER_COLS};
use crate::gpu::repack::{self, Parts};
use crate::quant::Format;

/// rows; a piece has a multiple of so many, which keeps every piece's scales in whole words.
const PIECE_ROWS: u64 = 64;

/// A matrix `(rows, cols)`; a clone is the same buffers.
#[derive(Debug, Clone)]
pub(super) struct GpuTensor {
    pub(super) layout: Layout,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// One but for matrices that no binding can hold.
    pub(super) pieces: Vec<Piece>,
}

/// Some rows of a matrix.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) first_row: usize,
    pub(super) rows: usize,
    /// Floats or codes, `(rows, cols)`.
    pub(super) codes: wgpu::Buffer,
    /// None for floats.
    pub(super) scales: Option<wgpu::Buffer>,
    /// Word of the scales at which those of groups of groups begin.
    pub(super) supers_at: u32,
}

impl GpuTensor {
    /// Room for a matrix of `format`.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the adapter cannot bind 64 rows of it.
    pub(super) fn new(
        device: &GpuDevice,
        what: &str,
        format: Format,
        rows: usize,
        cols: usize,
    ) -> Result<Self, EngineError> {
        let layout = Layout::of(format);
        let most = rows_that_fit(device, what, layout, rows, cols)?;
        let pieces = (0..rows)
            .step_by(most)
            .map(|first_row| {
                let rows = most.min(rows - first_row);
                let weights = rows as u64 * cols as u64;
                let group_bytes = layout.group_bytes(weights).next_multiple_of(4);
                let scale_bytes = group_bytes + layout.super_bytes(weights);
                let scales = match scale_bytes {
                    0 => None,
                    _ => Some(device.storage(what, scale_bytes)?),
                };
                Ok(Piece {
                    first_row,
                    rows,
                    codes: device.storage(what, layout.code_bytes(weights))?,
                    scales,
                    supers_at: (group_bytes / 4) as u32,
                })
            })
            .collect::<Result<_, EngineError>>()?;
        Ok(Self {
            layout,
            rows,
            cols,
            pieces,
        })
    }

    /// Blocks of a row, in the words of the kernels.
    pub(super) fn blocks(&self) -> u32 {
        (self.cols / self.layout.block_cols()) as u32
    }

    /// Writes whole blocks of `format` from weight `first` (`row * cols + col`) on. Apart from the
    /// last of an even number of rows, writes are of an even number of groups.
    pub(super) fn write(
        &self,
        queue: &wgpu::Queue,
        format: Format,
        first: u64,
        bytes: &[u8],
        parts: &mut Parts,
    ) {
        let (mut first, mut bytes) = (first, bytes);
        let cols = self.cols as u64;
        for piece in &self.pieces {
            let begin = piece.first_row as u64 * cols;
            let end = begin + piece.rows as u64 * cols;
            if bytes.is_empty() || first >= end {
                continue;
            }
            let blocks = (end - first) / format.block_len() as u64;
            let len = bytes.len().min(blocks as usize * format.block_bytes());
            let (here, rest) = bytes.split_at(len);
            self.write_piece(queue, format, piece, first - begin, here, parts);
            first += (here.len() / format.block_bytes() * format.block_len()) as u64;
            bytes = rest;
        }
    }

    fn write_piece(
        &self,
        queue: &wgpu::Queue,
        format: Format,
        piece: &Piece,
        at: u64,
        bytes: &[u8],
        parts: &mut Parts,
    ) {
        repack::split(format, bytes, parts);
        queue.write_buffer(&piece.codes, self.layout.code_bytes(at), &parts.codes);
        if let Some(scales) = &piece.scales {
            queue.write_buffer(scales, self.layout.group_bytes(at), &parts.groups);
            if !parts.supers.is_empty() {
                let word = u64::from(piece.supers_at) + 2 * (at / SUPER_COLS as u64);
                queue.write_buffer(scales, 4 * word, &parts.supers);
            }
        }
    }
}

fn rows_that_fit(
    device: &GpuDevice,
    what: &str,
    layout: Layout,
    rows: usize,
    cols: usize,
) -> Result<usize, EngineError> {
    let available_bytes = device.max_buffer_bytes();
    let bytes = |rows: u64| {
        let weights = rows * cols as u64;
        let scales = layout.group_bytes(weights).next_multiple_of(4) + layout.super_bytes(weights);
        layout.code_bytes(weights).max(scales)
    };
    if bytes(rows as u64) <= available_bytes {
        return Ok(rows.max(1));
    }
    let most = available_bytes / bytes(PIECE_ROWS) * PIECE_ROWS;
    match most {
        0 => Err(EngineError::GpuBufferTooLarge {
            what: what.to_owned(),
            needed_bytes: bytes(PIECE_ROWS),
            available_bytes,
        }),
        most => Ok(most as usize),
    }
}
