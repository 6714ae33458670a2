//! One call of a matrix kernel, as plain memory: what the main program and the relaxed module share.
//!
//! A *panel* is eight rows of a matrix side by side, so that a lane of a vector is a row. It is a
//! run of *records*, one for each group of columns that share a scale:
//!
//! | bytes | what |
//! |---|---|
//! | 32 | scales, f32, one a row |
//! | 32 | offsets, f32, one a row; only where [`Job::offsets`] is not 0 |
//! | 32 for every 4 columns | [`WIDE`] and [`SEVEN`]: byte `4 r + c` is row `r`, column `c` of the 4 |
//! | 32 for every 8 columns | [`NIBBLE`]: low half of byte `4 r + c` is column `c`, high half `c + 4` |

/// Rows in a panel.
pub(crate) const PANEL_ROWS: usize = 8;

/// bytes; eight f32, or four columns of eight bytes.
pub(crate) const VECTOR_BYTES: usize = 32;

/// [`Job::codes`]: two codes of 0 to 15 in a byte.
pub(crate) const NIBBLE: u32 = 0;

/// [`Job::codes`]: a code of 0 to 127 in a byte.
pub(crate) const SEVEN: u32 = 1;

/// [`Job::codes`]: a code of -128 to 127 in a byte.
pub(crate) const WIDE: u32 = 2;

/// bytes of a record.
pub(crate) const fn record_bytes(codes: u32, group_len: usize, offsets: bool) -> usize {
    let codes_bytes = match codes {
        NIBBLE => group_len * PANEL_ROWS / 2,
        _ => group_len * PANEL_ROWS,
    };
    codes_bytes + VECTOR_BYTES * (1 + offsets as usize)
}

/// What a group of quantised activations needs beside its codes.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mark {
    /// An activation is this times its code.
    pub scale: f32,
    /// The sum of the group's codes.
    pub sum: i32,
}

/// Whole panels times several vectors.
///
/// For token `t` and row `r`, group by group in order, each operation rounded on its own:
/// `y += (scale[r] * mark.scale) * sum((code[r] - zero_point) * x)` and, where there are offsets,
/// then `y += (offset[r] * mark.scale) * mark.sum`. The inner sum is exact.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Job {
    /// `(n_panels, n_groups)` records, 32-byte aligned.
    pub(super) panels: *const u8,
    /// Panels to multiply.
    pub(super) n_panels: usize,
    /// Rows that exist; the last panel may hold fewer than eight.
    pub(super) n_rows: usize,
    /// Groups in a row.
    pub(super) n_groups: usize,
    /// Columns in a group: 16 or 32.
    pub(super) group_len: usize,
    /// [`NIBBLE`], [`SEVEN`] or [`WIDE`].
    pub(super) codes: u32,
    /// 0 or 1.
    pub(super) offsets: u32,
    /// Code that stands for zero.
    pub(super) zero_point: i32,
    /// Vectors to multiply with.
    pub(super) n_tokens: usize,
    /// `(n_tokens, n_groups * group_len)`, -127 to 127.
    pub(super) inputs: *const i8,
    /// The same, in 16 bits.
    pub(super) words: *const i16,
    /// `(n_tokens, n_groups)`.
    pub(super) marks: *const Mark,
    /// `(n_tokens, output_stride)`, of which the first `n_rows` are written.
    pub(super) outputs: *mut f32,
    /// floats from one token's outputs to the next's.
    pub(super) output_stride: usize,
    /// `(8)`; where the results of a panel that is not full are put before they are cut.
    pub(super) tail: *mut f32,
}
