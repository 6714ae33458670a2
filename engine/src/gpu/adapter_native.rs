//! What the driver says of its adapter.

use crate::gpu::device::{AdapterSummary, GpuOptions};

/// Names what `info` describes; it was found with `_options`.
#[expect(clippy::unused_async, reason = "its twin for the browser waits")]
pub(super) async fn summary(info: wgpu::AdapterInfo, _options: GpuOptions) -> AdapterSummary {
    AdapterSummary {
        is_fallback: info.device_type == wgpu::DeviceType::Cpu,
        backend: info.backend.to_string(),
        name: info.name,
    }
}
