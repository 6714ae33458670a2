//! Weight formats as GGUF stores them: block sizes, layouts and the meaning of their bytes.
//!
//! Every format is a run of blocks; a row of a matrix is a whole number of blocks.
//! 1. `blocks` alone knows where in a block each bit lies.
//! 2. [`groups`] gives a block as codes and the scale and offset of each group of them, which is
//!    what kernels are fed with.
//! 3. [`dequantize`] turns that into f32, every value as Python's `gguf` does: the specification
//!    that the CPU kernels and the WGSL kernels are held to.

mod blocks;
mod dequant;
pub(crate) mod finite;
pub mod groups;
mod quantize;

pub(crate) use blocks::half_at;
pub use dequant::dequantize;
pub(crate) use finite::first_damaged_block;
pub use quantize::quantize;

/// Weights in a block of the formats whose names do not end in K.
pub const QUANT_BLOCK_LEN: usize = 32;

/// Weights in a block of the formats whose names end in K: a super-block of smaller groups.
pub const K_BLOCK_LEN: usize = 256;

/// bytes; one f16 scale and 32 signed bytes.
pub const Q8_0_BLOCK_BYTES: usize = HALF_BYTES + QUANT_BLOCK_LEN;

/// bytes; one f16 scale and 32 nibbles: the low ones hold weights 0 to 15, the high ones 16 to 31.
pub const Q4_0_BLOCK_BYTES: usize = HALF_BYTES + QUANT_BLOCK_LEN / 2;

/// bytes; as Q4_0 with a second f16, the smallest weight.
pub const Q4_1_BLOCK_BYTES: usize = 2 * HALF_BYTES + QUANT_BLOCK_LEN / 2;

/// bytes; one f16 scale, a fifth bit for each weight, 32 nibbles.
pub const Q5_0_BLOCK_BYTES: usize = HALF_BYTES + QUANT_BLOCK_LEN / 8 + QUANT_BLOCK_LEN / 2;

/// bytes; as Q5_0 with a second f16, the smallest weight.
pub const Q5_1_BLOCK_BYTES: usize = 2 * HALF_BYTES + QUANT_BLOCK_LEN / 8 + QUANT_BLOCK_LEN / 2;

/// bytes; 16 pairs of 4-bit scale and minimum, 2 bits for each weight, two f16.
pub const Q2_K_BLOCK_BYTES: usize = K_BLOCK_LEN / 16 + K_BLOCK_LEN / 4 + 2 * HALF_BYTES;

/// bytes; a third bit and 2 bits for each weight, 16 scales of 6 bits, one f16.
pub const Q3_K_BLOCK_BYTES: usize = K_BLOCK_LEN / 8 + K_BLOCK_LEN / 4 + K_SCALES_BYTES + HALF_BYTES;

/// bytes; two f16, 8 pairs of 6-bit scale and minimum, a nibble for each weight.
pub const Q4_K_BLOCK_BYTES: usize = 2 * HALF_BYTES + K_SCALES_BYTES + K_BLOCK_LEN / 2;

/// bytes; as Q4_K with a fifth bit for each weight.
pub const Q5_K_BLOCK_BYTES: usize = Q4_K_BLOCK_BYTES + K_BLOCK_LEN / 8;

/// bytes; 4 and 2 bits for each weight, 16 signed scales, one f16.
pub const Q6_K_BLOCK_BYTES: usize =
    K_BLOCK_LEN / 2 + K_BLOCK_LEN / 4 + K_BLOCK_LEN / 16 + HALF_BYTES;

/// bytes; 16 numbers of 6 bits.
const K_SCALES_BYTES: usize = 16 * 6 / 8;

/// bytes of an f16.
const HALF_BYTES: usize = 2;

const _: () = assert!(Q8_0_BLOCK_BYTES == 34 && Q4_0_BLOCK_BYTES == 18);
const _: () = assert!(Q4_1_BLOCK_BYTES == 20 && Q5_0_BLOCK_BYTES == 22 && Q5_1_BLOCK_BYTES == 24);
const _: () = assert!(Q2_K_BLOCK_BYTES == 84 && Q3_K_BLOCK_BYTES == 110 && Q4_K_BLOCK_BYTES == 144);
const _: () = assert!(Q5_K_BLOCK_BYTES == 176 && Q6_K_BLOCK_BYTES == 210);

