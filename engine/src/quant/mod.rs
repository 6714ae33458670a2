//! Weight formats as GGUF stores them: block sizes, layouts and the meaning of their bytes.
//!
//! Every format is a run of blocks; a row of a matrix is a whole number of blocks.
//! Dequantisation here is the specification that the CPU kernels and the WGSL kernels are held to.

mod dequant;
mod quantize;

pub(crate) use dequant::block_scale;
pub use dequant::dequantize;
pub use quantize::quantize;

/// Weights in a block of [`Format::Q8_0`] and [`Format::Q4_0`].
pub const QUANT_BLOCK_LEN: usize = 32;

/// bytes; one f16 scale and 32 signed bytes.
pub const Q8_0_BLOCK_BYTES: usize = 2 + QUANT_BLOCK_LEN;

/// bytes; one f16 scale and 32 nibbles: the low ones hold weights 0 to 15, the high ones 16 to 31.
pub const Q4_0_BLOCK_BYTES: usize = 2 + QUANT_BLOCK_LEN / 2;

const _: () = assert!(Q8_0_BLOCK_BYTES == 34 && Q4_0_BLOCK_BYTES == 18);

/// How the weights of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// 32-bit floats, little endian.
    F32,
    /// 16-bit floats, little endian.
    F16,
    /// 32 weights `d * (nibble - 8)` in 18 bytes: `d` f16, then 16 bytes of two nibbles each.
    Q4_0,
    /// 32 weights `d * q` in 34 bytes: `d` f16, then 32 signed bytes.
    Q8_0,
}

impl Format {
    /// The format that GGUF writes as `type_id`.
    pub fn from_type_id(type_id: u32) -> Option<Self> {
        match type_id {
            0 => Some(Self::F32),
            1 => Some(Self::F16),
            2 => Some(Self::Q4_0),
            8 => Some(Self::Q8_0),
            _ => None,
        }
    }

    /// The number that GGUF writes for this format.
    pub fn type_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q8_0 => 8,
        }
    }

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Q4_0 => "Q4_0",
            Self::Q8_0 => "Q8_0",
        }
    }

    /// Weights in one block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Q4_0 | Self::Q8_0 => QUANT_BLOCK_LEN,
        }
    }

    /// Bytes in one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Q4_0 => Q4_0_BLOCK_BYTES,
            Self::Q8_0 => Q8_0_BLOCK_BYTES,
        }
    }

    /// Bytes of a row of `cols` weights; `cols` is a multiple of [`Format::block_len`].
    pub fn row_bytes(self, cols: usize) -> usize {
        cols / self.block_len() * self.block_bytes()
    }
}

/// What llama.cpp calls a tensor type that this engine does not read, for the error message.
pub(crate) fn foreign_type_name(type_id: u32) -> Option<&'static str> {
    const NAMES: [(u32, &str); 26] = [
        (3, "Q4_1"),
        (6, "Q5_0"),
        (7, "Q5_1"),
        (9, "Q8_1"),
        (10, "Q2_K"),
        (11, "Q3_K"),
        (12, "Q4_K"),
        (13, "Q5_K"),
        (14, "Q6_K"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (20, "IQ4_NL"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (29, "IQ1_M"),
        (30, "BF16"),
        (39, "MXFP4"),
    ];
    NAMES
        .iter()
        .find(|(id, _)| *id == type_id)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests;
