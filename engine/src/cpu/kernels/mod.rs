//! Matrix times vectors, on whatever vector instructions there are: the same bits on all of them.
//!
//! `job` and `tile` are the kernel, `portable` its specification in safe scalar code; the other
//! files are one machine each. The relaxed module is compiled from `engine/kernels/relaxed.rs`.

use std::fmt::Debug;

use super::activations::Activations;
use super::panels::Panels;

mod floats;
mod job;
mod portable;
mod start;
mod tile;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod vnni;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod relaxed;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128_floats;

#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
#[path = "choose_portable.rs"]
mod choose;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "choose_wasm.rs"]
mod choose;
#[cfg(target_arch = "x86_64")]
#[path = "choose_x86.rs"]
mod choose;

pub use choose::{all, kernels};
pub use job::Mark;
pub(super) use job::{NIBBLE, PANEL_ROWS, SEVEN, VECTOR_BYTES, WIDE, record_bytes};
pub(super) use portable::weight as float_weight;

/// The matrix kernels of one kind of machine.
///
/// For quantised weights, for each token and row, group by group in order and each operation
/// rounded on its own (no fused multiply-add):
/// `y += (weight_scale * input_scale) * sum(code * input_code)`, the sum being an exact integer of
/// codes less their zero point, and for formats with an offset then
/// `y += (weight_offset * input_scale) * sum(input_code)`.
///
/// For unquantised weights, 32 columns at a time: `sum += weight * x` in the order of columns, from
/// zero, then `y += sum`.
///
/// So an output is the same bits on every machine, and whether its token came alone or among
/// others. Which NaN a NaN is, is not promised.
pub trait Kernels: Send + Sync + Debug {
    /// Which machine.
    fn name(&self) -> &'static str;

    /// Writes `W x` for each `x`.
    ///
    /// # Panics
    /// When the sizes do not agree.
    fn matmul(
        &self,
        weights: &Panels,     // (rows, cols)
        inputs: &Activations, // (tokens, cols)
        outputs: &mut [f32],  // (tokens, rows)
    );
}

#[cfg(test)]
mod tests;
