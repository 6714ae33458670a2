//! Packs f32 weights into blocks, to write models for tests and measurements.
//!
//! F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 round as llama.cpp's reference quantiser does,
//! bit for bit; the others choose scales by least squares of their own, with an error near its.

mod fit;
mod k;
mod legacy;

use half::{bf16, f16};

use super::{Format, K_BLOCK_LEN, QUANT_BLOCK_LEN};

/// The stored form of `weights`, which are finite.
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
    let k_blocks = weights.as_chunks::<K_BLOCK_LEN>().0;
    match format {
        Format::F32 => weights
            .iter()
            .flat_map(|weight| weight.to_le_bytes())
            .collect(),
        Format::F16 => weights
            .iter()
            .flat_map(|weight| f16::from_f32(*weight).to_le_bytes())
            .collect(),
        Format::BF16 => weights
            .iter()
            .flat_map(|weight| bf16::from_f32(*weight).to_le_bytes())
            .collect(),
        Format::Q8_0 => blocks.iter().flat_map(legacy::q8_0).collect(),
        Format::Q4_0 => blocks.iter().flat_map(legacy::q4_0).collect(),
        Format::Q4_1 => blocks.iter().flat_map(legacy::q4_1).collect(),
        Format::Q5_0 => blocks.iter().flat_map(legacy::q5_0).collect(),
        Format::Q5_1 => blocks.iter().flat_map(legacy::q5_1).collect(),
        Format::IQ4_NL => blocks.iter().flat_map(legacy::iq4_nl).collect(),
        Format::Q2_K => k_blocks.iter().flat_map(k::q2_k).collect(),
        Format::Q3_K => k_blocks.iter().flat_map(k::q3_k).collect(),
        Format::Q4_K => k_blocks.iter().flat_map(k::q4_k).collect(),
        Format::Q5_K => k_blocks.iter().flat_map(k::q5_k).collect(),
        Format::Q6_K => k_blocks.iter().flat_map(k::q6_k).collect(),
    }
}

/// The nearest f16 that is finite: a scale beyond the largest is stored as the largest.
fn finite_half(value: f32) -> f16 {
    let most = f16::MAX.to_f32();
    f16::from_f32(value.clamp(-most, most))
}

/// `1 / scale`, and 0 where that is not a number to multiply with.
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}
