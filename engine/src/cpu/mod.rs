//! The path that runs in a tab without a GPU: weights stay quantised, several tokens per pass.
//!
//! The same maths as [`crate::reference`], in f32. Its results are the same bits on every target
//! and for every cut of a prompt into batches: each dot product has eight running sums, taken and
//! folded in the order that [`lanes`] states, whichever kernel computes it.

pub mod activations;
mod attention;
mod cache;
mod elementwise;
pub mod kernels;
pub mod lanes;
mod matmul;
mod model;
pub mod panels;
pub mod vector;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "kernel_portable.rs"]
mod kernel;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "kernel_simd128.rs"]
mod kernel;

pub use matmul::matmul;
pub use model::CpuModel;

#[cfg(test)]
mod tests;
