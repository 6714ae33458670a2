//! The WGSL kernels as text, each with the entry point, workgroup and bindings that a host must match.
//!
//! A kernel is one `op.wgsl` file at the top of this crate, with `parts/` in front of it that it
//! shares with others: a matrix product is one way to add up ([`Adder`]) and one kind of factors
//! ([`Factors`]). Binding `n` of group 0 is entry `n` of [`Kernel::bindings`]; there is no other
//! group. [`Kernel::needs`] says what a kernel wants beyond core WebGPU; every operation has a form
//! that wants nothing.

mod attention;
mod draw;
mod linear;
mod rows;

pub use attention::{ATTENTION, ATTENTION_THREAD, CACHE_LOAD, CACHE_STORE, CacheFormat};
pub use draw::{
    DRAW_ADJUST, DRAW_BEGIN, DRAW_BINS, DRAW_CHOOSE, DRAW_COUNT, DRAW_KEYS, DRAW_NARROW,
    DRAW_WEIGH, MAX_DRAW_TILES,
};
pub use linear::{Adder, EMBED, EmbedFormat, Factors, QUANTIZE_ROWS, linear};
pub use rows::{
    ACTIVATE, ADD_ROWS, ADVANCE, ARGMAX, GATHER_ROWS, LORA_MASK, NORM, NORM_IN_PLACE, ROPE, SOFTCAP,
};

/// One compute kernel: its text and the layout it expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The file's name without `.wgsl`, and what was put in front of it; the label of its pipeline.
    pub name: &'static str,
    /// The whole WGSL module.
    pub source: &'static str,
    /// Name of the compute entry point.
    pub entry: &'static str,
    /// Threads of a workgroup along x, y and z.
    pub workgroup: [u32; 3],
    /// What group 0 binds, in order of binding number.
    pub bindings: &'static [Binding],
    /// Constants that a host may set, all of which have defaults.
    pub overrides: &'static [&'static str],
    /// What the device must offer.
    pub needs: Needs,
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

/// What a kernel asks of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Core WebGPU.
    Core,
    /// The language feature `packed_4x8_integer_dot_product`.
    PackedDot,
    /// The feature `subgroups`, whose directive [`Kernel::source`] leaves to the host: browsers ask
    /// for `enable subgroups;` and naga 29 does not know it.
    Subgroups,
    /// Both.
    SubgroupsAndPackedDot,
}

impl Needs {
    /// Whether the language feature `packed_4x8_integer_dot_product` is used.
    pub const fn packed_dot(self) -> bool {
        matches!(self, Self::PackedDot | Self::SubgroupsAndPackedDot)
    }

    /// Whether the feature `subgroups` is used.
    pub const fn subgroups(self) -> bool {
        matches!(self, Self::Subgroups | Self::SubgroupsAndPackedDot)
    }
}

/// Every kernel runs 64 threads along x: the smallest common multiple of the subgroup sizes in use,
/// and a quarter of what every WebGPU adapter must offer.
pub const THREADS: u32 = 64;

/// A file at the top of this crate behind parts.
macro_rules! kernel {
    ($name:expr, [$($part:literal),*], $file:literal, $bindings:expr, $overrides:expr) => {
        kernel!($name, [$($part),*], $file, $bindings, $overrides, $crate::Needs::Core)
    };
    (
        $name:expr, [$($part:literal),*], $file:literal, $bindings:expr, $overrides:expr,
        $needs:expr
    ) => {
        $crate::Kernel {
            name: $name,
            source: concat!(
                $(include_str!(concat!("../parts/", $part, ".wgsl")), "\n",)*
                include_str!(concat!("../", $file, ".wgsl"))
            ),
            entry: "main",
            workgroup: [$crate::THREADS, 1, 1],
            bindings: &$bindings,
            overrides: &$overrides,
            needs: $needs,
        }
    };
}
use kernel;

/// Every kernel.
pub fn all() -> Vec<Kernel> {
    let mut all = vec![
        ACTIVATE,
        ADD_ROWS,
        ADVANCE,
        ARGMAX,
        DRAW_ADJUST,
        DRAW_BEGIN,
        DRAW_CHOOSE,
        DRAW_COUNT,
        DRAW_KEYS,
        DRAW_NARROW,
        DRAW_WEIGH,
        GATHER_ROWS,
        LORA_MASK,
        NORM,
        NORM_IN_PLACE,
        QUANTIZE_ROWS,
        ROPE,
        SOFTCAP,
    ];
    all.extend(ATTENTION);
    all.extend(ATTENTION_THREAD);
    all.extend(CACHE_LOAD);
    all.extend(CACHE_STORE);
    all.extend(EMBED);
    for adder in Adder::ALL {
        all.extend(Factors::ALL.map(|factors| linear(adder, factors)));
    }
    all
}

#[cfg(test)]
mod tests;
