//! Hands tensor bytes on to the sink as they arrive, in whole blocks, and nothing twice.

use super::{GgufError, WRITE_BLOCKS, WeightSink};
use crate::error::EngineError;
use crate::quant::first_damaged_block;
use crate::weights::TensorInfo;

/// The part of a file after its header.
#[derive(Debug)]
pub(super) struct TensorStream {
    /// Index in the whole model of the first tensor of this file.
    first: usize,
    /// By offset, not overlapping.
    tensors: Vec<TensorInfo>,
    data_start: u64,
    end: u64,
    padded_end: u64,
    /// Offset in the file of the next byte to arrive.
    position: u64,
    /// Index of the tensor that is arriving.
    current: usize,
    /// Bytes of it that the sink has.
    written: u64,
    /// Bytes of it that the sink does not have yet; less than [`WRITE_BLOCKS`] blocks.
    held: Vec<u8>,
}

/// Where things lie in the file, in bytes from its start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// End of the header's last item: where the stream starts.
    pub(super) header_end: u64,
    /// Start of the tensor data.
    pub(super) data_start: u64,
    /// End of the last tensor.
    pub(super) end: u64,
    /// The same with padding.
    pub(super) padded_end: u64,
}

impl Extent {
    /// Checks what is known of the file's length.
    pub(super) fn check(&self, file_bytes: Option<u64>) -> Result<(), GgufError> {
        match file_bytes {
            Some(file_bytes) if file_bytes < self.end => Err(GgufError::Truncated {
                needed_bytes: self.end,
                file_bytes,
            }),
            Some(file_bytes) if file_bytes > self.padded_end => Err(GgufError::TrailingBytes {
                needed_bytes: self.padded_end,
                file_bytes,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl TensorStream {
    /// `tensors` are those of one file; the first of them is number `first` of the model.
    pub(super) fn new(first: usize, tensors: Vec<TensorInfo>, extent: Extent) -> Self {
        let Extent {
            header_end,
            data_start,
            end,
            padded_end,
        } = extent;
        Self {
            first,
            tensors,
            data_start,
            end,
            padded_end,
            position: header_end,
            current: 0,
            written: 0,
            held: Vec::new(),
        }
    }

    pub(super) fn push(
        &mut self,
        mut chunk: &[u8],
        sink: &mut dyn WeightSink,
    ) -> Result<(), EngineError> {
        while !chunk.is_empty() {
            let used = match self.tensors.get(self.current) {
                None => self.skip_padding(chunk)?,
                Some(info) => {
                    let start = self.data_start + info.offset;
                    match start.checked_sub(self.position) {
                        None | Some(0) => self.push_tensor(chunk, sink)?,
                        Some(gap) => usize::try_from(gap).unwrap_or(usize::MAX).min(chunk.len()),
                    }
                }
            };
            self.position += used as u64;
            chunk = &chunk[used..];
        }
        Ok(())
    }

    /// Checks that nothing is missing.
    pub(super) fn finish(&self) -> Result<(), GgufError> {
        if self.current < self.tensors.len() {
            return Err(GgufError::Truncated {
                needed_bytes: self.end,
                file_bytes: self.position,
            });
        }
        Ok(())
    }

    fn skip_padding(&self, chunk: &[u8]) -> Result<usize, GgufError> {
        let file_bytes = self.position + chunk.len() as u64;
        if file_bytes > self.padded_end {
            return Err(GgufError::TrailingBytes {
                needed_bytes: self.padded_end,
                file_bytes,
            });
        }
        Ok(chunk.len())
    }

    /// Takes bytes of the current tensor from the front of `chunk`; returns how many.
    fn push_tensor(
        &mut self,
        chunk: &[u8],
        sink: &mut dyn WeightSink,
    ) -> Result<usize, EngineError> {
        let info = &self.tensors[self.current];
        let unit = WRITE_BLOCKS * info.format.block_bytes();
        let left = info.bytes() - self.written - self.held.len() as u64;
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let ends_here = here as u64 == left;
        if !self.held.is_empty() {
            let fill = here.min(unit - self.held.len());
            self.held.extend_from_slice(&chunk[..fill]);
            if self.held.len() == unit || (ends_here && fill == here) {
                let held = std::mem::take(&mut self.held);
                self.write(&held, sink)?;
            }
            return Ok(fill);
        }
        let whole = if ends_here { here } else { here / unit * unit };
        if whole == 0 {
            self.held.extend_from_slice(&chunk[..here]);
            return Ok(here);
        }
        self.write(&chunk[..whole], sink)?;
        Ok(whole)
    }

    fn write(&mut self, bytes: &[u8], sink: &mut dyn WeightSink) -> Result<(), EngineError> {
        let info = &self.tensors[self.current];
        if let Some(block) = first_damaged_block(info.format, bytes) {
            let block = self.written / info.format.block_bytes() as u64 + block as u64;
            return Err(GgufError::NotFinite {
                tensor: info.slot.name(),
                block,
            }
            .into());
        }
        sink.write(self.first + self.current, self.written, bytes)?;
        self.written += bytes.len() as u64;
        if self.written == info.bytes() {
            self.current += 1;
            self.written = 0;
        }
        Ok(())
    }
}
