//! The GPU device: how one is found, what it may hold, and whether it is still there.

use std::sync::{Arc, OnceLock};

use thrum_shaders::Needs;

use crate::error::EngineError;
use crate::gpu::adapter;

/// What to ask of the machine's adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuOptions {
    /// Ask for the adapter that spares the battery instead of the fastest one.
    pub low_power: bool,
    /// Accept only an adapter that runs on the CPU; for tests.
    pub fallback_only: bool,
}

/// What is known of an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterSummary {
    /// The name that the driver or the browser gives; a browser may give none.
    pub name: String,
    /// The interface it is driven through: `vulkan`, `webgpu`, ...
    pub backend: String,
    /// True when the kernels would run on the CPU (llvmpipe, `SwiftShader`): right, but slower than
    /// the engine's own CPU path.
    pub is_fallback: bool,
}

/// What kernels may use beyond core WebGPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offers {
    pub(super) subgroups: bool,
    pub(super) packed_dot: bool,
}

/// An open device and its queue; clones share both.
#[derive(Debug, Clone)]
pub struct GpuDevice {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    adapter: AdapterSummary,
    offers: Offers,
    /// bytes; less than the limits allow only in tests.
    max_buffer_bytes: u64,
    /// Why the device cannot be used any more; set once, by the driver's callbacks.
    lost: Arc<OnceLock<String>>,
}

impl GpuDevice {
    /// Opens the best adapter that `options` allow, with all that the adapter can hold.
    ///
    /// # Errors
    /// [`EngineError::GpuUnavailable`] when there is no adapter, or none that opens.
    pub async fn request(options: GpuOptions) -> Result<Self, EngineError> {
        if wgpu::Instance::enabled_backend_features().is_empty() {
            return Err(unavailable(
                "this build has no GPU back end for this system",
            ));
        }
        let wish = adapter::Wish::new();
        let adapter = wgpu::Instance::default()
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: match options.low_power {
                    true => wgpu::PowerPreference::LowPower,
                    false => wgpu::PowerPreference::HighPerformance,
                },
                force_fallback_adapter: options.fallback_only,
                ..Default::default()
            })
            .await
            .map_err(unavailable)?;
        let limits = adapter.limits();
        let (offers, required_features) = wish.offers(&adapter);
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("thrum"),
                required_features,
                required_limits: limits.clone(),
                ..Default::default()
            })
            .await
            .map_err(unavailable)?;
        let lost = watched(&device);
        wish.fulfilled();
        let adapter = adapter::summary(&adapter, options).await;
        Ok(Self {
            offers,
            max_buffer_bytes: limits
                .max_buffer_size
                .min(limits.max_storage_buffer_binding_size),
            lost,
            device,
            queue,
            adapter,
        })
    }

    /// Whether kernels with `needs` run here.
    pub(super) fn can(&self, needs: Needs) -> bool {
        (self.offers.subgroups || !needs.subgroups())
            && (self.offers.packed_dot || !needs.packed_dot())
    }

    /// The largest buffer that can be made and bound, in bytes.
    pub(super) fn max_buffer_bytes(&self) -> u64 {
        self.max_buffer_bytes
    }

    /// The same device, pretending that it holds no larger buffers than this.
    #[cfg(test)]
    pub(super) fn with_max_buffer_bytes(mut self, max_buffer_bytes: u64) -> Self {
        self.max_buffer_bytes = max_buffer_bytes;
        self
    }

    /// What the device runs on.
    pub fn adapter(&self) -> &AdapterSummary {
        &self.adapter
    }

    /// Why the device cannot be used any more, once that is so.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Ends the device: everything that still uses it answers [`EngineError::GpuLost`].
    pub fn destroy(&self) {
        // Before the driver says so: a mapping that ends between its promise and its reader is a
        // panic inside wgpu.
        self.lost
            .get_or_init(|| "the device was destroyed".to_owned());
        self.device.destroy();
    }

    /// # Errors
    /// [`EngineError::GpuLost`] once the device has gone or has refused a command.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        match self.lost.get() {
            Some(reason) => Err(EngineError::GpuLost {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// The error for a command that failed with `reason`: what is known of the device comes first.
    pub(super) fn loss(&self, reason: &str) -> EngineError {
        EngineError::GpuLost {
            reason: self.lost.get().map_or(reason, String::as_str).to_owned(),
        }
    }

    /// A zeroed storage buffer of at least `bytes`, a whole number of 16-byte vectors.
    ///
    /// # Errors
    /// [`EngineError::GpuBufferTooLarge`] when the adapter cannot hold or bind that much.
    pub(super) fn storage(&self, what: &str, bytes: u64) -> Result<wgpu::Buffer, EngineError> {
        let needed_bytes = bytes.max(1).next_multiple_of(VECTOR_BYTES);
        let available_bytes = self.max_buffer_bytes;
        if needed_bytes > available_bytes {
            return Err(EngineError::GpuBufferTooLarge {
                what: what.to_owned(),
                needed_bytes,
                available_bytes,
            });
        }
        Ok(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size: needed_bytes,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_DST
                | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        }))
    }

    /// A recorder of commands.
    pub(super) fn encoder(&self) -> wgpu::CommandEncoder {
        self.device
            .create_command_encoder(&wgpu::CommandEncoderDescriptor::default())
    }

    /// A uniform buffer that holds `words`.
    pub(super) fn uniform(&self, words: &[u32]) -> wgpu::Buffer {
        let mut padded = [0_u32; UNIFORM_WORDS];
        padded[..words.len()].copy_from_slice(words);
        // Written, not mapped at creation: that would panic on a device that is gone.
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size: size_of_val(&padded) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.queue
            .write_buffer(&buffer, 0, bytemuck::cast_slice(&padded));
        buffer
    }
}

/// bytes; the largest element of a storage array, `vec4<f32>`: a shorter buffer would lose its tail.
const VECTOR_BYTES: u64 = 16;

/// words; the largest `Params` of a kernel has eight.
const UNIFORM_WORDS: usize = 8;

/// A cell that is filled when `device` goes away or refuses a command.
fn watched(device: &wgpu::Device) -> Arc<OnceLock<String>> {
    let lost = Arc::new(OnceLock::new());
    // Only the first reason is kept: those that follow are its consequences.
    let on_lost = Arc::clone(&lost);
    device.set_device_lost_callback(move |reason, message| {
        on_lost.get_or_init(|| format!("device {reason:?}: {message}").to_lowercase());
    });
    let on_error = Arc::clone(&lost);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        on_error.get_or_init(|| error.to_string());
    }));
    lost
}

fn unavailable(reason: impl ToString) -> EngineError {
    EngineError::GpuUnavailable {
        reason: reason.to_string(),
    }
}
