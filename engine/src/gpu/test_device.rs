//! The device that GPU tests run on, and the numbers they run with.

use std::io::Write as _;

use half::f16;

use crate::gpu::device::{GpuDevice, GpuOptions};
use crate::quant::finite::half_offsets;
use crate::quant::{Encoding, Format};

/// A device, or `None` said aloud where the machine has none.
///
/// # Panics
/// When there is none and `THRUM_REQUIRE_GPU=1` says that there has to be.
pub(super) fn device() -> Option<GpuDevice> {
    match pollster::block_on(GpuDevice::request(GpuOptions::default())) {
        Ok(device) => Some(device),
        Err(error) => {
            let is_required = std::env::var("THRUM_REQUIRE_GPU").is_ok_and(|value| value == "1");
            assert!(!is_required, "THRUM_REQUIRE_GPU=1 and {error}");
            // Past the harness, which would swallow it in a test that passes.
            writeln!(std::io::stderr(), "skipped: no adapter ({error})")
                .expect("a test can write to its standard error");
            None
        }
    }
}

/// A seeded source of numbers (splitmix64), so that a failure comes back.
#[derive(Debug)]
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// `low..=high`
    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.word() % (high - low + 1) as u64) as usize
    }

    /// Uniform in `-scale..scale`.
    pub(super) fn float(&mut self, scale: f32) -> f32 {
        ((self.word() >> 40) as f32 / (1_u64 << 23) as f32 - 1.0) * scale
    }

    pub(super) fn floats(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| self.float(scale)).collect()
    }
}

/// `count` blocks of `format` in which everything that may be random is, and floats are about one.
pub(super) fn blocks(noise: &mut Noise, format: Format, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        match format.encoding() {
            Encoding::F32 => bytes.extend(noise.float(1.0).to_le_bytes()),
            Encoding::F16 => bytes.extend(f16::from_f32(noise.float(1.0)).to_le_bytes()),
            Encoding::Bf16 => bytes.extend(half::bf16::from_f32(noise.float(1.0)).to_le_bytes()),
            Encoding::Blocks => {
                let mut block: Vec<u8> = (0..format.block_bytes())
                    .map(|_| noise.word() as u8)
                    .collect();
                for at in half_offsets(format) {
                    let scale = f16::from_f32(noise.float(0.1)).to_le_bytes();
                    block[*at..*at + 2].copy_from_slice(&scale);
                }
                bytes.extend(block);
            }
        }
    }
    bytes
}
