//! Moves a page of the cache to another and turns its keys back, whatever the cache's format.

use thrum_shaders::{CACHE_LOAD, CACHE_STORE, Kernel, ROPE};

use crate::arch::PairOrder;
use crate::config::ModelConfig;
use crate::error::EngineError;
use crate::gpu::bind::{Kernels, Sketch, Uniforms};
use crate::gpu::cache::Cache;
use crate::gpu::device::GpuDevice;
use crate::gpu::grid::{Dispatch, Grid};
use crate::gpu::program::strips;
use crate::gpu::rope::Turns;
use crate::pass::PAGE_LEN;

/// What a turn needs.
#[derive(Debug)]
pub(super) struct PageTurner<'a> {
    pub(super) device: &'a GpuDevice,
    pub(super) config: &'a ModelConfig,
    pub(super) cache: &'a Cache,
    pub(super) kernels: &'a Kernels,
    /// Turn every position back by as much.
    pub(super) turns: &'a Turns,
}

impl PageTurner<'_> {
    /// Page `from` of every layer becomes page `to`, its keys turned; they may be the same.
    pub(super) fn turn(&self, from: u32, to: u32) -> Result<(), EngineError> {
        let device = self.device;
        let words = |words: &[u32]| {
            let bytes = bytemuck::cast_slice(words);
            let buffer = device.storage("a page on its way", bytes.len() as u64)?;
            device.queue.write_buffer(&buffer, 0, bytes);
            Ok::<_, EngineError>(buffer)
        };
        let row = |position: u32| [0, position, 0, 0];
        let rows: Vec<u32> = (0..PAGE_LEN as u32).flat_map(row).collect();
        let (rows, from, to) = (words(&rows)?, words(&[from])?, words(&[to])?);
        let page_bytes = (PAGE_LEN * self.config.kv_dim() * size_of::<f32>()) as u64;
        let k = device.storage("keys on their way", page_bytes)?;
        let v = device.storage("values on their way", page_bytes)?;
        let batch = device.uniform(&[PAGE_LEN as u32]);

        let mut uniforms = Uniforms::default();
        let mut encoder = device.encoder();
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for (layer, [keys, values]) in self.cache.layers.iter().enumerate() {
            let turns = self.turns.table(self.config.window_of(layer).is_some());
            let mut record = |(kernel, words, grid): (Kernel, Vec<u32>, Grid),
                              rest: &[&wgpu::Buffer]| {
                let params = uniforms.of(device, &words);
                let buffers = [&params, &batch].into_iter().chain(rest.iter().copied());
                let sketch = Sketch {
                    kernel,
                    constants: Vec::new(),
                    buffers: buffers.cloned().collect(),
                };
                let (bound, _) = self.kernels.bind_one(device, &sketch);
                Dispatch { bound, grid }.record(&mut pass, PAGE_LEN as u32);
            };
            record(self.load(), &[&k, &rows, &from, keys, values, &v]);
            record(self.rotate(), &[&k, &rows, turns]);
            record(self.store(), &[&k, &rows, &to, keys, values, &v]);
        }
        drop(pass);
        device.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn load(&self) -> (Kernel, Vec<u32>, Grid) {
        let (heads, quads) = (self.config.n_kv_heads, self.config.head_dim / 4);
        (
            CACHE_LOAD[self.cache.format as usize],
            vec![heads as u32, quads as u32],
            Grid::threads(heads * quads),
        )
    }

    fn rotate(&self) -> (Kernel, Vec<u32>, Grid) {
        let ModelConfig {
            head_dim,
            n_kv_heads,
            ..
        } = *self.config;
        let rope = self.config.rope.as_ref();
        let pairs = rope.map_or(0, |rope| rope.dim / 2);
        let is_halves = rope.is_some_and(|rope| rope.order == PairOrder::Halves);
        (
            ROPE,
            vec![
                n_kv_heads as u32,
                head_dim as u32,
                pairs as u32,
                u32::from(is_halves),
                0,
                self.config.kv_dim() as u32,
            ],
            Grid::threads(n_kv_heads * pairs),
        )
    }

    fn store(&self) -> (Kernel, Vec<u32>, Grid) {
        let (heads, quads) = (self.config.n_kv_heads, self.config.head_dim / 4);
        let stride = (heads * quads) as u32;
        (
            CACHE_STORE[self.cache.format as usize],
            vec![heads as u32, quads as u32, 0, stride, 0, stride],
            Grid::threads(heads * strips(self.cache.format, quads)),
        )
    }
}
