//! The first byte names a format and whether its blocks, the other bytes, are stored again.
//!
//! Where dequantised weights are finite, groups say the same, and what is stored again is finite
//! too.

use thrum_engine::quant::groups::{
    CodeKind, code_kind, group_len, groups_per_block, unpack, zero_point,
};
use thrum_engine::quant::{Format, dequantize, quantize};

/// Takes `data` apart; true when a block of it was stored again.
pub fn run(data: &[u8]) -> bool {
    let Some((first, bytes)) = data.split_first() else {
        return false;
    };
    let mut stored = false;
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    for block in bytes.chunks_exact(format.block_bytes()) {
        let mut weights = vec![0.0; format.block_len()];
        dequantize(format, block, &mut weights);
        if !weights.iter().all(|weight| weight.is_finite()) {
            continue;
        }
        if format.is_quantised() {
            check_groups(format, block, &weights);
        }
        // Storing takes a hundred times as long as reading.
        if *first < 128 {
            continue;
        }
        let mut back = vec![0.0; weights.len()];
        dequantize(format, &quantize(format, &weights), &mut back);
        assert!(back.iter().all(|weight| weight.is_finite()), "{format:?}");
        stored = true;
    }
    stored
}

fn check_groups(format: Format, block: &[u8], weights: &[f32]) {
    let mut codes = vec![0; format.block_len()];
    let mut scales = vec![0.0; groups_per_block(format)];
    let mut offsets = scales.clone();
    unpack(format, block, &mut codes, &mut scales, &mut offsets);
    for (i, (weight, code)) in weights.iter().zip(&codes).enumerate() {
        let (scale, offset) = (
            scales[i / group_len(format)],
            offsets[i / group_len(format)],
        );
        assert_eq!(scale * f32::from(*code) + offset, *weight, "{format:?}");
        if code_kind(format) == CodeKind::Nibble {
            assert!((0..16).contains(code), "{format:?}");
        }
        assert!(zero_point(format) == 0 || offset == -f32::from(zero_point(format)) * scale);
    }
}
