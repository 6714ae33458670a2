//! Takes the weights of a model into GPU buffers while its file is being read.

use std::collections::BTreeMap;

use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gguf::{GgufError, WRITE_BLOCKS, WeightSink};
use crate::gpu::bind::Kernels;
use crate::gpu::cache::CacheFormat;
use crate::gpu::device::GpuDevice;
use crate::gpu::model::GpuModel;
use crate::gpu::repack::Parts;
use crate::gpu::tensor::GpuTensor;
use crate::gpu::tuning::{Clock, Tuning};
use crate::weights::{LayerSlot, Slot, TensorInfo};

/// bytes; what is written and not submitted waits in memory, so this bounds it.
const SUBMIT_BYTES: u64 = 16 << 20;

/// columns; the kernels read vectors of four.
const VECTOR: usize = 4;

/// channels; what one workgroup mixes, in vectors of four to a thread.
const MAX_HEAD_DIM: usize = 256;

/// Tensors that are one matrix in GPU memory where their formats agree.
const JOINED: [&[LayerSlot]; 2] = [
    &[LayerSlot::AttnQ, LayerSlot::AttnK, LayerSlot::AttnV],
    &[LayerSlot::FfnGate, LayerSlot::FfnUp],
];

/// How a model is to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GpuSettings {
    /// How keys and values are kept; half precision if nothing is said.
    pub cache: Option<CacheFormat>,
    /// Multiply with activations in 32-bit floats only, never in bytes, whatever is faster.
    pub exact_activations: bool,
    /// What was found on this adapter before.
    pub tuning: Tuning,
}

/// Where a slot lies: some rows of a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) tensor: &'a GpuTensor,
    pub(super) first_row: usize,
    pub(super) rows: usize,
}

/// The tensors of a model in GPU memory.
#[derive(Debug)]
pub(super) struct Tensors {
    tensors: Vec<GpuTensor>,
    /// Which tensor, first row, rows.
    slots: BTreeMap<Slot, (usize, usize, usize)>,
}

impl Tensors {
    /// Where a matrix lies.
    pub(super) fn matrix(&self, slot: Slot) -> Part<'_> {
        let (tensor, first_row, rows) = *self
            .slots
            .get(&slot)
            .expect("the upload checked that every tensor is there");
        Part {
            tensor: &self.tensors[tensor],
            first_row,
            rows,
        }
    }

    /// A gain or a bias.
    pub(super) fn vector(&self, slot: Slot) -> &GpuTensor {
        self.matrix(slot).tensor
    }

    /// Every tensor, joined ones once.
    pub(super) fn all(&self) -> impl Iterator<Item = &GpuTensor> {
        self.tensors.iter()
    }
}

/// A [`WeightSink`] that streams every tensor into buffers of its own; at most 16 MiB wait in memory.
#[derive(Debug)]
pub struct GpuUpload {
    device: GpuDevice,
    config: Option<ModelConfig>,
    infos: Vec<TensorInfo>,
    tensors: Tensors,
    /// Bytes of the file written, by tensor.
    written: Vec<u64>,
    /// Divisors of rope frequencies, which the CPU needs.
    factors: BTreeMap<Slot, Vec<u8>>,
    parts: Parts,
    unsubmitted_bytes: u64,
    settings: GpuSettings,
    /// those that were compiled to be tried
    kernels: Kernels,
}

impl GpuUpload {
    /// A sink that fills `device`.
    pub fn new(device: &GpuDevice) -> Self {
        Self {
            device: device.clone(),
            config: None,
            infos: Vec::new(),
            tensors: Tensors {
                tensors: Vec::new(),
                slots: BTreeMap::new(),
            },
            written: Vec::new(),
            factors: BTreeMap::new(),
            parts: Parts::default(),
            unsubmitted_bytes: 0,
            settings: GpuSettings::default(),
            kernels: Kernels::default(),
        }
    }

    /// The same, for a model that runs as `settings` say.
    pub fn with_settings(self, settings: GpuSettings) -> Self {
        Self { settings, ..self }
    }

    /// The model, once the reader has finished and the GPU has taken everything. Nothing is timed:
    /// what [`GpuSettings::tuning`] does not know is done in the way that suits most adapters.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`] for the first tensor that was not written whole;
    /// [`EngineError::GpuBufferTooLarge`] when the working space does not fit;
    /// [`EngineError::GpuLost`] when the device ran out of memory or went away.
    pub async fn into_model(self) -> Result<GpuModel, EngineError> {
        self.check()?;
        let config = self.config.expect("just checked");
        let factors = self
            .factors
            .iter()
            .map(|(slot, bytes)| (*slot, bytemuck::pod_collect_to_vec(bytes)))
            .collect();
        let Self {
            device,
            tensors,
            settings,
            kernels,
            ..
        } = self;
        GpuModel::new(device, config, tensors, factors, settings, kernels).await
    }

