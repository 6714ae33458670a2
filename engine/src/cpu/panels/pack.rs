//! Rows of a file's blocks and floats written into their lanes of a panel.

use super::{FloatKind, GroupLayout};
use crate::cpu::kernels::{NIBBLE, PANEL_ROWS, SEVEN, VECTOR_BYTES, WIDE, record_bytes};
use crate::quant::groups::{MAX_BLOCK_LEN, MAX_GROUPS, unpack};
use crate::quant::{Format, Q4_0_BLOCK_BYTES, Q8_0_BLOCK_BYTES};
use half::f16;

/// bytes; of a record of Q4_0: scales, then eight columns a vector.
const Q4_0_RECORD_BYTES: usize = record_bytes(NIBBLE, 32, false);

/// bytes; of a record of Q8_0: scales, then four columns a vector.
const Q8_0_RECORD_BYTES: usize = record_bytes(WIDE, 32, false);

/// The low half of every byte.
const LOW: u32 = 0x0f0f_0f0f;

/// Writes blocks of one row into lane `lane` of as many records or more; whether one of the codes
/// is -128 and the layout [`WIDE`].
pub(super) fn blocks(
    format: Format,
    layout: GroupLayout,
    lane: usize,
    blocks: &[u8],
    records: &mut [u8],
) -> bool {
    match format {
        Format::Q4_0 => {
            q4_0(lane, blocks, records);
            false
        }
        Format::Q8_0 => q8_0(lane, blocks, records),
        Format::F32
        | Format::F16
        | Format::BF16
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::Q2_K
        | Format::Q3_K
        | Format::Q4_K
        | Format::Q5_K
        | Format::Q6_K
        | Format::IQ4_NL => any(format, layout, lane, blocks, records),
    }
}

/// Writes weights of one row, of which the first goes to the front of `panel`.
pub(super) fn floats(kind: FloatKind, weights: &[u8], panel: &mut [u8]) {
    match kind {
        FloatKind::F32 => spread::<4>(weights, panel),
        FloatKind::F16 | FloatKind::Bf16 => spread::<2>(weights, panel),
    }
}

fn spread<const BYTES: usize>(weights: &[u8], panel: &mut [u8]) {
    let places = panel.chunks_mut(PANEL_ROWS * BYTES);
    for (place, weight) in places.zip(weights.as_chunks::<BYTES>().0) {
        place[..BYTES].copy_from_slice(weight);
    }
}

/// Four codes at a time: they lie in the file as they lie in a panel.
fn q4_0(lane: usize, blocks: &[u8], records: &mut [u8]) {
    let records = records.as_chunks_mut::<Q4_0_RECORD_BYTES>().0;
    let blocks = blocks.as_chunks::<Q4_0_BLOCK_BYTES>().0;
    for (record, block) in records.iter_mut().zip(blocks) {
        let vectors = record.as_chunks_mut::<VECTOR_BYTES>().0;
        let (half, codes) = block.split_at(2);
        let scale = scale_of(half);
        put(&mut vectors[0], lane, scale.to_bits());
        for (pair, codes) in codes.as_chunks::<8>().0.iter().enumerate() {
            let [a, b, c, d, e, f, g, h] = *codes;
            let (first, second) = (
                u32::from_le_bytes([a, b, c, d]),
                u32::from_le_bytes([e, f, g, h]),
            );
            put(
                &mut vectors[1 + pair],
                lane,
                first & LOW | (second & LOW) << 4,
            );
            put(
                &mut vectors[3 + pair],
                lane,
                first >> 4 & LOW | second & !LOW,
            );
        }
    }
}

