//! What peers compute: language models in GGUF, on the CPU and through WGSL on the GPU.
//!
//! The engine knows no network, no clock and no runtime: bytes of a model file are pushed in,
//! tokens come out one step at a time, and whoever drives it decides when. In reading order:
//!
//! 1. [`gguf`] reads a file as it arrives; [`config`] and [`weights`] say what it holds;
//!    [`quant`] what its bytes mean; [`memory`] what it will take.
//!
//! CPU results are the same bits on every target: sums are taken in a stated order, without fused
//! multiply-add, and transcendental functions come from `libm`, never from the platform.

pub mod config;
pub mod error;
pub mod gguf;
pub mod memory;
pub mod quant;
pub mod weights;

pub use config::ModelConfig;
pub use error::EngineError;
