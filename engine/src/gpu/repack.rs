//! Turns GGUF blocks into what [`Layout`] says: codes in one buffer, scales in another.
//!
//! GGUF blocks are 18 to 210 bytes, so that most of their words straddle what a shader can address.
//! Taken apart, every code is in an aligned vector; no value changes.

use half::f16;

use crate::gpu::layout::{BLOCK_COLS, Coded, Layout, Scales};
use crate::quant::groups::{self, MAX_BLOCK_LEN, MAX_GROUPS};
use crate::quant::{Format, half_at};

/// bytes; WebGPU writes whole words.
const WORD_BYTES: usize = 4;

/// The bytes of whole blocks, split for the GPU; each part is a whole number of words.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Parts {
    /// Floats or codes, in the order of the blocks.
    pub(super) codes: Vec<u8>,
    /// What each group has of its own, in the order of the groups; empty for floats.
    pub(super) groups: Vec<u8>,
    /// What 256 columns share, in their order; empty but for [`Scales::Super`].
    pub(super) supers: Vec<u8>,
}

/// Splits `blocks`, whole blocks of `format`, reusing what `parts` has allocated.
pub(super) fn split(format: Format, blocks: &[u8], parts: &mut Parts) {
    parts.codes.clear();
    parts.groups.clear();
    parts.supers.clear();
    match Layout::of(format) {
        Layout::Float | Layout::Half { .. } => parts.codes.extend_from_slice(blocks),
        Layout::Codes(coded) => {
            for block in blocks.chunks_exact(format.block_bytes()) {
                split_block(format, coded, block, parts);
            }
        }
    }
    for part in [&mut parts.codes, &mut parts.groups] {
        part.resize(part.len().next_multiple_of(WORD_BYTES), 0);
    }
}

fn split_block(format: Format, coded: Coded, block: &[u8], parts: &mut Parts) {
    let count = groups::groups_per_block(format);
    let mut codes = [0_i8; MAX_BLOCK_LEN];
    let mut scales = [0.0_f32; MAX_GROUPS];
    let mut offsets = [0.0_f32; MAX_GROUPS];
    let codes = &mut codes[..format.block_len()];
    let (scales, offsets) = (&mut scales[..count], &mut offsets[..count]);
    groups::unpack(format, block, codes, scales, offsets);
    for codes in codes.chunks_exact(BLOCK_COLS) {
        if coded.in_bytes {
            parts
                .codes
                .extend(codes.iter().map(|code| code.cast_unsigned()));
        } else {
            let (low, high) = codes.split_at(BLOCK_COLS / 2);
            let bytes = low.iter().zip(high);
            parts
                .codes
                .extend(bytes.map(|(low, high)| low.cast_unsigned() | high.cast_unsigned() << 4));
        }
    }
    match coded.scales {
        // These formats store what comes back here: f16.
        Scales::Half => {
            let halves = scales.iter().map(|scale| f16::from_f32(*scale));
            parts.groups.extend(halves.flat_map(f16::to_le_bytes));
        }
        Scales::HalfPair => {
            for pair in scales.iter().zip(offsets) {
                parts.groups.extend(f16::from_f32(*pair.0).to_le_bytes());
                parts.groups.extend(f16::from_f32(*pair.1).to_le_bytes());
            }
        }
        Scales::Super => {
            let [scale, min] = shared(format, block);
            for (own, offset) in scales.iter().zip(offsets) {
                let min_byte = if coded.has_offset {
                    *offset / -min
                } else {
                    0.0
                };
                // Small whole numbers times the shared float, so that the quotients are whole; what
                // is not a number (of a shared 0) becomes 0, as it was.
                let bytes = [(*own / scale) as i8 as u8, min_byte as u8];
                parts.groups.extend(bytes);
            }
            parts.supers.extend(scale.to_le_bytes());
            parts.supers.extend((-min).to_le_bytes());
        }
    }
}

/// The scale and the minimum that all groups of a block share; no minimum is 0.
fn shared(format: Format, block: &[u8]) -> [f32; 2] {
    match format {
        Format::Q2_K => [
            half_at(block, block.len() - 4),
            half_at(block, block.len() - 2),
        ],
        Format::Q3_K | Format::Q6_K => [half_at(block, block.len() - 2), 0.0],
        Format::Q4_K | Format::Q5_K => [half_at(block, 0), half_at(block, 2)],
        Format::F32
        | Format::F16
        | Format::BF16
        | Format::Q8_0
        | Format::Q4_0
        | Format::Q4_1
        | Format::Q5_0
        | Format::Q5_1
        | Format::IQ4_NL => [0.0; 2],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quant::dequantize;

    const FORMATS: [Format; 11] = [
        Format::Q8_0,
        Format::Q4_0,
        Format::Q4_1,
        Format::Q5_0,
        Format::Q5_1,
        Format::Q2_K,
        Format::Q3_K,
        Format::Q4_K,
        Format::Q5_K,
        Format::Q6_K,
        Format::IQ4_NL,
    ];

    /// What the kernels make of `parts`, in their words.
    fn read(coded: Coded, parts: &Parts, weights: usize) -> Vec<f32> {
        let half = |at: usize| half_at(&parts.groups, at);
        let float = |at: usize| {
            let bytes = parts.supers[at..at + 4].try_into().expect("four bytes");
            f32::from_le_bytes(bytes)
        };
        (0..weights)
            .map(|i| {
                let (block, column) = (i / BLOCK_COLS, i % BLOCK_COLS);
                let code = if coded.in_bytes {
                    f32::from(parts.codes[i].cast_signed())
                } else {
                    let byte = parts.codes[block * 16 + column % 16];
                    f32::from(byte >> (4 * (column / 16)) & 15)
                };
                let group = i / coded.group;
                let (scale, offset) = match coded.scales {
                    Scales::Half => (half(2 * group), 0.0),
                    Scales::HalfPair => (half(4 * group), half(4 * group + 2)),
                    Scales::Super => {
                        let at = 8 * (i / 256);
                        let own = parts.groups[2 * group].cast_signed();
                        let min = parts.groups[2 * group + 1];
                        (float(at) * f32::from(own), float(at + 4) * f32::from(min))
                    }
                };
                scale * (code - f32::from(coded.zero)) + offset
            })
            .collect()
    }

    proptest! {
        #[test]
        fn every_weight_keeps_its_value(seed in any::<u64>(), blocks in 1_usize..5) {
            let mut noise = crate::gpu::test_device::Noise(seed);
            for format in FORMATS {
                let Layout::Codes(coded) = Layout::of(format) else {
                    panic!("{format:?} has codes");
                };
                let bytes = crate::gpu::test_device::blocks(&mut noise, format, blocks);
                let weights = blocks * format.block_len();
                let mut parts = Parts::default();
                split(format, &bytes, &mut parts);
                let layout = Layout::of(format);
                let word = |bytes: u64| bytes.next_multiple_of(4) as usize;
                prop_assert_eq!(parts.codes.len(), word(layout.code_bytes(weights as u64)));
                prop_assert_eq!(parts.groups.len(), word(layout.group_bytes(weights as u64)));
                prop_assert_eq!(parts.supers.len() as u64, layout.super_bytes(weights as u64));
                let mut want = vec![0.0; weights];
                dequantize(format, &bytes, &mut want);
                // As numbers: the sign of a zero may differ.
                prop_assert_eq!(read(coded, &parts, weights), want, "{:?}", format);
            }
        }
    }
}
