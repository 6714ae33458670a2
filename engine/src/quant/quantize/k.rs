//! Writes the formats of 256 weights a block.
//!
//! 1. Each group gets the scale (and minimum) that fits it best.
//! 2. Those are stored, rounded to what the block has room for.
//! 3. The block is read back, and each weight takes the code nearest to it with what was stored.

use super::{finite_half, fit, inverse};
use crate::quant::groups::{MAX_GROUPS, group_len, groups_per_block, unpack, zero_point};
use crate::quant::{
    Format, K_BLOCK_LEN, Q2_K_BLOCK_BYTES, Q3_K_BLOCK_BYTES, Q4_K_BLOCK_BYTES, Q5_K_BLOCK_BYTES,
    Q6_K_BLOCK_BYTES,
};

type Weights = [f32; K_BLOCK_LEN];
type Codes = [u8; K_BLOCK_LEN];

/// weights (and bytes) in a run.
const RUN: usize = 32;

pub(super) fn q2_k(weights: &Weights) -> [u8; Q2_K_BLOCK_BYTES] {
    let mut block = [0; Q2_K_BLOCK_BYTES];
    let fits = affine_fits(Format::Q2_K, weights, 3.0);
    let (scale, small_scales) = shared(fits.map(|(scale, _)| scale), 15.0);
    let (min, small_mins) = shared(fits.map(|(_, min)| min), 15.0);
    block[80..82].copy_from_slice(&scale);
    block[82..84].copy_from_slice(&min);
    for (byte, (scale, min)) in block.iter_mut().zip(small_scales.iter().zip(small_mins)) {
        *byte = scale | min << 4;
    }
    let codes = codes(Format::Q2_K, &block, weights, 0, 3);
    two_bits(&codes, &mut block[16..80]);
    block
}

pub(super) fn q3_k(weights: &Weights) -> [u8; Q3_K_BLOCK_BYTES] {
    let mut block = [0; Q3_K_BLOCK_BYTES];
    let (scale, small) = shared_signed(&symmetric_fits(Format::Q3_K, weights, 4.0), 32.0);
    block[108..].copy_from_slice(&scale);
    for (group, small) in small.into_iter().enumerate() {
        let six_bits = (small + 32) as u8;
        block[96 + group % 8] |= (six_bits & 0x0f) << (4 * (group / 8));
        block[104 + group % 4] |= (six_bits >> 4) << (2 * (group / 4));
    }
    let codes = codes(Format::Q3_K, &block, weights, 0, 7);
    two_bits(&codes, &mut block[32..96]);
    one_bit(&codes, 2, &mut block[..32]);
    block
}

pub(super) fn q4_k(weights: &Weights) -> [u8; Q4_K_BLOCK_BYTES] {
    let mut block = [0; Q4_K_BLOCK_BYTES];
    scales_and_mins(&affine_fits(Format::Q4_K, weights, 15.0), &mut block[..16]);
    let codes = codes(Format::Q4_K, &block, weights, 0, 15);
    nibble_runs(&codes, &mut block[16..]);
    block
}

pub(super) fn q5_k(weights: &Weights) -> [u8; Q5_K_BLOCK_BYTES] {
    let mut block = [0; Q5_K_BLOCK_BYTES];
    scales_and_mins(&affine_fits(Format::Q5_K, weights, 31.0), &mut block[..16]);
    let codes = codes(Format::Q5_K, &block, weights, 0, 31);
    one_bit(&codes, 4, &mut block[16..48]);
    nibble_runs(&codes, &mut block[48..]);
    block
}

pub(super) fn q6_k(weights: &Weights) -> [u8; Q6_K_BLOCK_BYTES] {
    let mut block = [0; Q6_K_BLOCK_BYTES];
    let (scale, small) = shared_signed(&symmetric_fits(Format::Q6_K, weights, 32.0), 128.0);
    block[208..].copy_from_slice(&scale);
    for (byte, small) in block[192..208].iter_mut().zip(small) {
        *byte = (small as i8).cast_unsigned();
    }
    let codes = codes(Format::Q6_K, &block, weights, -32, 31).map(|code| code.wrapping_add(32));
    let (low, rest) = block.split_at_mut(K_BLOCK_LEN / 2);
    for (run, codes) in codes.chunks_exact(RUN).enumerate() {
        let (half, quarter) = (run / 4, run % 4);
        let low = &mut low[(2 * half + quarter % 2) * RUN..][..RUN];
        let high = &mut rest[half * RUN..][..RUN];
        for ((low, high), code) in low.iter_mut().zip(high).zip(codes) {
            *low |= (code & 0x0f) << (4 * (quarter / 2));
            *high |= (code >> 4) << (2 * quarter);
        }
    }
    block
}

