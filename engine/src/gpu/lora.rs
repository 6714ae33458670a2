//! Low-rank adapters beside the weights: `y += B (strength * (A x))`, each row with its own.
//!
//! For each matrix the adapters' factors lie side by side, so that all of them are two more
//! products, whose ranks a small kernel multiplies by what each row's adapters have to say.

use std::collections::BTreeMap;

use thrum_shaders::LORA_MASK;

use crate::adapter::{Adapter, LoraPair};
use crate::error::EngineError;
use crate::gpu::bind::{Constants, Sketch, Uniforms};
use crate::gpu::device::GpuDevice;
use crate::gpu::grid::{Grid, Step};
use crate::gpu::layout::FLOAT_COLS;
use crate::gpu::linear::{self, Gate, Output};
use crate::gpu::repack::Parts;
use crate::gpu::space::Place;
use crate::gpu::tensor::GpuTensor;
use crate::gpu::tuning::Ways;
use crate::pass::{AdapterId, Pass};
use crate::quant::Format;
use crate::weights::Slot;

/// The adapters of a model.
#[derive(Debug)]
pub(super) struct Loras {
    /// The column of each in the strengths.
    columns: Vec<AdapterId>,
    slots: BTreeMap<Slot, Joined>,
    /// What each row's adapters have to say, `(rows, adapters)`, and each wanted row's; none
    /// without adapters.
    strengths: Option<[wgpu::Buffer; 2]>,
}

/// All adapters' factors for one matrix.
#[derive(Debug)]
struct Joined {
    a: GpuTensor, // (ranks, cols)
    b: GpuTensor, // (rows, ranks)
    /// Whose each rank is: a column of the strengths.
    owners: wgpu::Buffer, // (ranks)
    between: wgpu::Buffer, // (max_rows, ranks)
}

impl Loras {
    /// No adapters.
    pub(super) fn none() -> Self {
        Self {
            columns: Vec::new(),
            slots: BTreeMap::new(),
            strengths: None,
        }
    }

    /// `adapters` side by side; `shape` gives rows and columns of a matrix.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the adapter cannot bind a buffer.
    pub(super) fn new(
        device: &GpuDevice,
        adapters: &[(AdapterId, &Adapter)],
        shape: impl Fn(Slot) -> (usize, usize),
        max_rows: usize,
    ) -> Result<Self, EngineError> {
        if adapters.is_empty() {
            return Ok(Self::none());
        }
        let mut by_slot: BTreeMap<Slot, Vec<(usize, &LoraPair)>> = BTreeMap::new();
        for (column, (_, adapter)) in adapters.iter().enumerate() {
            for (slot, pair) in &adapter.pairs {
                by_slot.entry(*slot).or_default().push((column, pair));
            }
        }
        let slots = by_slot
            .into_iter()
            .map(|(slot, pairs)| {
                let joined = Joined::new(device, slot, &pairs, shape(slot), max_rows)?;
                Ok((slot, joined))
            })
            .collect::<Result<_, EngineError>>()?;
        let bytes = (max_rows * adapters.len() * 4) as u64;
        let strengths = || device.storage("strengths of adapters", bytes);
        Ok(Self {
            columns: adapters.iter().map(|(id, _)| *id).collect(),
            slots,
            strengths: Some([strengths()?, strengths()?]),
        })
    }

