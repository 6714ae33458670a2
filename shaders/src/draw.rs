//! Kernels that draw tokens from logits, in the order in which they run.

use crate::Binding::{Read, ReadWrite, Uniform};
use crate::{Kernel, kernel};

/// Tiles that a row of logits is cut into at most.
pub const MAX_DRAW_TILES: u32 = 128;
/// Values of one digit of a key; a row has two words for each.
pub const DRAW_BINS: u32 = 256;

/// Biases and penalties, in place.
pub const DRAW_ADJUST: Kernel = kernel!(
    "draw_adjust",
    [],
    "draw_adjust",
    [Uniform, Read, ReadWrite],
    []
);
/// Logits as whole numbers in their order, and the largest of each tile.
pub const DRAW_KEYS: Kernel = kernel!(
    "draw_keys",
    ["draw"],
    "draw_keys",
    [Uniform, Read, Read, ReadWrite, ReadWrite],
    []
);
/// What is known before a cut is looked for.
pub const DRAW_BEGIN: Kernel = kernel!(
    "draw_begin",
    ["draw"],
    "draw_begin",
    [Uniform, Read, Read, ReadWrite, ReadWrite],
    []
);
/// Tokens, or weights, by a digit of their keys.
pub const DRAW_COUNT: Kernel = kernel!(
    "draw_count",
    ["draw"],
    "draw_count",
    [Uniform, Read, Read, Read, ReadWrite],
    []
);
/// One more digit of the cut.
pub const DRAW_NARROW: Kernel = kernel!(
    "draw_narrow",
    ["draw"],
    "draw_narrow",
    [Uniform, Read, ReadWrite, ReadWrite],
    []
);
/// What each tile weighs of what is kept.
pub const DRAW_WEIGH: Kernel = kernel!(
    "draw_weigh",
    ["draw"],
    "draw_weigh",
    [Uniform, Read, Read, Read, ReadWrite],
    []
);
/// The token that was drawn.
pub const DRAW_CHOOSE: Kernel = kernel!(
    "draw_choose",
    ["draw"],
    "draw_choose",
    [Uniform, Read, Read, Read, Read, Read, ReadWrite],
    []
);
