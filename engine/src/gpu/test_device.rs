//! The device that GPU tests run on, and the numbers they run with.

use std::io::Write as _;

use crate::gpu::device::{GpuDevice, GpuOptions};

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