/// As [`blocks`].
fn q8_0(lane: usize, blocks: &[u8], records: &mut [u8]) -> bool {
    let records = records.as_chunks_mut::<Q8_0_RECORD_BYTES>().0;
    let blocks = blocks.as_chunks::<Q8_0_BLOCK_BYTES>().0;
    let mut has_lowest_code = false;
    for (record, block) in records.iter_mut().zip(blocks) {
        let vectors = record.as_chunks_mut::<VECTOR_BYTES>().0;
        let (half, codes) = block.split_at(2);
        put(&mut vectors[0], lane, scale_of(half).to_bits());
        for (vector, codes) in vectors[1..].iter_mut().zip(codes.as_chunks::<4>().0) {
            put(vector, lane, u32::from_le_bytes(*codes));
        }
        // Not `contains`, which stops at the first and looks at them one by one.
        let lowest = |found, code: &u8| found | (code.cast_signed() == i8::MIN);
        has_lowest_code |= codes.iter().fold(false, lowest);
    }
    has_lowest_code
}

fn scale_of(half: &[u8]) -> f32 {
    f16::from_le_bytes([half[0], half[1]]).to_f32()
}

fn put(vector: &mut [u8; VECTOR_BYTES], lane: usize, word: u32) {
    vector.as_chunks_mut::<4>().0[lane] = word.to_le_bytes();
}

/// As [`blocks`], of every quantised format.
fn any(
    format: Format,
    layout: GroupLayout,
    lane: usize,
    blocks: &[u8],
    records: &mut [u8],
) -> bool {
    let mut codes = [0; MAX_BLOCK_LEN];
    let mut scales = [0.0; MAX_GROUPS];
    let mut offsets = [0.0; MAX_GROUPS];
    let codes = &mut codes[..format.block_len()];
    let n_groups = format.block_len() / layout.group_len;
    let (scales, offsets) = (&mut scales[..n_groups], &mut offsets[..n_groups]);
    let mut has_lowest_code = false;
    let record_bytes = record_bytes(layout.codes, layout.group_len, layout.offsets);
    let records = records.chunks_exact_mut(n_groups * record_bytes);
    for (records, block) in records.zip(blocks.chunks_exact(format.block_bytes())) {
        unpack(format, block, codes, scales, offsets);
        has_lowest_code |= layout.codes == WIDE && codes.contains(&i8::MIN);
        let groups = codes
            .chunks_exact(layout.group_len)
            .zip(&*scales)
            .zip(&*offsets);
        for (((codes, scale), offset), record) in groups.zip(records.chunks_exact_mut(record_bytes))
        {
            let offset = layout.offsets.then_some(*offset);
            group(layout, record, lane, codes, *scale, offset);
        }
    }
    has_lowest_code
}

/// Writes one group of one row.
pub(super) fn group(
    layout: GroupLayout,
    record: &mut [u8],
    lane: usize,
    codes: &[i8], // (group_len)
    scale: f32,
    offset: Option<f32>,
) {
    let shifted = |code: i8| code.wrapping_add(layout.code_shift).cast_unsigned();
    record[lane * 4..][..4].copy_from_slice(&scale.to_le_bytes());
    if let Some(offset) = offset {
        record[VECTOR_BYTES + lane * 4..][..4].copy_from_slice(&offset.to_le_bytes());
    }
    let stored = &mut record[VECTOR_BYTES * (1 + usize::from(layout.offsets))..];
    let quads = stored
        .chunks_exact_mut(VECTOR_BYTES)
        .map(|vector| &mut vector[lane * 4..][..4]);
    match layout.codes {
        NIBBLE => {
            for (quad, codes) in quads.zip(codes.as_chunks::<8>().0) {
                for col in 0..4 {
                    quad[col] = shifted(codes[col]) & 0x0f | shifted(codes[col + 4]) << 4;
                }
            }
        }
        SEVEN => {
            for (quad, codes) in quads.zip(codes.as_chunks::<4>().0) {
                for col in 0..4 {
                    quad[col] = shifted(codes[col]) & 0x7f;
                }
            }
        }
        _ => {
            for (quad, codes) in quads.zip(codes.as_chunks::<4>().0) {
                quad.copy_from_slice(&codes.map(i8::cast_unsigned));
            }
        }
    }
}
