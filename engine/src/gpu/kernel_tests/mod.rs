//! Every kernel against sums carried in f64, on odd shapes and on the worst values.
//!
//! Where a kernel adds `n` products, each product and each partial sum rounds by at most 2^-24 of
//! the sum of magnitudes so far, in whatever order a compiler adds them: the error stays below
//! `(n + 8) * 2^-23` times the sum of magnitudes. The factor of two and the eight leave room for a
//! scale multiplied in separately and for hardware that rounds towards zero.

mod attention;
mod drawing;
mod linear;
mod rows;

use thrum_shaders::Kernel;

use crate::gpu::bind::{Kernels, Sketch};
use crate::gpu::device::GpuDevice;
use crate::gpu::grid::{Dispatch, Grid, Step};
use crate::gpu::readback::Readback;

/// Of one rounding, twice: see above.
const ROUNDING: f64 = 1.0 / (1 << 23) as f64;

/// Shapes tried by each test beyond the smallest.
const ROUNDS: u64 = 6;

/// A device and what was compiled for it.
struct Bench {
    device: GpuDevice,
    kernels: Kernels,
}

impl Bench {
    fn new() -> Option<Self> {
        Some(Self {
            device: super::test_device::device()?,
            kernels: Kernels::default(),
        })
    }

    fn floats(&self, values: &[f32]) -> wgpu::Buffer {
        self.bytes(bytemuck::cast_slice(values))
    }

    fn words(&self, words: &[u32]) -> wgpu::Buffer {
        self.bytes(bytemuck::cast_slice(words))
    }

    fn bytes(&self, bytes: &[u8]) -> wgpu::Buffer {
        let buffer = self
            .device
            .storage("test", bytes.len() as u64)
            .expect("test buffers are small");
        self.device.queue.write_buffer(&buffer, 0, bytes);
        buffer
    }

    fn params(&self, words: &[u32]) -> wgpu::Buffer {
        self.device.uniform(words)
    }

    fn run(
        &self,
        kernel: Kernel,
        constants: &[(&'static str, u32)],
        buffers: &[&wgpu::Buffer],
        grid: Grid,
        tokens: usize,
    ) {
        let sketch = Sketch {
            kernel,
            constants: constants.to_vec(),
            buffers: buffers.iter().copied().cloned().collect(),
        };
        self.run_steps(&[Step { sketch, grid }], tokens);
    }

    fn run_steps(&self, steps: &[Step], tokens: usize) {
        let mut encoder = self.device.encoder();
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for Step { sketch, grid } in steps {
                let (bound, _) = self.kernels.bind_one(&self.device, sketch);
                let grid = *grid;
                Dispatch { bound, grid }.record(&mut pass, tokens as u32);
            }
        }
        self.device.queue.submit([encoder.finish()]);
    }

    fn read<T: bytemuck::AnyBitPattern>(&self, buffer: &wgpu::Buffer, words: usize) -> Vec<T> {
        let mut readback = Readback::new();
        let mut encoder = self.device.encoder();
        let copy = readback.copy(&self.device, &mut encoder, buffer, words);
        self.device.queue.submit([encoder.finish()]);
        pollster::block_on(readback.read(&self.device, copy)).expect("the device stays")
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

#[track_caller]
fn close(got: f32, want: f64, tolerance: f64) {
    let error = (f64::from(got) - want).abs();
    assert!(
        error <= tolerance,
        "{got} is not {want}: off by {error}, {tolerance} allowed"
    );
}

#[track_caller]
fn all_close(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        close(*got, *want, tolerance);
    }
}
