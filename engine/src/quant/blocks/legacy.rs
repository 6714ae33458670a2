//! The formats of 32 weights a block: one scale, at most one offset.

use super::{Parts, half_at};
use crate::quant::{
    Q4_0_BLOCK_BYTES, Q4_1_BLOCK_BYTES, Q5_0_BLOCK_BYTES, Q5_1_BLOCK_BYTES, Q8_0_BLOCK_BYTES,
    QUANT_BLOCK_LEN,
};

/// What the 16 nibbles of IQ4_NL stand for, in units of the scale (llama.cpp `kvalues_iq4nl`).
pub(in crate::quant) const IQ4_NL_LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

pub(in crate::quant) fn q8_0(block: &[u8; Q8_0_BLOCK_BYTES], parts: Parts<'_>) {
    parts.scales[0] = half_at(block, 0);
    for (code, byte) in parts.codes.iter_mut().zip(&block[2..]) {
        *code = byte.cast_signed();
    }
}

pub(in crate::quant) fn q4_0(block: &[u8; Q4_0_BLOCK_BYTES], parts: Parts<'_>) {
    parts.scales[0] = half_at(block, 0);
    nibbles(&block[2..], parts.codes);
}

pub(in crate::quant) fn q4_1(block: &[u8; Q4_1_BLOCK_BYTES], parts: Parts<'_>) {
    parts.scales[0] = half_at(block, 0);
    parts.offsets[0] = half_at(block, 2);
    nibbles(&block[4..], parts.codes);
}

pub(in crate::quant) fn q5_0(block: &[u8; Q5_0_BLOCK_BYTES], parts: Parts<'_>) {
    parts.scales[0] = half_at(block, 0);
    nibbles(&block[6..], parts.codes);
    fifth_bits(&block[2..6], parts.codes);
    for code in parts.codes {
        *code -= 16;
    }
}

pub(in crate::quant) fn q5_1(block: &[u8; Q5_1_BLOCK_BYTES], parts: Parts<'_>) {
    parts.scales[0] = half_at(block, 0);
    parts.offsets[0] = half_at(block, 2);
    nibbles(&block[8..], parts.codes);
    fifth_bits(&block[4..8], parts.codes);
}

pub(in crate::quant) fn iq4_nl(block: &[u8; Q4_0_BLOCK_BYTES], parts: Parts<'_>) {
    parts.scales[0] = half_at(block, 0);
    nibbles(&block[2..], parts.codes);
    for code in parts.codes {
        *code = IQ4_NL_LEVELS[(*code & 0x0f) as usize];
    }
}

/// The low nibbles of all bytes, then the high ones.
fn nibbles(bytes: &[u8], codes: &mut [i8]) {
    let (low, high) = codes.split_at_mut(QUANT_BLOCK_LEN / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        *low = (byte & 0x0f).cast_signed();
        *high = (byte >> 4).cast_signed();
    }
}

/// Bit `i` of the little-endian word becomes bit 4 of code `i`.
fn fifth_bits(bytes: &[u8], codes: &mut [i8]) {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= (bytes[i / 8] >> (i % 8) & 1).cast_signed() << 4;
    }
}
