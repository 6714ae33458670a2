//! Writes the formats of 32 weights a block.

use half::f16;

use super::{finite_half, fit, inverse};
use crate::quant::QUANT_BLOCK_LEN;
use crate::quant::blocks::legacy::IQ4_NL_LEVELS;

type Weights = [f32; QUANT_BLOCK_LEN];

/// The weight of largest magnitude becomes 127 times the scale, up to its sign.
pub(super) fn q8_0(weights: &Weights) -> Vec<u8> {
    let scale = fit::largest(weights).abs() / 127.0;
    let inverse = inverse(scale);
    let bytes = weights
        .iter()
        .map(|weight| ((weight * inverse).round() as i8).cast_unsigned());
    half_bytes(scale).chain(bytes).collect()
}

/// The weight of largest magnitude becomes -8 times the scale.
pub(super) fn q4_0(weights: &Weights) -> Vec<u8> {
    let scale = fit::largest(weights) / -8.0;
    let codes = codes(weights, 0.0, scale, 8.5, 15);
    half_bytes(scale).chain(nibbles(codes)).collect()
}

/// The smallest weight becomes the offset, the largest 15 scales more.
pub(super) fn q4_1(weights: &Weights) -> Vec<u8> {
    let (least, most) = range(weights);
    let scale = (most - least) / 15.0;
    let codes = codes(weights, least, scale, 0.5, 15);
    half_bytes(scale)
        .chain(half_bytes(least))
        .chain(nibbles(codes))
        .collect()
}

/// The weight of largest magnitude becomes -16 times the scale.
pub(super) fn q5_0(weights: &Weights) -> Vec<u8> {
    let scale = fit::largest(weights) / -16.0;
    let codes = codes(weights, 0.0, scale, 16.5, 31);
    half_bytes(scale)
        .chain(fifth_bits(codes))
        .chain(nibbles(codes))
        .collect()
}

/// The smallest weight becomes the offset, the largest 31 scales more.
pub(super) fn q5_1(weights: &Weights) -> Vec<u8> {
    let (least, most) = range(weights);
    let scale = (most - least) / 31.0;
    let codes = codes(weights, least, scale, 0.5, 31);
    half_bytes(scale)
        .chain(half_bytes(least))
        .chain(fifth_bits(codes))
        .chain(nibbles(codes))
        .collect()
}

/// The scale of least squared error, then the nearest level for each weight.
pub(super) fn iq4_nl(weights: &Weights) -> Vec<u8> {
    let scale = finite_half(fit::levels(weights, &IQ4_NL_LEVELS)).to_f32();
    let inverse = inverse(scale);
    let codes = weights.map(|weight| fit::nearest(&IQ4_NL_LEVELS, weight * inverse) as u8);
    half_bytes(scale).chain(nibbles(codes)).collect()
}

/// `(w - least) / scale + rounding`, without its fraction and between 0 and `top`.
fn codes(
    weights: &Weights,
    least: f32,
    scale: f32,
    rounding: f32,
    top: u8,
) -> [u8; QUANT_BLOCK_LEN] {
    let inverse = inverse(scale);
    // The cast saturates at 0 and drops the fraction.
    weights.map(|weight| (((weight - least) * inverse + rounding) as u8).min(top))
}

fn range(weights: &Weights) -> (f32, f32) {
    weights
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), it| {
            (least.min(*it), most.max(*it))
        })
}

fn half_bytes(value: f32) -> impl Iterator<Item = u8> {
    f16::to_le_bytes(finite_half(value)).into_iter()
}

/// The low nibbles of codes 0 to 15 with those of codes 16 to 31 above them.
fn nibbles(codes: [u8; QUANT_BLOCK_LEN]) -> impl Iterator<Item = u8> {
    (0..QUANT_BLOCK_LEN / 2)
        .map(move |i| codes[i] & 0x0f | (codes[i + QUANT_BLOCK_LEN / 2] & 0x0f) << 4)
}

/// Bit 4 of every code, as a little-endian word.
fn fifth_bits(codes: [u8; QUANT_BLOCK_LEN]) -> impl Iterator<Item = u8> {
    let word = (0..).zip(codes).fold(0_u32, |word, (i, code)| {
        word | u32::from(code >> 4 & 1) << i
    });
    word.to_le_bytes().into_iter()
}
