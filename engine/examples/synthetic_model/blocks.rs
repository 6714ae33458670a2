//! Blocks of each format with codes drawn at random and scales that give the weights the spread a
//! trained model's have.
//!
//! Codes are uniform, which no trained model's are; a kernel takes the same time for either.

use half::f16;
use thrum_engine::synthetic::Random;

use crate::shapes::{Role, TensorSpec};

/// weights; the block of the K formats.
pub(crate) const SUPER_BLOCK: usize = 256;

/// How a tensor is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockFormat {
    F32,
    Q4_0,
    Q5_0,
    Q8_0,
    Q4K,
    Q6K,
}

impl BlockFormat {
    /// GGUF's number for it.
    pub(crate) fn type_id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::Q4_0 => 2,
            Self::Q5_0 => 6,
            Self::Q8_0 => 8,
            Self::Q4K => 12,
            Self::Q6K => 14,
        }
    }

    /// Weights of a block and its bytes.
    fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::Q4_0 => (32, 18),
            Self::Q5_0 => (32, 22),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (SUPER_BLOCK, 144),
            Self::Q6K => (SUPER_BLOCK, 210),
        }
    }

    /// Bytes of so many weights.
    pub(crate) fn bytes(self, weights: usize) -> usize {
        let (length, bytes) = self.block();
        weights / length * bytes
    }

    /// Standard deviation of a uniform code around the middle of its range.
    fn code_spread(self) -> f32 {
        let codes: f32 = match self {
            Self::F32 => return 1.0,
            Self::Q4_0 | Self::Q4K => 16.0,
            Self::Q5_0 => 32.0,
            Self::Q8_0 => 255.0,
            Self::Q6K => 64.0,
        };
        ((codes * codes - 1.0) / 12.0).sqrt()
    }

    /// Appends a tensor's bytes.
    pub(crate) fn draw(self, random: &mut Random, tensor: &TensorSpec, out: &mut Vec<u8>) {
        // The variance of a sum over a row stays about 1.
        let spread = (tensor.cols as f32).sqrt().recip();
        let (length, _) = self.block();
        out.reserve(self.bytes(tensor.weights()));
        for _ in 0..tensor.weights() / length {
            self.draw_block(random, tensor.role, spread, out);
        }
    }

    fn draw_block(self, random: &mut Random, role: Role, spread: f32, out: &mut Vec<u8>) {
        let unit = spread / self.code_spread();
        match self {
            Self::F32 => {
                let middle = if role == Role::Gain { 1.0 } else { 0.0 };
                out.extend((middle + 0.2 * random.symmetric()).to_le_bytes());
            }
            Self::Q4_0 => {
                half(scale(random, unit), out);
                noise::<16>(random, out);
            }
            Self::Q5_0 => {
                half(scale(random, unit), out);
                noise::<20>(random, out);
            }
            Self::Q8_0 => {
                half(scale(random, unit), out);
                noise::<32>(random, out);
            }
            Self::Q4K => draw_q4_k(random, unit, out),
            Self::Q6K => draw_q6_k(random, unit, out),
        }
    }
}

/// Eight groups of 32: 6-bit scales and mins, then nibbles. A group's weights are
/// `d * scale * code - dmin * min`; with `min = scale` and `dmin = 7.5 d` they are about 0.
fn draw_q4_k(random: &mut Random, unit: f32, out: &mut Vec<u8>) {
    const MIDDLE_CODE: f32 = 7.5;
    const MEAN_SCALE: f32 = 47.5;
    let d = unit / MEAN_SCALE;
    half(d, out);
    half(d * MIDDLE_CODE, out);
    let scales: [u8; 8] = std::array::from_fn(|_| 32 + (random.bits() >> 27) as u8);
    // 4 scales and 4 mins with 2 bits of a later one on top, then the later ones' other 4 bits.
    let first = std::array::from_fn::<u8, 4, _>(|n| scales[n] | (scales[n + 4] >> 4) << 6);
    out.extend(first);
    out.extend(first);
    out.extend((4..8).map(|n| (scales[n] & 15) | (scales[n] & 15) << 4));
    noise::<128>(random, out);
}

/// Sixteen groups of 16: codes of 6 bits around 32, signed 8-bit scales, one `d`.
fn draw_q6_k(random: &mut Random, unit: f32, out: &mut Vec<u8>) {
    const MEAN_SCALE: f32 = 95.5;
    noise::<192>(random, out);
    for _ in 0..16 {
        let bits = random.bits();
        let scale = 64 + (bits >> 26) as i8;
        out.push(if bits & 1 == 0 { scale } else { -scale } as u8);
    }
    half(unit / MEAN_SCALE, out);
}

/// Of either sign, so that codes that are not even around 0 are so on average.
fn scale(random: &mut Random, unit: f32) -> f32 {
    let size = unit * (1.0 + 0.2 * random.symmetric());
    if random.bits() & 1 == 0 { size } else { -size }
}

fn half(value: f32, out: &mut Vec<u8>) {
    out.extend(f16::from_f32(value).to_le_bytes());
}

/// `N` random bytes; `N` is a multiple of 4.
fn noise<const N: usize>(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..N / 4 {
        out.extend(random.bits().to_le_bytes());
    }
}
