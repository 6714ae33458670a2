//! The wgpu back end: a device, weights streamed into its buffers, and a forward pass of WGSL kernels.
//!
//! 1. [`GpuDevice::request`] finds an adapter and says whether it is only a CPU in disguise.
//! 2. [`GpuUpload`] is the sink that a GGUF reader fills.
//! 3. [`GpuUpload::into_model`] gives a [`GpuModel`], whose [`GpuModel::forward`] gives logits.
//!
//! Invariant: a device that is lost stays lost; every later call says so, and the caller starts at 1.

#[cfg_attr(target_arch = "wasm32", path = "adapter_web.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "adapter_native.rs")]
mod adapter;
mod bind;
mod device;
mod model;
mod plan;
mod readback;
mod repack;
mod rope;
mod upload;
#[cfg_attr(target_arch = "wasm32", path = "wait_web.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "wait_native.rs")]
mod wait;

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod test_device;

pub use device::{AdapterSummary, GpuDevice, GpuOptions};
pub use model::GpuModel;
pub use upload::GpuUpload;
