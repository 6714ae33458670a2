//! How each weight format lies in GPU memory, and what that asks of the kernels.
//!
//! Thirteen formats become four layouts: f32, 16 bits, and codes in nibbles or bytes with the scale
//! of each group of 16 or 32 columns beside them. Every weight keeps its value, bit for bit.

use thrum_shaders::{EmbedFormat, Factors};

use crate::quant::Format;
use crate::quant::groups::{self, CodeKind};

/// columns of a block of codes, whatever the format.
pub(super) const BLOCK_COLS: usize = 32;

/// columns that share the two floats of [`Scales::Super`].
pub(super) const SUPER_COLS: usize = 256;

/// columns of a block of the float layouts: one vector.
pub(super) const FLOAT_COLS: usize = 4;

/// How a tensor lies in GPU memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Layout {
    /// 32-bit floats.
    Float,
    /// 16-bit floats.
    Half {
        /// BF16 instead of F16.
        is_brain: bool,
    },
    /// Codes with scales.
    Codes(Coded),
}

/// The shape of codes and scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Coded {
    /// Signed bytes instead of nibbles.
    pub(super) in_bytes: bool,
    /// Columns that share a scale: 16 or 32.
    pub(super) group: usize,
    /// How scales are kept.
    pub(super) scales: Scales,
    /// The code that means 0.
    pub(super) zero: u8,
    /// Whether weights have an offset besides their scale.
    pub(super) has_offset: bool,
}

/// How scales are kept; the numbers are those of `scales.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Scales {
    /// An f16 for each group.
    Half = 0,
    /// Two f16 for each group: scale and offset.
    HalfPair = 1,
    /// Two bytes for each group, to be multiplied by two f32 that 256 columns share.
    Super = 2,
}

impl Layout {
    /// The layout of `format`.
    pub(super) fn of(format: Format) -> Self {
        let scales = match format {
            Format::F32 => return Self::Float,
            Format::F16 => return Self::Half { is_brain: false },
            Format::BF16 => return Self::Half { is_brain: true },
            Format::Q4_0 | Format::Q8_0 | Format::Q5_0 | Format::IQ4_NL => Scales::Half,
            Format::Q4_1 | Format::Q5_1 => Scales::HalfPair,
            Format::Q2_K | Format::Q3_K | Format::Q4_K | Format::Q5_K | Format::Q6_K => {
                Scales::Super
            }
        };
        Self::Codes(Coded {
            in_bytes: groups::code_kind(format) == CodeKind::Byte,
            group: groups::group_len(format),
            scales,
            zero: groups::zero_point(format).unsigned_abs(),
            has_offset: groups::has_offset(format),
        })
    }

    /// Columns of one block, of which a row has a whole number.
    pub(super) fn block_cols(self) -> usize {
        match self {
            Self::Float | Self::Half { .. } => FLOAT_COLS,
            Self::Codes(_) => BLOCK_COLS,
        }
    }

    /// Bytes of `weights` weights, a whole number of blocks, without their scales.
    pub(super) fn code_bytes(self, weights: u64) -> u64 {
        match self {
            Self::Float => weights * 4,
            Self::Half { .. } => weights * 2,
            Self::Codes(coded) if coded.in_bytes => weights,
            Self::Codes(_) => weights / 2,
        }
    }

    /// Bytes of the scales of `weights` weights, but for those of groups of groups.
    pub(super) fn group_bytes(self, weights: u64) -> u64 {
        match self {
            Self::Float | Self::Half { .. } => 0,
            Self::Codes(coded) => weights / coded.group as u64 * coded.scales.bytes() as u64,
        }
    }

    /// Bytes of the scales of groups of groups.
    pub(super) fn super_bytes(self, weights: u64) -> u64 {
        match self {
            Self::Codes(Coded {
                scales: Scales::Super,
                ..
            }) => weights / SUPER_COLS as u64 * 2 * size_of::<f32>() as u64,
            Self::Float | Self::Half { .. } | Self::Codes(_) => 0,
        }
    }

    /// The factors of a product with it, of f32 activations or of packed ones; none packed for
    /// floats.
    pub(super) fn factors(self, is_packed: bool) -> Option<Factors> {
        match (self, is_packed) {
            (Self::Float, false) => Some(Factors::Float),
            (Self::Half { .. }, false) => Some(Factors::Half),
            (Self::Float | Self::Half { .. }, true) => None,
            (Self::Codes(coded), false) if coded.in_bytes => Some(Factors::Byte),
            (Self::Codes(_), false) => Some(Factors::Nibble),
            (Self::Codes(coded), true) if coded.in_bytes => Some(Factors::BytePacked),
            (Self::Codes(_), true) => Some(Factors::NibblePacked),
        }
    }

    /// The kernel that gathers embeddings from it.
    pub(super) fn embed_format(self) -> EmbedFormat {
        match self {
            Self::Float => EmbedFormat::Float,
            Self::Half { .. } => EmbedFormat::Half,
            Self::Codes(coded) if coded.in_bytes => EmbedFormat::Byte,
            Self::Codes(_) => EmbedFormat::Nibble,
        }
    }

    /// What the constants of the kernels are to be.
    pub(super) fn constants(self) -> Vec<(&'static str, u32)> {
        match self {
            Self::Float => Vec::new(),
            Self::Half { is_brain } => vec![("BRAIN", u32::from(is_brain))],
            Self::Codes(coded) => vec![
                ("SCALES", coded.scales as u32),
                ("GROUP", coded.group as u32),
                ("ZERO", u32::from(coded.zero)),
                ("OFFSETS", u32::from(coded.has_offset)),
            ],
        }
    }

    /// A name for it in remembered timings.
    pub(super) fn name(self) -> String {
        match self {
            Self::Float => "f32".to_owned(),
            Self::Half { is_brain } => if is_brain { "bf16" } else { "f16" }.to_owned(),
            Self::Codes(coded) => format!(
                "{}{}s{}z{}{}",
                if coded.in_bytes { "b" } else { "n" },
                coded.group,
                coded.scales as u32,
                coded.zero,
                if coded.has_offset { "o" } else { "" },
            ),
        }
    }
}

impl Scales {
    /// Bytes for each group.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Half | Self::Super => 2,
            Self::HalfPair => 4,
        }
    }
}