    /// As [`GpuUpload::into_model`], and finds out first which kernels are fastest for the shapes
    /// of this model, by `clock`, in milliseconds; what [`GpuSettings::tuning`] knows is not timed again.
    /// [`GpuModel::tuning`] then has what was found.
    ///
    /// # Errors
    /// As [`GpuUpload::into_model`].
    pub async fn into_tuned_model(mut self, clock: &Clock<'_>) -> Result<GpuModel, EngineError> {
        self.check()?;
        let GpuSettings {
            exact_activations,
            tuning,
            ..
        } = &mut self.settings;
        tuning
            .complete(
                &self.device,
                self.tensors.all(),
                *exact_activations,
                &self.kernels,
                clock,
            )
            .await?;
        self.into_model().await
    }

    fn check(&self) -> Result<(), EngineError> {
        self.device.check()?;
        let missing = |slot: Slot| GgufError::MissingTensor { name: slot.name() };
        let config = self
            .config
            .as_ref()
            .ok_or_else(|| missing(Slot::TokenEmbedding))?;
        for (info, written) in self.infos.iter().zip(&self.written) {
            if *written != info.bytes() {
                return Err(missing(info.slot).into());
            }
        }
        let has = |slot: &Slot| self.tensors.slots.contains_key(slot);
        match Slot::all(config).find(|slot| !has(slot)) {
            Some(slot) => Err(missing(slot).into()),
            None => Ok(()),
        }
    }
}

impl WeightSink for GpuUpload {
    fn begin(&mut self, config: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError> {
        check_shape(config)?;
        self.tensors = allocate(&self.device, tensors)?;
        self.infos = tensors.to_vec();
        self.written = vec![0; tensors.len()];
        self.config = Some(config.clone());
        self.device.check()
    }

    fn write(&mut self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let info = &self.infos[tensor];
        assert!(
            offset == self.written[tensor]
                && offset.is_multiple_of((info.format.block_bytes() * WRITE_BLOCKS) as u64)
                && offset + bytes.len() as u64 <= info.bytes(),
            "a reader writes tensors in order and in groups of blocks"
        );
        let (target, first_row, _) = self.tensors.slots[&info.slot];
        let first_block = offset / info.format.block_bytes() as u64;
        let first = (first_row * info.cols) as u64 + first_block * info.format.block_len() as u64;
        let queue = &self.device.queue;
        self.tensors.tensors[target].write(queue, info.format, first, bytes, &mut self.parts);
        if is_factors(info.slot) {
            let kept = self.factors.entry(info.slot).or_default();
            kept.extend_from_slice(bytes);
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

fn is_factors(slot: Slot) -> bool {
    matches!(
        slot,
        Slot::RopeFactors | Slot::RopeFactorsLong | Slot::RopeFactorsShort
    )
}

fn check_shape(config: &ModelConfig) -> Result<(), EngineError> {
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
    if config.head_dim > MAX_HEAD_DIM {
        return Err(EngineError::GpuUnavailable {
            reason: format!(
                "a head of {} channels is more than the {MAX_HEAD_DIM} that its kernels mix",
                config.head_dim
            ),
        });
    }
    Ok(())
}

fn allocate(device: &GpuDevice, infos: &[TensorInfo]) -> Result<Tensors, EngineError> {
    let by_slot: BTreeMap<Slot, &TensorInfo> = infos.iter().map(|info| (info.slot, info)).collect();
    let mut made = Tensors {
        tensors: Vec::with_capacity(infos.len()),
        slots: BTreeMap::new(),
    };
    for info in infos {
        if made.slots.contains_key(&info.slot) {
            continue;
        }
        let group = joined(device, info, &by_slot);
        let rows = group.iter().map(|info| info.rows).sum();
        let name = info.slot.name();
        let tensor = GpuTensor::new(device, &name, info.format, rows, info.cols)?;
        let mut first_row = 0;
        for info in group {
            let place = (made.tensors.len(), first_row, info.rows);
            made.slots.insert(info.slot, place);
            first_row += info.rows;
        }
        made.tensors.push(tensor);
    }
    Ok(made)
}

/// The tensors that share a matrix with `info`, itself among them.
fn joined<'a>(
    device: &GpuDevice,
    info: &'a TensorInfo,
    by_slot: &BTreeMap<Slot, &'a TensorInfo>,
) -> Vec<&'a TensorInfo> {
    let alone = vec![info];
    let Slot::Layer(layer, slot) = info.slot else {
        return alone;
    };
    let Some(group) = JOINED.iter().find(|group| group.contains(&slot)) else {
        return alone;
    };
    let of_group = |slot: &LayerSlot| by_slot.get(&Slot::Layer(layer, *slot)).copied();
    let Some(group) = group.iter().map(of_group).collect::<Option<Vec<_>>>() else {
        return alone;
    };
    // An even number of rows keeps the scales of each in whole words.
    let agrees = |it: &&TensorInfo| {
        it.format == info.format && it.cols == info.cols && it.rows.is_multiple_of(2)
    };
    let bytes = |info: &&TensorInfo| (info.rows * info.cols * size_of::<f32>()) as u64;
    let is_small = group.iter().map(bytes).sum::<u64>() <= device.max_buffer_bytes();
    match group.iter().all(agrees) && is_small {
        true => group,
        false => alone,
    }
}
