//! What the driver says of its adapter, and what the browser's twin of this file needs besides.

use std::borrow::Cow;

use thrum_shaders::Kernel;

use crate::gpu::device::{AdapterSummary, GpuOptions, Offers};

/// Names what `adapter` is; it was found with `_options`.
#[expect(clippy::unused_async, reason = "its twin for the browser waits")]
pub(super) async fn summary(adapter: &wgpu::Adapter, _options: GpuOptions) -> AdapterSummary {
    let info = adapter.get_info();
    AdapterSummary {
        is_fallback: info.device_type == wgpu::DeviceType::Cpu,
        backend: info.backend.to_string(),
        name: info.name,
    }
}

/// Sees to it that a device is asked for what wgpu cannot ask for.
#[derive(Debug)]
pub(super) struct Wish;

impl Wish {
    /// Here wgpu can ask for everything.
    pub(super) fn new() -> Self {
        Self
    }

    /// What a device of `adapter` will offer to kernels, and the features to ask wgpu for.
    pub(super) fn offers(&self, adapter: &wgpu::Adapter) -> (Offers, wgpu::Features) {
        let features = adapter.features() & wgpu::Features::SUBGROUP;
        let offers = Offers {
            subgroups: !features.is_empty(),
            // naga spells it out where the hardware has no instruction for it.
            packed_dot: true,
        };
        (offers, features)
    }

    /// The device is there.
    pub(super) fn fulfilled(self) {}
}

/// The text of `kernel` for this platform's compiler.
pub(super) fn source(kernel: &Kernel) -> Cow<'static, str> {
    Cow::Borrowed(kernel.source)
}

/// Nobody waits for this thread.
#[expect(clippy::unused_async, reason = "its twin for the browser waits")]
pub(super) async fn turn() {}
