//! What peers compute: language models in GGUF, on the CPU and through WGSL on the GPU.
//!
//! The engine knows no network, no clock and no runtime: bytes of a model file are pushed in,
//! tokens come out one step at a time, and whoever drives it decides when. In reading order:
//!
//! 1. [`gguf`] reads a file as it arrives; [`config`] and [`weights`] say what it holds, [`quant`]
//!    what its bytes mean, [`memory`] what it will take.
//! 2. [`arch`] is the table of architectures; [`plan`] makes one list of operations of a row of it.
//! 3. [`sequences`] places many texts in one cache, [`pass`] is what is computed at once.
//! 4. [`mod@reference`] interprets the list as a specification; [`cpu`] and [`gpu`] are the fast
//!    ones; [`rope`] is what they share, and [`model`] is whichever was loaded.
//! 5. [`tokenizer`] and [`chat`] turn text into tokens; [`sampler`] chooses the next one, out of
//!    those that a [`constraint`] leaves, [`text`] lets it out, [`generate`] is one answer in the
//!    making, [`schedule`] all of them; [`truncation`] says what goes where the context is full.
//!
//! CPU results are the same bits on every target: sums are taken in a stated order, without fused
//! multiply-add, and transcendental functions come from [`cpu::vector`] and `libm`, never from the
//! platform.

pub mod adapter;
pub mod arch;
pub mod chat;
pub mod config;
pub mod constraint;
pub mod cpu;
pub mod error;
pub mod generate;
pub mod gguf;
pub mod gpu;
pub mod kv;
pub mod memory;
pub mod model;
pub mod pacing;
pub mod pass;
pub mod plan;
pub mod quant;
pub mod recovery;
pub mod reference;
pub mod rope;
pub mod safetensors;
pub mod sampler;
pub mod schedule;
pub mod sequences;
pub mod synthetic;
pub mod text;
pub mod tokenizer;
pub mod truncation;
pub mod weights;

pub use config::ModelConfig;
pub use error::EngineError;
pub use model::Model;
