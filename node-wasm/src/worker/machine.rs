//! What this machine can compute with: its GPU, if it is a real one, and its memory.

use super::clock::scope;
use super::messages::BackendChoice;
use thrum_engine::error::EngineError;
use thrum_engine::gpu::{GpuDevice, GpuOptions};
use thrum_protocol::model::Backend;

/// bytes; what a 32-bit module addresses.
const ADDRESSABLE_BYTES: u64 = 1 << 32;

/// bytes; kept back for everything but weights, keys and values: stacks, buffers, fragmentation.
const RESERVE_BYTES: u64 = 256 << 20;

/// bytes; the unit of `navigator.deviceMemory` (W3C Device Memory: GiB).
const GIB: f64 = (1_u64 << 30) as f64;

/// The share of the machine's memory that one tab may fill before the machine swaps.
const DEVICE_SHARE: f64 = 0.5;

/// bytes; a page of WebAssembly memory.
const PAGE_BYTES: u64 = 1 << 16;

/// Bytes of memory that a model on the CPU may take.
pub(super) fn available_bytes() -> u64 {
    let taken = core::arch::wasm32::memory_size(0) as u64 * PAGE_BYTES;
    let addressable = ADDRESSABLE_BYTES.saturating_sub(taken + RESERVE_BYTES);
    match device_memory_bytes() {
        Some(device) => addressable.min(device),
        None => addressable,
    }
}

/// What half of the machine's memory is, where the browser says (Chromium, secure contexts).
fn device_memory_bytes() -> Option<u64> {
    let memory = js_sys::Reflect::get(&scope().navigator(), &"deviceMemory".into()).ok()?;
    Some((memory.as_f64()? * GIB * DEVICE_SHARE) as u64)
}

/// What computes, once it is decided.
#[derive(Debug)]
pub(super) enum Chosen {
    /// WebAssembly, and why not the GPU where it was not asked for
    Cpu(Option<String>),
    /// WebGPU
    Gpu(Box<GpuDevice>),
}

/// How wgpu words it that the browser has no adapter; what follows is about back ends that a tab
/// cannot have.
const NO_ADAPTER: &str = "No suitable graphics adapter found";

/// Decides what computes.
///
/// # Errors
/// [`EngineError::GpuUnavailable`] where WebGPU was asked for by name.
pub(super) async fn choose(choice: BackendChoice) -> Result<Chosen, EngineError> {
    match choice {
        BackendChoice::Cpu => Ok(Chosen::Cpu(None)),
        BackendChoice::Webgpu => Ok(Chosen::Gpu(Box::new(request().await?))),
        BackendChoice::Auto => match request().await {
            Ok(device) if device.adapter().is_fallback => {
                device.destroy();
                let why = "the browser's WebGPU runs on the CPU, where WebAssembly is faster";
                Ok(Chosen::Cpu(Some(why.to_owned())))
            }
            Ok(device) => Ok(Chosen::Gpu(Box::new(device))),
            Err(error) => Ok(Chosen::Cpu(Some(error.to_string()))),
        },
    }
}

/// What would compute. No device is kept.
///
/// # Errors
/// As [`choose`].
pub(super) async fn backend_of(choice: BackendChoice) -> Result<Backend, EngineError> {
    Ok(match choose(choice).await? {
        Chosen::Cpu(_) => Backend::Cpu,
        Chosen::Gpu(device) => {
            device.destroy();
            Backend::Webgpu
        }
    })
}

/// A device; where there is none, the error says so in the browser's terms.
async fn request() -> Result<GpuDevice, EngineError> {
    let device = GpuDevice::request(GpuOptions::default()).await;
    if let Err(EngineError::GpuUnavailable { reason }) = &device
        && reason.contains(NO_ADAPTER)
    {
        let reason = "this browser offers no WebGPU on this machine; `cpu` works everywhere";
        return Err(EngineError::GpuUnavailable {
            reason: reason.to_owned(),
        });
    }
    device
}
