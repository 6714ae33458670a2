//! The formats of 256 weights a block: groups whose small scales share one or two f16.
//!
//! Weights lie in runs of 32 that share bytes: byte `l` of a run of bytes holds bits of weight `l`
//! of two or four runs of weights.

use super::{Parts, half_at};
use crate::quant::{
    K_BLOCK_LEN, K_SCALES_BYTES, Q2_K_BLOCK_BYTES, Q3_K_BLOCK_BYTES, Q4_K_BLOCK_BYTES,
    Q5_K_BLOCK_BYTES, Q6_K_BLOCK_BYTES,
};

/// weights (and bytes) in a run.
const RUN: usize = 32;

/// groups of 16 weights.
const SMALL_GROUPS: usize = K_BLOCK_LEN / 16;

/// groups of 32 weights.
const LARGE_GROUPS: usize = K_BLOCK_LEN / 32;

pub(in crate::quant) fn q2_k(block: &[u8; Q2_K_BLOCK_BYTES], parts: Parts<'_>) {
    let (pairs, rest) = block.split_at(SMALL_GROUPS);
    let (bits, halves) = rest.split_at(K_BLOCK_LEN / 4);
    let (scale, min) = (half_at(halves, 0), half_at(halves, 2));
    for (group, pair) in pairs.iter().enumerate() {
        parts.scales[group] = scale * f32::from(pair & 0x0f);
        parts.offsets[group] = -(min * f32::from(pair >> 4));
    }
    two_bits(bits, parts.codes);
}

pub(in crate::quant) fn q3_k(block: &[u8; Q3_K_BLOCK_BYTES], parts: Parts<'_>) {
    let (high_bits, rest) = block.split_at(K_BLOCK_LEN / 8);
    let (bits, rest) = rest.split_at(K_BLOCK_LEN / 4);
    let (packed, half) = rest.split_at(K_SCALES_BYTES);
    let scale = half_at(half, 0);
    for (group, out) in parts.scales.iter_mut().enumerate() {
        *out = scale * f32::from(q3_k_scale(packed, group));
    }
    two_bits(bits, parts.codes);
    for (run, codes) in parts.codes.chunks_exact_mut(RUN).enumerate() {
        for (code, byte) in codes.iter_mut().zip(high_bits) {
            *code |= (byte >> run & 1).cast_signed() << 2;
        }
    }
}

pub(in crate::quant) fn q4_k(block: &[u8; Q4_K_BLOCK_BYTES], parts: Parts<'_>) {
    let (head, nibbles) = block.split_at(4 + K_SCALES_BYTES);
    scales_and_mins(head, parts.scales, parts.offsets);
    nibble_runs(nibbles, parts.codes);
}

pub(in crate::quant) fn q5_k(block: &[u8; Q5_K_BLOCK_BYTES], parts: Parts<'_>) {
    let (head, rest) = block.split_at(4 + K_SCALES_BYTES);
    let (fifth_bits, nibbles) = rest.split_at(K_BLOCK_LEN / 8);
    scales_and_mins(head, parts.scales, parts.offsets);
    nibble_runs(nibbles, parts.codes);
    for (run, codes) in parts.codes.chunks_exact_mut(RUN).enumerate() {
        for (code, byte) in codes.iter_mut().zip(fifth_bits) {
            *code |= (byte >> run & 1).cast_signed() << 4;
        }
    }
}

pub(in crate::quant) fn q6_k(block: &[u8; Q6_K_BLOCK_BYTES], parts: Parts<'_>) {
    let (low, rest) = block.split_at(K_BLOCK_LEN / 2);
    let (high, rest) = rest.split_at(K_BLOCK_LEN / 4);
    let (signed, half) = rest.split_at(SMALL_GROUPS);
    let scale = half_at(half, 0);
    for (out, byte) in parts.scales.iter_mut().zip(signed) {
        *out = scale * f32::from(byte.cast_signed());
    }
    // Each half of the block: two runs of low nibbles, two of high ones, bit pairs for all four.
    for (run, codes) in parts.codes.chunks_exact_mut(RUN).enumerate() {
        let (half, quarter) = (run / 4, run % 4);
        let low = &low[(2 * half + quarter % 2) * RUN..][..RUN];
        let high = &high[half * RUN..][..RUN];
        for ((code, low), high) in codes.iter_mut().zip(low).zip(high) {
            let nibble = low >> (4 * (quarter / 2)) & 0x0f;
            let pair = high >> (2 * quarter) & 3;
            *code = (nibble | pair << 4).cast_signed() - 32;
        }
    }
}

/// Two runs of 32 bytes; each holds four runs of weights, two bits each, lowest first.
fn two_bits(bits: &[u8], codes: &mut [i8]) {
    for (run, codes) in codes.chunks_exact_mut(RUN).enumerate() {
        let bytes = &bits[run / 4 * RUN..][..RUN];
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code = (byte >> (2 * (run % 4)) & 3).cast_signed();
        }
    }
}

/// Four runs of 32 bytes; each holds two runs of weights, low nibbles first.
fn nibble_runs(bytes: &[u8], codes: &mut [i8]) {
    for (bytes, codes) in bytes.chunks_exact(RUN).zip(codes.chunks_exact_mut(2 * RUN)) {
        let (low, high) = codes.split_at_mut(RUN);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
            *low = (byte & 0x0f).cast_signed();
            *high = (byte >> 4).cast_signed();
        }
    }
}

/// The 6-bit scale of one of 16 groups, -32 to 31: eight bytes of low nibbles (of groups 0 to 7,
/// then 8 to 15), four of bit pairs.
fn q3_k_scale(packed: &[u8], group: usize) -> i8 {
    let low = packed[group % 8] >> (4 * (group / 8)) & 0x0f;
    let high = packed[8 + group % 4] >> (2 * (group / 4)) & 3;
    (low | high << 4).cast_signed() - 32
}

/// `head`: `d` and `dmin` f16, then 8 pairs of 6 bits: bytes 0 to 3 have the scales of groups 0 to
/// 3, bytes 4 to 7 their minima, bytes 8 to 11 the low nibbles of both for groups 4 to 7, whose
/// upper bit pairs are on top of bytes 0 to 7.
fn scales_and_mins(head: &[u8], scales: &mut [f32], offsets: &mut [f32]) {
    let (scale, min) = (half_at(head, 0), half_at(head, 2));
    let packed = &head[4..];
    for group in 0..LARGE_GROUPS {
        let (small_scale, small_min) = if group < 4 {
            (packed[group] & 0x3f, packed[group + 4] & 0x3f)
        } else {
            let both = packed[group + 4];
            (
                both & 0x0f | packed[group - 4] >> 6 << 4,
                both >> 4 | packed[group] >> 6 << 4,
            )
        };
        scales[group] = scale * f32::from(small_scale);
        offsets[group] = -(min * f32::from(small_min));
    }
}
