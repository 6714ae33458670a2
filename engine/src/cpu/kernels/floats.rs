//! The kernel for unquantised weights, over any vectors.
#![allow(
    clippy::needless_range_loop,
    reason = "one index into several arrays, which unrolls into registers"
)]
#![allow(
    unsafe_code,
    reason = "kernels read panels through pointers, as `tile.rs` does"
)]

use super::super::panels::FloatKind;
use super::job::PANEL_ROWS;
use super::tile::{Vectors, store};

/// columns that are summed by themselves before they are added to the output: chains of additions
/// are short enough for a processor to run several at a time.
pub(super) const CHUNK_LEN: usize = 32;

/// Whole panels of unquantised weights times several vectors.
#[derive(Debug)]
pub(super) struct FloatJob {
    /// `(n_panels, n_cols, 8)` weights, each panel filled up to 32 bytes.
    pub(super) panels: *const u8,
    /// What a weight is.
    pub(super) kind: FloatKind,
    /// Panels to multiply.
    pub(super) n_panels: usize,
    /// Rows that exist.
    pub(super) n_rows: usize,
    /// Columns.
    pub(super) n_cols: usize,
    /// Vectors to multiply with.
    pub(super) n_tokens: usize,
    /// `(n_tokens, n_cols)`
    pub(super) inputs: *const f32,
    /// `(n_tokens, output_stride)`, of which the first `n_rows` are written.
    pub(super) outputs: *mut f32,
    /// floats from one token's outputs to the next's.
    pub(super) output_stride: usize,
    /// `(8)`; as in `Job`.
    pub(super) tail: *mut f32,
}

/// Vectors that widen 16-bit floats.
///
/// # Safety
/// As for [`Vectors`]; 16 bytes are readable.
pub(super) unsafe trait FloatVectors: Vectors {
    /// Eight f16, exactly: subnormals, infinities and NaN too.
    unsafe fn load_f16(at: *const u8) -> Self::Floats;
    /// Eight bf16.
    unsafe fn load_bf16(at: *const u8) -> Self::Floats;
}

/// A width of weights.
trait Weights<V: FloatVectors> {
    const BYTES: usize;
    unsafe fn load(at: *const u8) -> V::Floats;
}

struct F32;
struct F16;
struct Bf16;

impl<V: FloatVectors> Weights<V> for F32 {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load(at: *const u8) -> V::Floats {
        // SAFETY: the caller's promise.
        unsafe { V::load(at.cast()) }
    }
}

impl<V: FloatVectors> Weights<V> for F16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load(at: *const u8) -> V::Floats {
        // SAFETY: the caller's promise.
        unsafe { V::load_f16(at) }
    }
}

impl<V: FloatVectors> Weights<V> for Bf16 {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load(at: *const u8) -> V::Floats {
        // SAFETY: the caller's promise.
        unsafe { V::load_bf16(at) }
    }
}

/// Runs a job.
///
/// # Safety
/// Every pointer of the job is good for the extent that its field states, and the machine has the
/// instructions of `V`.
#[inline(always)]
pub(super) unsafe fn run<V: FloatVectors>(job: &FloatJob) {
    // SAFETY: the caller's promises are those of `panels`.
    unsafe {
        match job.kind {
            FloatKind::F32 => panels::<V, F32>(job),
            FloatKind::F16 => panels::<V, F16>(job),
            FloatKind::Bf16 => panels::<V, Bf16>(job),
        }
    }
}

#[inline(always)]
unsafe fn panels<V: FloatVectors, W: Weights<V>>(job: &FloatJob) {
    let panel_bytes = (job.n_cols * PANEL_ROWS * W::BYTES).next_multiple_of(32);
    for panel in 0..job.n_panels {
        let row = panel * PANEL_ROWS;
        let mut token = 0;
        // SAFETY: panels, tokens and rows stay below the job's counts.
        unsafe {
            let at = job.panels.add(panel * panel_bytes);
            while token + 4 <= job.n_tokens {
                tile::<V, W, 4>(job, at, row, token);
                token += 4;
            }
            while token < job.n_tokens {
                tile::<V, W, 1>(job, at, row, token);
                token += 1;
            }
        }
    }
}

/// One panel times `T` tokens.
#[inline(always)]
unsafe fn tile<V: FloatVectors, W: Weights<V>, const T: usize>(
    job: &FloatJob,
    panel: *const u8,
    row: usize,
    token: usize,
) {
    // SAFETY: the panel has `n_cols` columns and each token as many activations.
    unsafe {
        let mut outputs = [V::splat(0.0); T];
        let mut inputs = [job.inputs.add(token * job.n_cols); T];
        for t in 1..T {
            inputs[t] = job.inputs.add((token + t) * job.n_cols);
        }
        let mut first = 0;
        while first < job.n_cols {
            let end = (first + CHUNK_LEN).min(job.n_cols);
            let mut sums = [V::splat(0.0); T];
            for col in first..end {
                let weights = W::load(panel.add(col * PANEL_ROWS * W::BYTES));
                for t in 0..T {
                    let input = V::splat(*inputs[t].add(col));
                    sums[t] = V::add(sums[t], V::mul(weights, input));
                }
            }
            for t in 0..T {
                outputs[t] = V::add(outputs[t], sums[t]);
            }
            first = end;
        }
        for t in 0..T {
            let to = job.outputs.add((token + t) * job.output_stride + row);
            store::<V>(to, job.n_rows - row, job.tail, outputs[t]);
        }
    }
}
