//! Takes the weights of a model into GPU buffers while its file is being read.

use std::collections::BTreeMap;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufError, WRITE_BLOCKS, WeightSink};
use crate::gpu::device::GpuDevice;
use crate::gpu::model::GpuModel;
use crate::gpu::repack::{self, Parts};
use crate::quant::Format;
use crate::weights::{Slot, TensorInfo};

/// bytes; what is written and not submitted waits in memory, so this bounds it.
const SUBMIT_BYTES: u64 = 16 << 20;

/// columns; the kernels read vectors of four.
const VECTOR: usize = 4;

/// A tensor in GPU memory, split as the kernels want it; a clone is the same buffers.
#[derive(Debug, Clone)]
pub(super) struct GpuTensor {
    pub(super) format: Format,
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Weights or quants, `(rows, cols)`.
    pub(super) quants: wgpu::Buffer,
    /// F16 scales, `(rows, cols / 32)`; none for the float formats.
    pub(super) scales: Option<wgpu::Buffer>,
}

/// A [`WeightSink`] that streams every tensor into buffers of its own; at most 16 MiB wait in memory.
#[derive(Debug)]
pub struct GpuUpload {
    device: GpuDevice,
    config: Option<ModelConfig>,
    infos: Vec<TensorInfo>,
    tensors: Vec<GpuTensor>,
    /// Bytes of the file written, by tensor.
    written: Vec<u64>,
    parts: Parts,
    unsubmitted_bytes: u64,
}

impl GpuUpload {
    /// A sink that fills `device`.
    pub fn new(device: &GpuDevice) -> Self {
        Self {
            device: device.clone(),
            config: None,
            infos: Vec::new(),
            tensors: Vec::new(),
            written: Vec::new(),
            parts: Parts::default(),
            unsubmitted_bytes: 0,
        }
    }

    /// The model, once the reader has finished and the GPU has taken everything.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`] for the first tensor that was not written whole;
    /// [`EngineError::GpuBufferTooLarge`] when the cache does not fit;
    /// [`EngineError::GpuLost`] when the device ran out of memory or went away.
    pub async fn into_model(self) -> Result<GpuModel, EngineError> {
        self.device.check()?;
        let missing = |slot: Slot| GgufError::MissingTensor { name: slot.name() };
        let config = self.config.ok_or_else(|| missing(Slot::TokenEmbedding))?;
        for (info, written) in self.infos.iter().zip(&self.written) {
            if *written != info.bytes() {
                return Err(missing(info.slot).into());
            }
        }
        let tensors: BTreeMap<Slot, GpuTensor> = self
            .infos
            .iter()
            .map(|info| info.slot)
            .zip(self.tensors)
            .collect();
        if let Some(slot) = Slot::all(&config).find(|slot| !tensors.contains_key(slot)) {
            return Err(missing(slot).into());
        }
        GpuModel::new(self.device, config, tensors).await
    }
}

impl WeightSink for GpuUpload {
    fn begin(&mut self, config: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError> {
        if config.architecture != crate::arch::Architecture::Llama
            || config
                .layer_slots
                .iter()
                .any(|slot| slot.name().ends_with(".bias"))
            || config
                .rope
                .as_ref()
                .is_none_or(|rope| rope.factors.is_some() || rope.divisor != 1.0)
        {
            return Err(EngineError::GpuUnavailable {
                reason: format!(
                    "its kernels do not compute {} with these tensors",
                    config.facts().name
                ),
            });
        }
        let widths = [
            ("the width", config.dim),
            ("the size of a head", config.head_dim),
            ("the width of the feed-forward layer", config.ffn_dim),
        ];
        for (what, value) in widths {
            if value % VECTOR != 0 {
                return Err(EngineError::GpuShape {
                    what,
                    value,
                    multiple: VECTOR,
                });
            }
        }
        if let Some(info) = tensors
            .iter()
            .find(|info| !repack::has_kernels(info.format))
        {
            return Err(EngineError::GpuFormat {
                tensor: info.slot.name(),
                format: info.format.name(),
            });
        }
        self.tensors = tensors
            .iter()
            .map(|info| allocate(&self.device, info))
            .collect::<Result<_, _>>()?;
        self.infos = tensors.to_vec();
        self.written = vec![0; tensors.len()];
        self.config = Some(config.clone());
        self.device.check()
    }

    fn write(&mut self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let (info, target) = (&self.infos[tensor], &self.tensors[tensor]);
        assert!(
            offset == self.written[tensor]
                && offset.is_multiple_of((info.format.block_bytes() * WRITE_BLOCKS) as u64)
                && offset + bytes.len() as u64 <= info.bytes(),
            "a reader writes tensors in order and in groups of blocks"
        );
        let first_block = offset / info.format.block_bytes() as u64;
        repack::split(info.format, bytes, &mut self.parts);
        let quant_bytes = repack::quant_bytes(info.format) as u64;
        let queue = &self.device.queue;
        queue.write_buffer(
            &target.quants,
            first_block * quant_bytes,
            &self.parts.quants,
        );
        if let Some(scales) = &target.scales {
            let at = first_block * repack::SCALE_BYTES as u64;
            queue.write_buffer(scales, at, &self.parts.scales);
        }
        self.written[tensor] += bytes.len() as u64;
        self.unsubmitted_bytes += bytes.len() as u64;
        if self.unsubmitted_bytes >= SUBMIT_BYTES {
            queue.submit([]);
            self.unsubmitted_bytes = 0;
        }
        self.device.check()
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.device.queue.submit([]);
        self.device.check()
    }
}

fn allocate(device: &GpuDevice, info: &TensorInfo) -> Result<GpuTensor, EngineError> {
    let name = info.slot.name();
    let blocks = info.bytes() / info.format.block_bytes() as u64;
    let quant_bytes = repack::quant_bytes(info.format);
    let quants = device.storage(&name, blocks * quant_bytes as u64)?;
    let scales = match info.format.block_bytes() - quant_bytes {
        0 => None,
        scale_bytes => Some(device.storage(&name, blocks * scale_bytes as u64)?),
    };
    Ok(GpuTensor {
        format: info.format,
        rows: info.rows,
        cols: info.cols,
        quants,
        scales,
    })
}
