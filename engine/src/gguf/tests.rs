//! Good files in every cut, and every way of being bad that has a name.

use proptest::prelude::*;

use super::*;
use crate::quant::{Format, dequantize};
use crate::synthetic::{GgufWriter, Mix, SyntheticModel};
use crate::tokenizer::TokenizerError;
use crate::weights::{LayerSlot, Slot, WeightStore, Weights};

/// Small enough to be read at every length and with every bit flipped.
pub(super) const TINY: SyntheticModel = SyntheticModel {
    architecture: crate::arch::Architecture::Llama,
    n_layers: 1,
    dim: 32,
    n_heads: 2,
    n_kv_heads: 1,
    ffn_dim: 32,
    vocab_size: 258,
    context_len: 16,
    format: Format::Q4_0,
    tied_output: true,
    seed: 3,
};

pub(super) const OPTIONS: ReadOptions = ReadOptions {
    file_bytes: None,
    available_bytes: None,
    max_context: 4_096,
};

pub(super) fn read(
    file: &[u8],
    chunk_bytes: usize,
    options: ReadOptions,
) -> Result<(ModelHeader, Weights), EngineError> {
    let mut reader = GgufReader::new(options);
    let mut store = WeightStore::default();
    for chunk in file.chunks(chunk_bytes) {
        reader.push(chunk, &mut store)?;
    }
    let header = reader.finish(&mut store)?;
    Ok((header, store.into_weights()?))
}