/// `(scale, min)` of each group; groups beyond the last are zero.
fn affine_fits(format: Format, weights: &Weights, top: f32) -> [(f32, f32); MAX_GROUPS] {
    let mut fits = [(0.0, 0.0); MAX_GROUPS];
    for (fit, group) in fits.iter_mut().zip(weights.chunks(group_len(format))) {
        *fit = fit::affine(group, top);
    }
    fits
}

/// The scale of each group.
fn symmetric_fits(format: Format, weights: &Weights, n: f32) -> [f32; MAX_GROUPS] {
    let mut fits = [0.0; MAX_GROUPS];
    for (fit, group) in fits.iter_mut().zip(weights.chunks(group_len(format))) {
        *fit = fit::symmetric(group, n);
    }
    fits
}

/// Numbers that are not negative as multiples, 0 to `top`, of an f16.
fn shared(numbers: [f32; MAX_GROUPS], top: f32) -> ([u8; 2], [u8; MAX_GROUPS]) {
    let unit = finite_half(fit::largest(&numbers) / top);
    let inverse = inverse(unit.to_f32());
    let small = numbers.map(|number| (number * inverse).round().min(top) as u8);
    (unit.to_le_bytes(), small)
}

/// Numbers as multiples, `-n` to `n - 1`, of an f16 that may be negative.
fn shared_signed(numbers: &[f32; MAX_GROUPS], n: f32) -> ([u8; 2], [i32; MAX_GROUPS]) {
    let unit = finite_half(fit::largest(numbers) / -n);
    let inverse = inverse(unit.to_f32());
    let small = numbers.map(|number| (number * inverse).round().clamp(-n, n - 1.0) as i32);
    (unit.to_le_bytes(), small)
}

/// The head of Q4_K and Q5_K, as `blocks` describes it.
fn scales_and_mins(fits: &[(f32, f32); MAX_GROUPS], head: &mut [u8]) {
    let (scale, small_scales) = shared(fits.map(|(scale, _)| scale), 63.0);
    let (min, small_mins) = shared(fits.map(|(_, min)| min), 63.0);
    head[..2].copy_from_slice(&scale);
    head[2..4].copy_from_slice(&min);
    let packed = &mut head[4..];
    for group in 0..4 {
        packed[group] = small_scales[group] | small_scales[group + 4] >> 4 << 6;
        packed[group + 4] = small_mins[group] | small_mins[group + 4] >> 4 << 6;
        packed[group + 8] = small_scales[group + 4] & 0x0f | (small_mins[group + 4] & 0x0f) << 4;
    }
}

/// The codes, `least` to `most`, that come nearest to the weights with what `block` stores.
fn codes(format: Format, block: &[u8], weights: &Weights, least: i8, most: i8) -> Codes {
    let mut unused = [0; K_BLOCK_LEN];
    let mut scales = [0.0; MAX_GROUPS];
    let mut offsets = [0.0; MAX_GROUPS];
    let n_groups = groups_per_block(format);
    let (scales, offsets) = (&mut scales[..n_groups], &mut offsets[..n_groups]);
    unpack(format, block, &mut unused, scales, offsets);
    let mut codes = [0; K_BLOCK_LEN];
    let group_len = group_len(format);
    let zero = zero_point(format);
    for (i, (code, weight)) in codes.iter_mut().zip(weights).enumerate() {
        let (scale, offset) = (scales[i / group_len], offsets[i / group_len]);
        let exact = (weight - offset) * inverse(scale);
        let nearest = if scale == 0.0 {
            zero
        } else {
            exact.round() as i8
        };
        *code = nearest.clamp(least, most).cast_unsigned();
    }
    codes
}

/// The low two bits of each code, four runs to a run of bytes.
fn two_bits(codes: &Codes, bytes: &mut [u8]) {
    for (run, codes) in codes.chunks_exact(RUN).enumerate() {
        let bytes = &mut bytes[run / 4 * RUN..][..RUN];
        for (byte, code) in bytes.iter_mut().zip(codes) {
            *byte |= (code & 3) << (2 * (run % 4));
        }
    }
}

/// Bit `bit` of each code, eight runs to a run of bytes.
fn one_bit(codes: &Codes, bit: u32, bytes: &mut [u8]) {
    for (run, codes) in codes.chunks_exact(RUN).enumerate() {
        for (byte, code) in bytes.iter_mut().zip(codes) {
            *byte |= (code >> bit & 1) << run;
        }
    }
}

/// The low nibble of each code, two runs to a run of bytes.
fn nibble_runs(codes: &Codes, bytes: &mut [u8]) {
    for (codes, bytes) in codes.chunks_exact(2 * RUN).zip(bytes.chunks_exact_mut(RUN)) {
        let (low, high) = codes.split_at(RUN);
        for (byte, (low, high)) in bytes.iter_mut().zip(low.iter().zip(high)) {
            *byte = low & 0x0f | (high & 0x0f) << 4;
        }
    }
}
