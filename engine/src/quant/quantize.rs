//! Packs f32 weights into blocks, rounding as llama.cpp's reference quantiser does.

use half::f16;

use super::{Format, QUANT_BLOCK_LEN};

/// The stored form of `weights`.
///
/// # Panics
/// When `weights` is not a whole number of blocks.
pub fn quantize(format: Format, weights: &[f32]) -> Vec<u8> {
    assert_eq!(
        weights.len() % format.block_len(),
        0,
        "weights are whole blocks"
    );
    let blocks = weights.as_chunks::<QUANT_BLOCK_LEN>().0;
    match format {
        Format::F32 => weights
            .iter()
            .flat_map(|weight| weight.to_le_bytes())
            .collect(),
        Format::F16 => weights
            .iter()
            .flat_map(|weight| f16::from_f32(*weight).to_le_bytes())
            .collect(),
        Format::Q4_0 => blocks.iter().flat_map(quantize_q4_0).collect(),
        Format::Q8_0 => blocks.iter().flat_map(quantize_q8_0).collect(),
    }
}

/// The weight of largest magnitude becomes -8 times the scale.
fn quantize_q4_0(weights: &[f32; QUANT_BLOCK_LEN]) -> Vec<u8> {
    let largest = weights
        .iter()
        .fold(0.0_f32, |a, b| if b.abs() > a.abs() { *b } else { a });
    let scale = largest / -8.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    // The cast saturates at 0 and drops the fraction.
    let nibble = |weight: f32| ((weight * inverse + 8.5) as u8).min(15);
    let (low, high) = weights.split_at(QUANT_BLOCK_LEN / 2);
    let bytes = low
        .iter()
        .zip(high)
        .map(|(low, high)| nibble(*low) | nibble(*high) << 4);
    f16::from_f32(scale)
        .to_le_bytes()
        .into_iter()
        .chain(bytes)
        .collect()
}

/// The weight of largest magnitude becomes 127 times the scale, up to its sign.
fn quantize_q8_0(weights: &[f32; QUANT_BLOCK_LEN]) -> Vec<u8> {
    let largest = weights.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let bytes = weights
        .iter()
        .map(|weight| ((weight * inverse).round() as i8).cast_unsigned());
    f16::from_f32(scale)
        .to_le_bytes()
        .into_iter()
        .chain(bytes)
        .collect()
}
