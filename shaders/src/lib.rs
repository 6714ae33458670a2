//! The WGSL kernels as text, each with the entry point, workgroup and bindings that a host must match.
//!
//! A kernel is one `op_layout_format.wgsl` file at the top of this crate and one constant here.
//! Binding `n` of group 0 is entry `n` of [`Kernel::bindings`]; there is no other group.
//! Every kernel runs on core WebGPU: no `f16`, no subgroups, at most eight storage buffers.

/// One compute kernel: its text and the layout it expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// File name without `.wgsl`; the label of its pipeline.
    pub name: &'static str,
    /// The whole WGSL module.
    pub source: &'static str,
    /// Name of the compute entry point.
    pub entry: &'static str,
    /// Threads of a workgroup along x, y and z.
    pub workgroup: [u32; 3],
    /// What group 0 binds, in order of binding number.
    pub bindings: &'static [Binding],
}

/// How a kernel uses one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Storage that is only read.
    Read,
    /// Storage that is written, and perhaps read.
    ReadWrite,
    /// A small block of parameters.
    Uniform,
}

use Binding::{Read, ReadWrite, Uniform};

/// Every kernel runs 64 threads along x: the smallest common multiple of the subgroup sizes in use,
/// and a quarter of what every WebGPU adapter must offer.
const THREADS: [u32; 3] = [64, 1, 1];

macro_rules! kernel {
    ($name:literal, $bindings:expr) => {
        Kernel {
            name: $name,
            source: include_str!(concat!("../", $name, ".wgsl")),
            entry: "main",
            workgroup: THREADS,
            bindings: &$bindings,
        }
    };
}

/// Attention of a slice of tokens over the cache.
pub const ATTENTION: Kernel = kernel!(
    "attention",
    [Uniform, Uniform, Read, Read, Read, ReadWrite, ReadWrite]
);
/// Embedding rows from an F16 table.
pub const EMBED_GATHER_F16: Kernel = kernel!(
    "embed_gather_f16",
    [Uniform, Uniform, Read, Read, ReadWrite]
);
/// Embedding rows from an F32 table.
pub const EMBED_GATHER_F32: Kernel = kernel!(
    "embed_gather_f32",
    [Uniform, Uniform, Read, Read, ReadWrite]
);
/// Embedding rows from a repacked `Q4_0` table.
pub const EMBED_GATHER_Q4_0: Kernel = kernel!(
    "embed_gather_q4_0",
    [Uniform, Uniform, Read, Read, Read, ReadWrite]
);
/// Embedding rows from a repacked `Q8_0` table.
pub const EMBED_GATHER_Q8_0: Kernel = kernel!(
    "embed_gather_q8_0",
    [Uniform, Uniform, Read, Read, Read, ReadWrite]
);
/// F16 matrix times several tokens.
pub const MATMUL_TILE_F16: Kernel =
    kernel!("matmul_tile_f16", [Uniform, Uniform, Read, Read, ReadWrite]);
/// F32 matrix times several tokens.
pub const MATMUL_TILE_F32: Kernel =
    kernel!("matmul_tile_f32", [Uniform, Uniform, Read, Read, ReadWrite]);
/// Repacked `Q4_0` matrix times several tokens.
pub const MATMUL_TILE_Q4_0: Kernel = kernel!(
    "matmul_tile_q4_0",
    [Uniform, Uniform, Read, Read, Read, ReadWrite]
);
/// Repacked `Q8_0` matrix times several tokens.
pub const MATMUL_TILE_Q8_0: Kernel = kernel!(
    "matmul_tile_q8_0",
    [Uniform, Uniform, Read, Read, Read, ReadWrite]
);
/// F16 matrix times one token.
pub const MATVEC_ROW_F16: Kernel = kernel!("matvec_row_f16", [Uniform, Read, Read, ReadWrite]);
/// F32 matrix times one token.
pub const MATVEC_ROW_F32: Kernel = kernel!("matvec_row_f32", [Uniform, Read, Read, ReadWrite]);
/// Repacked `Q4_0` matrix times one token.
pub const MATVEC_ROW_Q4_0: Kernel =
    kernel!("matvec_row_q4_0", [Uniform, Read, Read, Read, ReadWrite]);
/// Repacked `Q8_0` matrix times one token.
pub const MATVEC_ROW_Q8_0: Kernel =
    kernel!("matvec_row_q8_0", [Uniform, Read, Read, Read, ReadWrite]);
/// Root-mean-square normalisation.
pub const RMSNORM: Kernel = kernel!("rmsnorm", [Uniform, Uniform, Read, Read, ReadWrite]);
/// Rotary positions, and keys and values into the cache.
pub const ROPE_KV: Kernel = kernel!(
    "rope_kv",
    [
        Uniform, Uniform, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite
    ]
);
/// The gated activation of a feed-forward block.
pub const SILU_MUL: Kernel = kernel!("silu_mul", [Uniform, Uniform, Read, ReadWrite]);

/// Every kernel, in the order of their file names.
pub const ALL: &[Kernel] = &[
    ATTENTION,
    EMBED_GATHER_F16,
    EMBED_GATHER_F32,
    EMBED_GATHER_Q4_0,
    EMBED_GATHER_Q8_0,
    MATMUL_TILE_F16,
    MATMUL_TILE_F32,
    MATMUL_TILE_Q4_0,
    MATMUL_TILE_Q8_0,
    MATVEC_ROW_F16,
    MATVEC_ROW_F32,
    MATVEC_ROW_Q4_0,
    MATVEC_ROW_Q8_0,
    RMSNORM,
    ROPE_KV,
    SILU_MUL,
];

#[cfg(test)]
mod tests;
