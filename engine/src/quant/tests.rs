//! Formats against Python's `gguf` package, and against what their definitions say.

use super::*;

/// Made by `tests/vectors/make_quant.py`: for each format its type id, the number of weights, the
/// weights in f32, the stored bytes, and the bytes dequantised to f32.
const GOLDEN: &[u8] = include_bytes!("../../tests/vectors/quant.bin");

struct Golden {
    format: Format,
    weights: Vec<f32>,
    stored: Vec<u8>,
    dequantized: Vec<f32>,
}

fn golden() -> Vec<Golden> {
    let mut rest = GOLDEN;
    let mut take = |n: usize| {
        let (taken, after) = rest.split_at(n);
        rest = after;
        taken
    };
    let mut all = Vec::new();
    for _ in 0..4 {
        let type_id = u32::from_le_bytes(take(4).try_into().expect("four bytes"));
        let n = u32::from_le_bytes(take(4).try_into().expect("four bytes")) as usize;
        let format = Format::from_type_id(type_id).expect("a known format");
        let weights = floats(take(4 * n));
        let stored = take(format.row_bytes(n)).to_vec();
        all.push(Golden {
            format,
            weights,
            stored,
            dequantized: floats(take(4 * n)),
        });
    }
    all
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|raw| f32::from_le_bytes(*raw))
        .collect()
}

#[test]
fn dequantises_as_pythons_gguf_does() {
    for Golden {
        format,
        stored,
        dequantized,
        ..
    } in golden()
    {
        let mut found = vec![0.0; dequantized.len()];
        dequantize(format, &stored, &mut found);
        assert_eq!(found, dequantized, "{format:?}");
    }
}

#[test]
fn quantises_as_pythons_gguf_does() {
    for Golden {
        format,
        weights,
        stored,
        ..
    } in golden()
    {
        assert_eq!(quantize(format, &weights), stored, "{format:?}");
    }
}

#[test]
fn every_byte_means_what_the_format_says() {
    // 0x3800 is 0.5 in f16.
    let q8_0: Vec<u8> = [0x00, 0x38]
        .into_iter()
        .chain((0..32).map(|i| 8 * i as u8))
        .collect();
    let mut found = [0.0; 32];
    dequantize(Format::Q8_0, &q8_0, &mut found);
    for (i, weight) in found.into_iter().enumerate() {
        assert_eq!(weight, 0.5 * f32::from((8 * i as u8).cast_signed()));
    }
    let q4_0: Vec<u8> = [0x00, 0x38]
        .into_iter()
        .chain((0..16).map(|i| i | (15 - i) << 4))
        .collect();
    dequantize(Format::Q4_0, &q4_0, &mut found);
    for i in 0..16 {
        assert_eq!(found[i], 0.5 * (i as f32 - 8.0));
        assert_eq!(found[16 + i], 0.5 * (7.0 - i as f32));
    }
}

#[test]
fn numbers_and_names_agree() {
    for format in [Format::F32, Format::F16, Format::Q4_0, Format::Q8_0] {
        assert_eq!(Format::from_type_id(format.type_id()), Some(format));
        assert_eq!(foreign_type_name(format.type_id()), None);
    }
    assert_eq!(Format::from_type_id(14), None);
    assert_eq!(foreign_type_name(14), Some("Q6_K"));
}