fn refusal(file: &[u8]) -> GgufError {
    match read(file, 4_096, OPTIONS) {
        Err(EngineError::Gguf(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// The tiny model's metadata with one more or another pair.
fn with_metadata(change: impl FnOnce(&mut GgufWriter)) -> GgufError {
    let mut writer = TINY.metadata();
    change(&mut writer);
    TINY.add_tensors(&mut writer);
    refusal(&writer.finish())
}

/// The file with `from` replaced by `to`, of the same length, wherever it first occurs.
fn patched(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = file
        .windows(from.len())
        .position(|it| it == from)
        .expect("it occurs");
    let mut file = file.to_vec();
    file[at..at + to.len()].copy_from_slice(to);
    file
}

#[test]
fn reads_a_good_file_in_any_pieces() {
    for format in Format::ALL {
        let spec = SyntheticModel {
            dim: format.block_len().max(TINY.dim),
            format,
            tied_output: false,
            ..TINY
        };
        let file = spec.gguf();
        let (header, whole) = read(&file, file.len(), OPTIONS).expect("a good file");
        assert_eq!(header.config, spec.config());
        for chunk_bytes in [7, 33, 34, 211, 1_000] {
            let (_, pieces) = read(&file, chunk_bytes, OPTIONS).expect("a good file");
            assert_eq!(pieces, whole, "{format:?} in chunks of {chunk_bytes}");
        }
    }
}

#[test]
fn reads_a_file_of_many_formats() {
    let spec = SyntheticModel {
        n_layers: 9,
        dim: 256,
        ffn_dim: 320,
        ..TINY
    };
    let (_, weights) = read(&spec.gguf_as(Mix::Q4_K_M), 10_007, OPTIONS).expect("a good file");
    let plain = read(&spec.gguf_as(Mix::One(Format::F32)), 10_007, OPTIONS).expect("a good file");
    let formats = |layer: usize| {
        let parts = [
            LayerSlot::AttnQ,
            LayerSlot::AttnV,
            LayerSlot::FfnUp,
            LayerSlot::FfnDown,
        ];
        parts.map(|part| {
            let matrix = weights.get(Slot::Layer(layer, part));
            matrix.expect("a part of every block").format
        })
    };
    assert_eq!(
        formats(0),
        [Format::Q4_K, Format::Q6_K, Format::Q4_K, Format::Q8_0]
    );
    assert_eq!(
        formats(1),
        [Format::Q4_K, Format::Q4_K, Format::Q4_K, Format::Q5_0]
    );
    for layer in 0..spec.n_layers {
        for part in [LayerSlot::AttnQ, LayerSlot::FfnDown] {
            let slot = Slot::Layer(layer, part);
            let mixed = weights.get(slot).expect("a part of every block");
            let plain = plain.1.get(slot).expect("a part of every block");
            let mut found = vec![0.0; mixed.rows * mixed.cols];
            let mut expected = found.clone();
            dequantize(mixed.format, &mixed.bytes, &mut found);
            dequantize(plain.format, &plain.bytes, &mut expected);
            let error: f32 = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).powi(2))
                .sum();
            let size: f32 = expected.iter().map(|it| it.powi(2)).sum();
            assert!(error < 0.01 * size, "{:?}", mixed.format);
        }
    }
}

#[test]
fn writes_are_whole_blocks_on_32_bytes() {
    struct Checking(Vec<(u64, TensorInfo)>);
    impl WeightSink for Checking {
        fn begin(&mut self, _: &ModelConfig, tensors: &[TensorInfo]) -> Result<(), EngineError> {
            self.0 = tensors.iter().map(|tensor| (0, tensor.clone())).collect();
            Ok(())
        }
        fn write(&mut self, tensor: usize, offset: u64, bytes: &[u8]) -> Result<(), EngineError> {
            let (written, info) = &mut self.0[tensor];
            assert_eq!(*written, offset);
            assert_eq!(bytes.len() % info.format.block_bytes(), 0);
            *written += bytes.len() as u64;
            assert!(bytes.len().is_multiple_of(32) || *written == info.bytes());
            Ok(())
        }
        fn finish(&mut self) -> Result<(), EngineError> {
            assert!(
                self.0
                    .iter()
                    .all(|(written, info)| *written == info.bytes())
            );
            Ok(())
        }
    }
    for format in Format::ALL {
        let mut reader = GgufReader::new(OPTIONS);
        let mut sink = Checking(Vec::new());
        let dim = format.block_len().max(TINY.dim);
        let spec = SyntheticModel {
            dim,
            ffn_dim: dim,
            format,
            ..TINY
        };
        for chunk in spec.gguf().chunks(77) {
            reader.push(chunk, &mut sink).expect("a good file");
        }
        reader.finish(&mut sink).expect("a whole file");
    }
}

#[test]
fn refuses_a_file_cut_at_every_length() {
    let file = TINY.gguf();
    // Padding after the last tensor may be missing; nothing else may.
    let needed = needed_bytes(&file);
    for len in 0..needed {
        match read(&file[..len], 4_096, OPTIONS) {
            Err(EngineError::Gguf(GgufError::TruncatedHeader { file_bytes })) => {
                assert_eq!(file_bytes, len as u64);
            }
            Err(EngineError::Gguf(GgufError::Truncated {
                needed_bytes,
                file_bytes,
            })) => {
                assert_eq!((needed_bytes, file_bytes), (needed as u64, len as u64));
            }
            other => panic!("{len}: {other:?}"),
        }
    }
    for len in needed..=file.len() {
        read(&file[..len], 4_096, OPTIONS).expect("whole but for padding");
    }
}

/// Where the last tensor of the tiny model ends.
fn needed_bytes(file: &[u8]) -> usize {
    let half = &file[..file.len() / 2];
    match read(half, 4_096, OPTIONS) {
        Err(EngineError::Gguf(GgufError::Truncated { needed_bytes, .. })) => needed_bytes as usize,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_known_length_is_checked_at_the_header() {
    let file = TINY.gguf();
    let needed = needed_bytes(&file) as u64;
    let with_length = |file_bytes| {
        let options = ReadOptions {
            file_bytes: Some(file_bytes),
            ..OPTIONS
        };
        // Only the header and a little more is ever pushed.
        let mut reader = GgufReader::new(options);
        reader.push(&file[..file.len() * 3 / 4], &mut WeightStore::default())
    };
    let short = GgufError::Truncated {
        needed_bytes: needed,
        file_bytes: needed - 1,
    };
    assert_eq!(with_length(needed - 1), Err(short.into()));
    assert_eq!(with_length(needed), Ok(()));
    let long = GgufError::TrailingBytes {
        needed_bytes: file.len() as u64,
        file_bytes: 1 << 40,
    };
    assert_eq!(with_length(1 << 40), Err(long.into()));
}

#[test]
fn refuses_what_follows_the_last_tensor() {
    let mut file = TINY.gguf();
    let needed_bytes = file.len() as u64;
    file.push(0);
    let expected = GgufError::TrailingBytes {
        needed_bytes,
        file_bytes: needed_bytes + 1,
    };
    assert_eq!(refusal(&file), expected);
}

#[test]
fn refuses_a_bad_preamble() {
    let file = TINY.gguf();
    assert_eq!(
        refusal(b"PK\x03\x04 and so on"),
        GgufError::NotGguf {
            found: *b"PK\x03\x04"
        }
    );
    for version in [1, 4, 0x0300_0000_u32] {
        let patched = patched(&file, &3_u32.to_le_bytes(), &version.to_le_bytes());
        assert_eq!(refusal(&patched), GgufError::UnsupportedVersion { version });
    }
    let mut writer = GgufWriter::default();
    writer.version = 2;
    assert!(matches!(
        refusal(&writer.finish()),
        GgufError::MissingKey { .. }
    ));
}

#[test]
fn counts_are_bounded() {
    let refused = |counts: [u64; 2], rest: &[u8]| {
        let mut file = [
            &b"GGUF\x03\0\0\0"[..],
            &counts[0].to_le_bytes(),
            &counts[1].to_le_bytes(),
        ]
        .concat();
        file.extend_from_slice(rest);
        let error = refusal(&file);
        let GgufError::TooMany { what, .. } = error else {
            panic!("{error:?}")
        };
        what
    };
    assert_eq!(refused([u64::MAX, 1], &[]), "tensors");
    assert_eq!(refused([1, u64::MAX], &[]), "metadata pairs");
    assert_eq!(refused([0, 1], &[0xff; 8]), "bytes in a key");
    let pair = |type_id: u32, rest: &[u8]| {
        [&1_u64.to_le_bytes()[..], b"k", &type_id.to_le_bytes(), rest].concat()
    };
    assert_eq!(refused([0, 1], &pair(8, &[0xff; 8])), "bytes in a string");
    assert_eq!(
        refused(
            [0, 1],
            &pair(9, &[&4_u32.to_le_bytes()[..], &[0xff; 8]].concat())
        ),
        "array elements"
    );
    assert_eq!(
        refused(
            [0, 1],
            &pair(9, &[&8_u32.to_le_bytes()[..], &[0xff; 8]].concat())
        ),
        "array elements"
    );
    let tensor = [&1_u64.to_le_bytes()[..], b"t", &5_u32.to_le_bytes()].concat();
    assert_eq!(refused([1, 0], &tensor), "dimensions");
}

#[test]
fn refuses_bad_metadata_by_key() {
    let duplicate = with_metadata(|it| {
        it.text("general.name", "again");
    });
    assert_eq!(
        duplicate,
        GgufError::DuplicateKey {
            key: "general.name".to_owned()
        }
    );
    let nested = with_metadata(|it| {
        it.pair("x", 9, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
    assert_eq!(
        nested,
        GgufError::UnknownValueType {
            key: "x".to_owned(),
            type_id: 9
        }
    );
    let unknown = with_metadata(|it| {
        it.pair("x", 13, &[]);
    });
    assert_eq!(
        unknown,
        GgufError::UnknownValueType {
            key: "x".to_owned(),
            type_id: 13
        }
    );
    let not_bool = with_metadata(|it| {
        it.pair("x", 7, &[2]);
    });
    assert_eq!(
        not_bool,
        GgufError::BadBool {
            key: "x".to_owned(),
            value: 2
        }
    );
    let not_utf8 = with_metadata(|it| {
        it.pair("x", 8, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]);
    });
    assert!(matches!(not_utf8, GgufError::NotUtf8 { .. }));
    let scaled = with_metadata(|it| {
        it.text("llama.rope.scaling.type", "yarn");
    });
    assert!(matches!(scaled, GgufError::BadValue { key, .. } if key == "llama.rope.scaling.type"));
    for alignment in [0, 3, 1 << 20] {
        let odd = with_metadata(|it| {
            it.uint("general.alignment", alignment);
        });
        assert!(matches!(odd, GgufError::BadValue { key, .. } if key == "general.alignment"));
    }
}

#[test]
fn refuses_impossible_sizes_by_key() {
    let file = TINY.gguf();
    let refused = |key: &str, value: u32| {
        // A key is followed by its type (4 bytes) and its value.
        let at = file
            .windows(key.len())
            .position(|it| it == key.as_bytes())
            .expect("it occurs");
        let mut file = file.clone();
        file[at + key.len() + 4..][..4].copy_from_slice(&value.to_le_bytes());
        let error = refusal(&file);
        let GgufError::BadValue { key, .. } = error else {
            panic!("{error:?}")
        };
        key
    };
    for key in [
        "llama.block_count",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.context_length",
        "llama.rope.dimension_count",
    ] {
        assert_eq!(refused(key, 0), key);
        assert_eq!(refused(key, u32::MAX), key);
    }
    let key = "llama.attention.head_count_kv";
    assert_eq!(refused(key, 3), key);
    for (key, value) in [
        ("llama.rope.freq_base", f32::NAN),
        ("llama.rope.freq_base", 0.5),
        ("llama.attention.layer_norm_rms_epsilon", -1.0),
        ("llama.attention.layer_norm_rms_epsilon", f32::NAN),
    ] {
        assert_eq!(refused(key, value.to_bits()), key);
    }
}

#[test]
fn refuses_negative_and_other_numbers_by_key() {
    let file = TINY.gguf();
    let refused = |key: &str, type_id: u32, value: u32| {
        let at = file
            .windows(key.len())
            .position(|it| it == key.as_bytes())
            .expect("it occurs");
        let mut file = file.clone();
        let place = &mut file[at + key.len()..][..8];
        place[..4].copy_from_slice(&type_id.to_le_bytes());
        place[4..].copy_from_slice(&value.to_le_bytes());
        refusal(&file)
    };
    let (int, float) = (5, 6);
    for key in [
        "llama.block_count",
        "llama.embedding_length",
        "llama.attention.head_count",
        "llama.attention.head_count_kv",
        "llama.feed_forward_length",
        "llama.context_length",
        "llama.rope.dimension_count",
        "tokenizer.ggml.bos_token_id",
    ] {
        for (type_id, value, expected) in [
            (int, -1_i32 as u32, "a positive integer"),
            (int, i32::MIN as u32, "a positive integer"),
            (float, 2.0_f32.to_bits(), "an integer"),
        ] {
            let key = key.to_owned();
            let wrong = refused(&key, type_id, value);
            assert_eq!(wrong, GgufError::WrongType { key, expected });
        }
    }
}

#[test]
fn refuses_a_tokenizer_that_is_not_known_by_name() {
    let refused = |from: &[u8], to: &[u8]| match read(&patched(&TINY.gguf(), from, to), 99, OPTIONS)
    {
        Err(EngineError::Tokenizer(error)) => error,
        other => panic!("{other:?}"),
    };
    let name = || "rwkv".to_owned();
    assert_eq!(
        refused(b"gpt2", b"rwkv"),
        TokenizerError::UnknownModel { name: name() }
    );
    let name = || "gpt-9".to_owned();
    assert_eq!(
        refused(b"gpt-2", b"gpt-9"),
        TokenizerError::UnknownPreTokenizer { name: name() }
    );
}

#[test]
fn refuses_what_the_model_lacks() {
    let mut writer = TINY.metadata();
    TINY.add_tensors(&mut writer);
    let file = writer.finish();
    let renamed = patched(&file, b"general.architecture", b"general.Architecture");
    let expected = GgufError::MissingKey {
        key: "general.architecture".to_owned(),
    };
    assert_eq!(refusal(&renamed), expected);
    let other = patched(&file, b"llama\x0c", b"mamba\x0c");
    assert_eq!(
        refusal(&other),
        GgufError::UnknownArchitecture {
            name: "mamba".to_owned()
        }
    );
    let deeper = SyntheticModel {
        n_layers: 2,
        ..TINY
    };
    let mut writer = deeper.metadata();
    TINY.add_tensors(&mut writer);
    let expected = GgufError::MissingTensor {
        name: "blk.1.attn_norm.weight".to_owned(),
    };
    assert_eq!(refusal(&writer.finish()), expected);
}

/// The tiny model with one more tensor, or another shape of one.
fn with_tensor(name: &str, dims: &[u64], type_id: u32) -> GgufError {
    let mut writer = TINY.metadata();
    TINY.add_tensors(&mut writer);
    writer.tensor(name, dims, type_id, vec![0; 4_096]);
    refusal(&writer.finish())
}

#[test]
fn refuses_bad_tensors_by_name() {
    let tensor = || "blk.0.attn_qkv.weight".to_owned();
    let unexpected = GgufError::UnexpectedTensor { tensor: tensor() };
    assert_eq!(with_tensor("blk.0.attn_qkv.weight", &[32], 0), unexpected);
    for name in [
        "blk.00.attn_q.weight",
        "blk.1.attn_q.weight",
        "blk.18446744073709551616.attn_q.weight",
        "",
    ] {
        let expected = GgufError::UnexpectedTensor {
            tensor: name.to_owned(),
        };
        assert_eq!(with_tensor(name, &[32, 32], 0), expected);
    }
    let twice = GgufError::DuplicateTensor {
        tensor: "output_norm.weight".to_owned(),
    };
    assert_eq!(with_tensor("output_norm.weight", &[32], 0), twice);
    let output = || "output.weight".to_owned();
    let foreign = GgufError::UnknownTensorType {
        tensor: output(),
        format: "IQ4_XS".to_owned(),
    };
    assert_eq!(with_tensor("output.weight", &[32, 258], 23), foreign);
    let unknown = GgufError::UnknownTensorType {
        tensor: output(),
        format: "99".to_owned(),
    };
    assert_eq!(with_tensor("output.weight", &[32, 258], 99), unknown);
    for dims in [&[][..], &[32, 0]] {
        let expected = GgufError::BadDimensions {
            tensor: output(),
            dims: dims.to_vec(),
        };
        assert_eq!(with_tensor("output.weight", dims, 0), expected);
    }
    for dims in [&[258, 32][..], &[32], &[32, 258, 2], &[u64::MAX, u64::MAX]] {
        let expected = GgufError::WrongShape {
            tensor: output(),
            expected: [32, 258],
            found: dims.to_vec(),
        };
        assert_eq!(with_tensor("output.weight", dims, 0), expected);
    }
}

#[test]
fn refuses_bad_places_by_name() {
    let mut writer = TINY.metadata();
    TINY.add_tensors(&mut writer);
    let n_tensors = 2 + 9;
    let mut offsets = vec![0_usize; n_tensors];
    assert!(matches!(
        refusal(&writer.finish_with_offsets(&offsets)),
        GgufError::Overlap { .. }
    ));
    offsets = vec![8; n_tensors];
    assert!(matches!(
        refusal(&writer.finish_with_offsets(&offsets)),
        GgufError::Misaligned { .. }
    ));
    offsets = (0..n_tensors).map(|n| n << 20).collect();
    assert!(matches!(
        refusal(&writer.finish_with_offsets(&offsets)),
        GgufError::Gap { .. }
    ));
    offsets = vec![usize::MAX - 31; n_tensors];
    assert!(matches!(
        refusal(&writer.finish_with_offsets(&offsets)),
        GgufError::Gap { .. }
    ));
}

#[test]
fn refuses_quantised_norms_and_odd_rows() {
    let norm = Slot::OutputNorm.name();
    let file = TINY.gguf();
    // A tensor's name is followed by one dimension (4 + 8 bytes) and its type.
    let at = file
        .windows(norm.len())
        .position(|it| it == norm.as_bytes())
        .expect("it occurs");
    let mut patched = file.clone();
    patched[at + norm.len() + 12] = 8;
    assert!(
        matches!(refusal(&patched), GgufError::WrongFormat { tensor, found: "Q8_0", .. } if tensor == norm)
    );

    let odd = SyntheticModel { dim: 24, ..TINY };
    read(&odd.gguf(), 4_096, OPTIONS).expect("unquantised rows of any length");
}

#[test]
fn refuses_damaged_weights() {
    let mut file = TINY.gguf();
    let needed = needed_bytes(&file);
    // The last tensor is the output norm, 32 floats.
    file[needed - 4..needed].copy_from_slice(&f32::NAN.to_le_bytes());
    let expected = GgufError::NotFinite {
        tensor: Slot::OutputNorm.name(),
        block: 31,
    };
    assert_eq!(refusal(&file), expected);
}

#[test]
fn refuses_an_infinite_scale_in_every_format() {
    for format in Format::ALL {
        let spec = SyntheticModel {
            dim: format.block_len().max(TINY.dim),
            format,
            ..TINY
        };
        let mut writer = spec.metadata();
        spec.add_tensors(&mut writer);
        // All ones are an infinite or undefined number in every float there is.
        let stored = writer
            .tensor_mut("blk.0.attn_k.weight")
            .expect("it is there");
        let block = format.block_bytes();
        stored[2 * block..3 * block].fill(0xff);
        let expected = GgufError::NotFinite {
            tensor: "blk.0.attn_k.weight".to_owned(),
            block: 2,
        };
        assert_eq!(refusal(&writer.finish()), expected, "{format:?}");
    }
}

#[test]
fn tensors_may_lie_in_another_order_than_they_are_listed() {
    let mut writer = TINY.metadata();
    TINY.add_tensors(&mut writer);
    // The third and fourth tensor, keys and values, are of one size.
    let mut offsets = writer.offsets();
    offsets.swap(3, 4);
    let file = writer.finish_with_offsets(&offsets);
    let (_, straight) = read(&TINY.gguf(), 1_000, OPTIONS).expect("a good file");
    let (_, crossed) = read(&file, 1_000, OPTIONS).expect("a good file");
    let keys = Slot::Layer(0, LayerSlot::AttnK);
    let values = Slot::Layer(0, LayerSlot::AttnV);
    assert_ne!(straight.get(keys), straight.get(values));
    assert_eq!(crossed.get(keys), straight.get(values));
    assert_eq!(crossed.get(values), straight.get(keys));
}

#[test]
fn says_what_does_not_fit() {
    let options = ReadOptions {
        available_bytes: Some(1_000),
        ..OPTIONS
    };
    match read(&TINY.gguf(), 4_096, options) {
        Err(EngineError::DoesNotFit {
            needed_bytes,
            kv_bytes,
            available_bytes: 1_000,
            ..
        }) => {
            // Two planes, one layer, 16 positions of 16 channels in f32.
            assert_eq!(kv_bytes, 2 * 16 * 16 * 2);
            assert!(needed_bytes > kv_bytes);
        }
        other => panic!("{other:?}"),
    }
    let capped = ReadOptions {
        max_context: 8,
        ..OPTIONS
    };
    let (header, _) = read(&TINY.gguf(), 4_096, capped).expect("a good file");
    assert_eq!(header.config.context_len, 8);
}

#[test]
fn what_is_refused_stays_refused() {
    let mut reader = GgufReader::new(OPTIONS);
    let mut store = WeightStore::default();
    assert!(reader.push(b"nonsense", &mut store).is_err());
    let expected = Err(GgufError::AlreadyRefused.into());
    assert_eq!(reader.push(&TINY.gguf(), &mut store), expected);
    assert!(matches!(
        reader.finish(&mut store),
        Err(EngineError::Gguf(GgufError::AlreadyRefused))
    ));
}

/// Reads in pieces with all memory limits on; whatever happens, it is a value.
fn survives(file: &[u8]) {
    let options = ReadOptions {
        available_bytes: Some(1 << 20),
        ..OPTIONS
    };
    if let Ok((header, weights)) = read(file, 1_021, options) {
        assert!(Slot::all(&header.config).all(|slot| weights.get(slot).is_some()));
    }
}

#[test]
fn every_flipped_bit_of_the_header_is_a_value() {
    let file = TINY.gguf();
    let header_bytes = file.len() - needed_tensor_bytes();
    for at in 0..header_bytes {
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            survives(&flipped);
        }
    }
}

fn needed_tensor_bytes() -> usize {
    Slot::all(&TINY.config())
        .map(|slot| {
            let (rows, cols) = slot.shape(&TINY.config());
            let format = match slot.is_matrix() {
                true => TINY.format,
                false => Format::F32,
            };
            (rows * format.row_bytes(cols)).next_multiple_of(32)
        })
        .sum()
}

proptest! {
    #[test]
    fn random_bytes_are_a_value(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        survives(&bytes);
        survives(&[b"GGUF\x03\0\0\0", &bytes[..]].concat());
    }

    #[test]
    fn random_damage_is_a_value(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut file = TINY.gguf();
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        survives(&file);
    }
}