    /// Whether an adapter changes `slot`.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.slots.contains_key(&slot)
    }

    /// Tells the kernels which adapters apply to the rows of `pass`.
    pub(super) fn set(&self, queue: &wgpu::Queue, pass: &Pass) {
        let Some([all, wanted]) = &self.strengths else {
            return;
        };
        let of_row = |row: usize| {
            let stack = &pass.sequences[pass.rows[row].sequence as usize].adapters;
            self.columns.iter().map(|column| {
                let of_column = stack.iter().filter(|(id, _)| id == column);
                of_column.map(|(_, factor)| factor).sum::<f32>()
            })
        };
        let rows: Vec<f32> = (0..pass.rows.len()).flat_map(of_row).collect();
        queue.write_buffer(all, 0, bytemuck::cast_slice(&rows));
        let rows = pass.wanted.iter().flat_map(|row| of_row(*row as usize));
        let rows: Vec<f32> = rows.collect();
        queue.write_buffer(wanted, 0, bytemuck::cast_slice(&rows));
    }

    /// The steps that add to `y` what the adapters of each row make of `x`.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the operands of one operation"
    )]
    pub(super) fn steps(
        &self,
        device: &GpuDevice,
        uniforms: &mut Uniforms,
        ways: &Ways,
        slot: Slot,
        is_head: bool,
        is_many: bool,
        batch: &wgpu::Buffer,
        x: Place<'_>,
        y: Place<'_>,
    ) -> Vec<Step> {
        let (Some(joined), Some(strengths)) = (self.slots.get(&slot), &self.strengths) else {
            return Vec::new();
        };
        let Joined {
            a,
            b,
            owners,
            between,
        } = joined;
        let mut product = |w: &GpuTensor, x: &wgpu::Buffer, output: Output<'_>| {
            let way = ways.choose(w, Gate::None, is_many);
            linear::product(device, uniforms, way, w, Gate::None, batch, x, output)
        };
        let mut steps = product(
            a,
            x.buffer,
            Output {
                y: between,
                start: 0,
                cols: a.rows,
                accumulate: false,
            },
        );
        let back = product(
            b,
            between,
            Output {
                y: y.buffer,
                start: y.start,
                cols: y.stride,
                accumulate: true,
            },
        );
        let params = uniforms.of(device, &[a.rows as u32, self.columns.len() as u32]);
        steps.push(Step {
            sketch: Sketch {
                kernel: LORA_MASK,
                constants: Constants::new(),
                buffers: vec![
                    params,
                    batch.clone(),
                    between.clone(),
                    owners.clone(),
                    strengths[usize::from(is_head)].clone(),
                ],
            },
            grid: Grid::threads(a.rows),
        });
        steps.extend(back);
        steps
    }
}

impl Joined {
    fn new(
        device: &GpuDevice,
        slot: Slot,
        pairs: &[(usize, &LoraPair)],
        (rows, cols): (usize, usize),
        max_rows: usize,
    ) -> Result<Self, EngineError> {
        let what = format!("adapters of {}", slot.name());
        let used: usize = pairs.iter().map(|(_, pair)| pair.rank).sum();
        // Whole vectors; ranks that nobody has are 0.
        let ranks = used.next_multiple_of(FLOAT_COLS);
        let mut a = vec![0.0_f32; ranks * cols];
        let mut b = vec![0.0_f32; rows * ranks];
        let mut owners = vec![0_u32; ranks];
        let mut first = 0;
        for (column, pair) in pairs {
            let rank = pair.rank;
            a[first * cols..][..rank * cols].copy_from_slice(&pair.a);
            for (to, from) in b.chunks_exact_mut(ranks).zip(pair.b.chunks_exact(rank)) {
                for (to, from) in to[first..].iter_mut().zip(from) {
                    *to = from * pair.scale;
                }
            }
            owners[first..first + rank].fill(*column as u32);
            first += rank;
        }
        let mut parts = Parts::default();
        let mut tensor = |values: &[f32], rows: usize, cols: usize| {
            let tensor = GpuTensor::new(device, &what, Format::F32, rows, cols)?;
            let bytes = bytemuck::cast_slice(values);
            tensor.write(&device.queue, Format::F32, 0, bytes, &mut parts);
            Ok::<_, EngineError>(tensor)
        };
        let (a, b) = (tensor(&a, ranks, cols)?, tensor(&b, rows, ranks)?);
        let owner_buffer = device.storage(&what, (ranks * 4) as u64)?;
        device
            .queue
            .write_buffer(&owner_buffer, 0, bytemuck::cast_slice(&owners));
        Ok(Self {
            a,
            b,
            owners: owner_buffer,
            between: device.storage(&what, (max_rows * ranks * 4) as u64)?,
        })
    }
}
