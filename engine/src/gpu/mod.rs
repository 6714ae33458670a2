//! The wgpu back end: a device, weights streamed into its buffers, and a forward pass of WGSL kernels.
//!
//! 1. [`GpuDevice::request`] finds an adapter and says whether it is only a CPU in disguise.
//! 2. [`GpuUpload`] is the sink that a GGUF reader fills; `layout` and `repack` say what becomes of
//!    its bytes, `tensor` keeps them.
//! 3. [`GpuUpload::into_tuned_model`] lets `tuning` find the fastest kernels and gives a
//!    [`GpuModel`]; `program` turns its plan into dispatches, `space` and `cache` are their buffers.
//! 4. [`GpuModel::forward`] gives logits, [`GpuModel::greedy`] the likeliest tokens and
//!    [`GpuModel::sample`] drawn ones (`drawing`), several at a time.
//!
//! Invariant: a device that is lost stays lost; every later call says so, and the caller starts at 1.

#[cfg_attr(target_arch = "wasm32", path = "adapter_web.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "adapter_native.rs")]
mod adapter;
mod bind;
mod cache;
mod device;
mod drawing;
mod grid;
mod layout;
mod linear;
mod lora;
mod model;
mod page_turn;
mod product;
mod program;
mod readback;
mod repack;
mod rope;
mod space;
mod tensor;
mod tuning;
mod upload;
#[cfg_attr(target_arch = "wasm32", path = "wait_web.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "wait_native.rs")]
mod wait;

#[cfg(test)]
mod kernel_tests;
#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod test_device;

pub use cache::CacheFormat;
pub use device::{AdapterSummary, GpuDevice, GpuOptions};
pub use model::{GpuModel, Traffic};
pub use product::{ProductTimes, time_product};
pub use space::MAX_STEPS;
pub use tuning::{Clock, Tuning};
pub use upload::{GpuSettings, GpuUpload};
