//! Formats against Python's `gguf` package, and against what their definitions say.

use super::finite::half_offsets;
use super::groups::zero_point;
use super::groups::{CodeKind, code_kind, group_len, groups_per_block, has_offset, unpack};
use super::*;
use crate::synthetic::Random;

/// Made by `tests/vectors/make_quant.py`, which says what is in it.
const GOLDEN: &[u8] = include_bytes!("../../tests/vectors/quant.bin");

/// Weights in the golden file that are to be stored.
const STORED_WEIGHTS: usize = 512;

/// The formats that Python's package quantises.
const QUANTISED_BY_GGUF: [Format; 8] = [
    Format::F32,
    Format::F16,
    Format::BF16,
    Format::Q8_0,
    Format::Q4_0,
    Format::Q4_1,
    Format::Q5_0,
    Format::Q5_1,
];

struct Golden {
    formats: Vec<GoldenFormat>,
    weights: Vec<f32>,
    stored: Vec<&'static [u8]>,
}

struct GoldenFormat {
    format: Format,
    blocks: &'static [u8],
    weights: Vec<f32>,
    n_further: usize,
    further_fnv: u64,
}

struct Bytes(&'static [u8]);

impl Bytes {
    fn take(&mut self, n_bytes: usize) -> &'static [u8] {
        let (taken, rest) = self.0.split_at(n_bytes);
        self.0 = rest;
        taken
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }
}

fn golden() -> Golden {
    let mut rest = Bytes(GOLDEN);
    let formats = Format::ALL
        .into_iter()
        .map(|format| {
            assert_eq!(rest.number(), format.type_id());
            let n_blocks = rest.number() as usize;
            GoldenFormat {
                format,
                blocks: rest.take(n_blocks * format.block_bytes()),
                weights: floats(rest.take(4 * n_blocks * format.block_len())),
                n_further: rest.number() as usize,
                further_fnv: u64::from(rest.number()) | u64::from(rest.number()) << 32,
            }
        })
        .collect();
    let weights = floats(rest.take(4 * STORED_WEIGHTS));
    let stored = QUANTISED_BY_GGUF
        .map(|format| rest.take(format.row_bytes(STORED_WEIGHTS)))
        .to_vec();
    assert!(rest.0.is_empty());
    Golden {
        formats,
        weights,
        stored,
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|raw| f32::from_le_bytes(*raw))
        .collect()
}

fn bits(weights: &[f32]) -> Vec<u32> {
    weights.iter().map(|weight| weight.to_bits()).collect()
}

/// Blocks of random bits whose weights are all finite, as `make_quant.py` makes them.
fn random_blocks(format: Format, seed: u64, n_blocks: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut bytes: Vec<u8> = (0..n_blocks * format.block_bytes())
        .map(|_| random.bits() as u8)
        .collect();
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        for at in half_offsets(format) {
            if block[at + 1] & 0x7c == 0x7c {
                block[at + 1] ^= 0x40;
            }
        }
        if matches!(format, Format::F32 | Format::BF16) {
            let [.., low, high] = block else {
                panic!("two bytes or more")
            };
            if *high & 0x7f == 0x7f && *low & 0x80 != 0 {
                *high ^= 0x40;
            }
        }
    }
    bytes
}

#[test]
fn dequantises_as_pythons_gguf_does() {
    for golden in golden().formats {
        let mut found = vec![0.0; golden.weights.len()];
        dequantize(golden.format, golden.blocks, &mut found);
        for (i, (found, expected)) in found.iter().zip(&golden.weights).enumerate() {
            let format = golden.format;
            assert_eq!(
                found.to_bits(),
                expected.to_bits(),
                "{format:?}: weight {i} is {found}, not {expected}"
            );
        }
    }
}

#[test]
fn dequantises_random_blocks_as_pythons_gguf_does() {
    for golden in golden().formats {
        let format = golden.format;
        let seed = u64::from(format.type_id()) + 1;
        let blocks = random_blocks(format, seed, golden.n_further);
        let mut found = vec![0.0; golden.n_further * format.block_len()];
        dequantize(format, &blocks, &mut found);
        let fnv = bits(&found)
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |state, word| {
                (state ^ u64::from(*word)).wrapping_mul(0x0100_0000_01b3)
            });
        assert_eq!(fnv, golden.further_fnv, "{format:?}");
    }
}

#[test]
fn quantises_as_pythons_gguf_does() {
    let Golden {
        weights, stored, ..
    } = golden();
    for (format, stored) in QUANTISED_BY_GGUF.into_iter().zip(stored) {
        assert_eq!(quantize(format, &weights), stored, "{format:?}");
    }
}

/// Root mean square of what storing the weights of [`soft_weights`] loses, over that of the
/// weights, as llama.cpp's own quantiser does (`ggml_quantize_chunk` of ggml 0.5.0 and the package's
/// `dequantize`, measured 2026-11-21).
const LOSS_OF_LLAMA_CPP: [(Format, f64); 13] = [
    (Format::F16, 0.000_208),
    (Format::BF16, 0.001_658),
    (Format::Q8_0, 0.005_085),
    (Format::Q4_0, 0.081_951),
    (Format::Q4_1, 0.075_625),
    (Format::Q5_0, 0.040_721),
    (Format::Q5_1, 0.036_798),
    (Format::Q2_K, 0.287_501),
    (Format::Q3_K, 0.146_170),
    (Format::Q4_K, 0.068_864),
    (Format::Q5_K, 0.035_172),
    (Format::Q6_K, 0.017_029),
    (Format::IQ4_NL, 0.073_919),
];

