//! The path that runs in a tab without a GPU: weights stay quantised, several tokens per pass.
//!
//! The same maths as [`crate::reference`] with [`crate::reference::Rounding::Int8`], in f32. Its
//! results are the same bits on every target and for every cut of a prompt into batches: products
//! with matrices are summed in the order that [`kernels`] states, attention's one after another,
//! all others in eight running sums, taken and folded as [`lanes`] states.

pub mod activations;
mod attention;
mod cache;
pub mod crew;
pub mod kernels;
pub mod lanes;
mod linear;
mod model;
pub mod panels;
mod real;
mod store;
pub mod vector;

#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
#[path = "eight_portable.rs"]
pub(crate) mod eight;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "eight_simd128.rs"]
pub(crate) mod eight;
#[cfg(target_arch = "x86_64")]
#[path = "eight_sse2.rs"]
pub(crate) mod eight;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "kernel_portable.rs"]
mod kernel;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "kernel_simd128.rs"]
mod kernel;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod real_simd128;

pub use model::CpuModel;
pub use store::PanelStore;

#[cfg(test)]
mod tests;
