//! The engine's kernels alone, in a page: what the product's speed is held against.
//!
//! Only the bench loads it; nothing that people get is made of it.

#[cfg(target_arch = "wasm32")]
pub mod adapters;
#[cfg(target_arch = "wasm32")]
pub mod cpu;
#[cfg(target_arch = "wasm32")]
pub mod gpu;