/// Sums of four random numbers: most are small, as in a trained matrix.
fn soft_weights() -> Vec<f32> {
    let mut random = Random(99);
    (0..64 * K_BLOCK_LEN)
        .map(|_| (0..4).map(|_| random.symmetric()).sum())
        .collect()
}

fn loss(format: Format, weights: &[f32]) -> f64 {
    let mut back = vec![0.0; weights.len()];
    dequantize(format, &quantize(format, weights), &mut back);
    let square = |x: f64| x * x;
    let lost: f64 = back
        .iter()
        .zip(weights)
        .map(|(back, weight)| square(f64::from(*back) - f64::from(*weight)))
        .sum();
    let all: f64 = weights.iter().map(|weight| square((*weight).into())).sum();
    (lost / all).sqrt()
}

#[test]
fn storing_loses_hardly_more_than_with_llama_cpp() {
    let weights = soft_weights();
    assert_eq!(loss(Format::F32, &weights), 0.0);
    for (format, theirs) in LOSS_OF_LLAMA_CPP {
        let ours = loss(format, &weights);
        assert!(ours < 1.02 * theirs, "{format:?} loses {ours}");
    }
}

#[test]
fn weights_of_every_size_are_stored_as_finite_ones() {
    let rows: [fn(usize) -> f32; 7] = [
        |_| 0.0,
        |_| -3.5,
        |_| 1.0e-30,
        |i| if i % 2 == 0 { 3.0e38 } else { -3.0e38 },
        |i| if i == 100 { 6.0e4 } else { 1.0e-9 },
        |i| -(i as f32),
        |i| i as f32 * f32::MIN_POSITIVE,
    ];
    for format in Format::ALL {
        for row in rows {
            // What is no number in f16 cannot be stored in it.
            let most = if format == Format::F16 {
                6.0e4
            } else {
                f32::MAX / 2.0
            };
            let weights: Vec<f32> = (0..K_BLOCK_LEN)
                .map(|i| row(i).clamp(-most, most))
                .collect();
            let stored = quantize(format, &weights);
            let damaged = first_damaged_block(format, &stored);
            assert_eq!(damaged, None, "{format:?}: {weights:?}");
        }
    }
}

#[test]
fn groups_are_the_dequantised_weights() {
    for format in Format::ALL.into_iter().filter(|it| it.is_quantised()) {
        let blocks = random_blocks(format, 7, 300);
        let mut weights = vec![0.0; format.block_len()];
        let mut codes = vec![0; format.block_len()];
        let mut scales = vec![0.0; groups_per_block(format)];
        let mut offsets = vec![0.0; groups_per_block(format)];
        for block in blocks.chunks_exact(format.block_bytes()) {
            dequantize(format, block, &mut weights);
            unpack(format, block, &mut codes, &mut scales, &mut offsets);
            for (i, (weight, code)) in weights.iter().zip(&codes).enumerate() {
                let group = i / group_len(format);
                let (scale, offset) = (scales[group], offsets[group]);
                let found = scale * f32::from(*code) + offset;
                // The same number: a zero of the other sign is the only difference there can be.
                assert_eq!(found, *weight, "{format:?}, weight {i}");
                if has_offset(format) {
                    assert_eq!(found.to_bits(), weight.to_bits(), "{format:?}, weight {i}");
                } else {
                    assert_eq!(offset, -f32::from(zero_point(format)) * scale);
                }
                match code_kind(format) {
                    CodeKind::Nibble => assert!((0..16).contains(code), "{format:?}"),
                    CodeKind::Byte => {}
                }
            }
        }
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
fn a_scale_that_is_not_a_number_is_seen_wherever_it_lies() {
    for format in Format::ALL {
        let blocks = random_blocks(format, 9, 3);
        assert_eq!(first_damaged_block(format, &blocks), None, "{format:?}");
        for at in half_offsets(format) {
            for bad in [0x7c00_u16, 0xfc00, 0x7e00] {
                let mut blocks = blocks.clone();
                blocks[format.block_bytes()..][*at..at + 2].copy_from_slice(&bad.to_le_bytes());
                assert_eq!(first_damaged_block(format, &blocks), Some(1), "{format:?}");
                let mut weights = vec![0.0; 3 * format.block_len()];
                dequantize(format, &blocks, &mut weights);
                assert!(weights.iter().any(|it| !it.is_finite()), "{format:?}");
            }
        }
    }
    let floats = [1.0, f32::MAX, -f32::MIN_POSITIVE, f32::NAN].map(f32::to_le_bytes);
    assert_eq!(
        first_damaged_block(Format::F32, floats.as_flattened()),
        Some(3)
    );
    let infinite = [1.0, f32::NEG_INFINITY].map(f32::to_le_bytes);
    assert_eq!(
        first_damaged_block(Format::F32, infinite.as_flattened()),
        Some(1)
    );
    assert_eq!(
        first_damaged_block(Format::BF16, &[0x7f, 0x7f, 0x80, 0xff]),
        Some(1)
    );
}

#[test]
fn numbers_and_names_agree() {
    for format in Format::ALL {
        assert_eq!(Format::from_type_id(format.type_id()), Some(format));
        assert_eq!(foreign_type_name(format.type_id()), None);
    }
    assert_eq!(Format::from_type_id(23), None);
    assert_eq!(foreign_type_name(23), Some("IQ4_XS"));
}