/// How the weights of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    non_camel_case_types,
    reason = "Q4_K and IQ4_NL are what the formats are called"
)]
pub enum Format {
    /// 32-bit floats, little endian.
    F32,
    /// 16-bit floats, little endian.
    F16,
    /// The upper halves of 32-bit floats, little endian.
    BF16,
    /// 32 weights `d * q` in 34 bytes: `d` f16, then 32 signed bytes.
    Q8_0,
    /// 32 weights `d * (nibble - 8)` in 18 bytes: `d` f16, then 16 bytes of two nibbles each.
    Q4_0,
    /// 32 weights `d * nibble + m` in 20 bytes: `d` and `m` f16, then the nibbles.
    Q4_1,
    /// 32 weights `d * (q - 16)`, `q` of 5 bits, in 22 bytes: `d` f16, the fifth bits, the nibbles.
    Q5_0,
    /// 32 weights `d * q + m`, `q` of 5 bits, in 24 bytes: `d` and `m` f16, the fifth bits, the
    /// nibbles.
    Q5_1,
    /// 256 weights in 84 bytes: 16 groups of `(d * scale) * q - (dmin * min)`, `q` of 2 bits,
    /// `scale` and `min` of 4.
    Q2_K,
    /// 256 weights in 110 bytes: 16 groups of `(d * (scale - 32)) * (q - 4)`, `q` of 3 bits,
    /// `scale` of 6.
    Q3_K,
    /// 256 weights in 144 bytes: 8 groups of `(d * scale) * q - (dmin * min)`, `q` of 4 bits,
    /// `scale` and `min` of 6.
    Q4_K,
    /// 256 weights in 176 bytes: as Q4_K with `q` of 5 bits.
    Q5_K,
    /// 256 weights in 210 bytes: 16 groups of `(d * scale) * (q - 32)`, `q` of 6 bits, `scale` a
    /// signed byte.
    Q6_K,
    /// 32 weights `d * LEVELS[nibble]` in 18 bytes, laid out as Q4_0; the levels are denser near 0.
    IQ4_NL,
}

/// What the numbers of a format are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Floats.
    F32,
    /// IEEE 754 halves.
    F16,
    /// Upper halves of floats.
    Bf16,
    /// Integers and the f16 that they are scaled by.
    Blocks,
}

impl Format {
    /// Every format that the engine reads.
    pub const ALL: [Self; 14] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::IQ4_NL,
    ];

    /// What its numbers are written as.
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::F32 => Encoding::F32,
            Self::F16 => Encoding::F16,
            Self::BF16 => Encoding::Bf16,
            Self::Q8_0
            | Self::Q4_0
            | Self::Q4_1
            | Self::Q5_0
            | Self::Q5_1
            | Self::Q2_K
            | Self::Q3_K
            | Self::Q4_K
            | Self::Q5_K
            | Self::Q6_K
            | Self::IQ4_NL => Encoding::Blocks,
        }
    }

    /// The format that GGUF writes as `type_id`.
    pub fn from_type_id(type_id: u32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|format| format.type_id() == type_id)
    }

    /// The number that GGUF writes for this format.
    pub fn type_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q4_0 => 2,
            Self::Q4_1 => 3,
            Self::Q5_0 => 6,
            Self::Q5_1 => 7,
            Self::Q8_0 => 8,
            Self::Q2_K => 10,
            Self::Q3_K => 11,
            Self::Q4_K => 12,
            Self::Q5_K => 13,
            Self::Q6_K => 14,
            Self::IQ4_NL => 20,
            Self::BF16 => 30,
        }
    }

    /// The name people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::BF16 => "BF16",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q2_K => "Q2_K",
            Self::Q3_K => "Q3_K",
            Self::Q4_K => "Q4_K",
            Self::Q5_K => "Q5_K",
            Self::Q6_K => "Q6_K",
            Self::IQ4_NL => "IQ4_NL",
        }
    }

    /// Weights in one block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::IQ4_NL => {
                QUANT_BLOCK_LEN
            }
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K => K_BLOCK_LEN,
        }
    }

    /// Bytes in one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => HALF_BYTES,
            Self::Q8_0 => Q8_0_BLOCK_BYTES,
            Self::Q4_0 | Self::IQ4_NL => Q4_0_BLOCK_BYTES,
            Self::Q4_1 => Q4_1_BLOCK_BYTES,
            Self::Q5_0 => Q5_0_BLOCK_BYTES,
            Self::Q5_1 => Q5_1_BLOCK_BYTES,
            Self::Q2_K => Q2_K_BLOCK_BYTES,
            Self::Q3_K => Q3_K_BLOCK_BYTES,
            Self::Q4_K => Q4_K_BLOCK_BYTES,
            Self::Q5_K => Q5_K_BLOCK_BYTES,
            Self::Q6_K => Q6_K_BLOCK_BYTES,
        }
    }

    /// Bytes of a row of `cols` weights; `cols` is a multiple of [`Format::block_len`].
    pub fn row_bytes(self, cols: usize) -> usize {
        cols / self.block_len() * self.block_bytes()
    }

    /// True for the formats that store codes and scales, false for plain floats.
    pub fn is_quantised(self) -> bool {
        self.block_len() > 1
    }
}

/// What llama.cpp calls a tensor type that this engine does not read, for the error message.
pub(crate) fn foreign_type_name(type_id: u32) -> Option<&'static str> {
    const NAMES: [(u32, &str); 20] = [
        (9, "Q8_1"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (23, "IQ4_XS"),
        (24, "I8"),
        (25, "I16"),
        (26, "I32"),
        (27, "I64"),
        (28, "F64"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (39, "MXFP4"),
        (40, "NVFP4"),
        (41, "Q1_0"),
    ];
    NAMES
        .iter()
        .find(|(id, _)| *id == type_id)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests;
