//! Kernels that work on rows of activations.

use crate::Binding::{Read, ReadWrite, Uniform};
use crate::{Kernel, kernel};

/// The activation of a feed-forward block.
pub const ACTIVATE: Kernel = kernel!(
    "activate",
    [],
    "activate",
    [Uniform, Uniform, ReadWrite, Read, Read],
    ["KIND"]
);
/// Adds rows, or one row to all.
pub const ADD_ROWS: Kernel = kernel!(
    "add_rows",
    [],
    "add_rows",
    [Uniform, Uniform, ReadWrite, Read],
    []
);
/// Makes chosen tokens the next ones.
pub const ADVANCE: Kernel = kernel!(
    "advance",
    [],
    "advance",
    [Uniform, Uniform, Read, ReadWrite, ReadWrite],
    []
);
/// The largest of each row.
pub const ARGMAX: Kernel = kernel!("argmax", [], "argmax", [Uniform, Read, ReadWrite], []);
/// Copies chosen rows.
pub const GATHER_ROWS: Kernel = kernel!(
    "gather_rows",
    [],
    "gather_rows",
    [Uniform, Uniform, ReadWrite, Read, Read],
    []
);
/// What the adapters of each row have a say in.
pub const LORA_MASK: Kernel = kernel!(
    "lora_mask",
    [],
    "lora_mask",
    [Uniform, Uniform, ReadWrite, Read, Read],
    []
);
/// A norm from one buffer into another.
pub const NORM: Kernel = kernel!(
    "norm_between",
    ["norm_between"],
    "norm",
    [Uniform, Uniform, ReadWrite, Read, Read, Read],
    ["LAYER"]
);
/// A norm in place.
pub const NORM_IN_PLACE: Kernel = kernel!(
    "norm_in_place",
    ["norm_in_place"],
    "norm",
    [Uniform, Uniform, ReadWrite, Read, Read],
    ["LAYER"]
);
/// Rotary positions, in place.
pub const ROPE: Kernel = kernel!(
    "rope",
    ["rows"],
    "rope",
    [Uniform, Uniform, ReadWrite, Read, Read],
    []
);
/// The soft cap of logits, in place.
pub const SOFTCAP: Kernel = kernel!("softcap", [], "softcap", [Uniform, Uniform, ReadWrite], []);
