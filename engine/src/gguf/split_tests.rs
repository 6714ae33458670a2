//! Models in several files: whole sets in any order, and every set that is not one.

use super::tests::{OPTIONS, TINY, read};
use super::*;
use crate::synthetic::GgufWriter;
use crate::weights::{WeightStore, Weights};

/// Tensors of the tiny model.
const N_TENSORS: usize = 11;

/// The tiny model in three files, the second of them with more than one tensor.
fn parts() -> Vec<Vec<u8>> {
    writer().finish_split(&[2, 6, 3])
}

fn writer() -> GgufWriter {
    let mut writer = TINY.metadata();
    TINY.add_tensors(&mut writer);
    writer
}

fn header(file: &[u8]) -> Result<PartHeader, GgufError> {
    let mut reader = PartReader::new(Some(file.len() as u64));
    for chunk in file.chunks(100) {
        if reader.push(chunk)? {
            break;
        }
    }
    reader.finish()
}

fn reader(files: &[Vec<u8>]) -> Result<GgufReader, EngineError> {
    let headers = files.iter().map(|file| header(file));
    GgufReader::of_parts(OPTIONS, headers.collect::<Result<_, _>>()?)
}

fn read_parts(
    files: &[Vec<u8>],
    chunk_bytes: usize,
) -> Result<(ModelHeader, Weights), EngineError> {
    let mut reader = reader(files)?;
    let mut store = WeightStore::default();
    for file in files {
        for chunk in file.chunks(chunk_bytes) {
            reader.push(chunk, &mut store)?;
        }
        reader.end_part()?;
    }
    let header = reader.finish(&mut store)?;
    Ok((header, store.into_weights()?))
}

fn refusal(files: &[Vec<u8>]) -> GgufError {
    match read_parts(files, 1_000) {
        Err(EngineError::Gguf(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn parts_in_any_order_are_the_whole() {
    let (whole_header, whole) = read(&TINY.gguf(), 4_096, OPTIONS).expect("a good file");
    let [a, b, c] = <[Vec<u8>; 3]>::try_from(parts()).expect("three parts");
    for order in [[&a, &b, &c], [&c, &a, &b], [&b, &c, &a], [&c, &b, &a]] {
        let files = order.map(Vec::clone);
        for chunk_bytes in [7, 1_000, 1 << 20] {
            let (header, weights) = read_parts(&files, chunk_bytes).expect("a whole set");
            assert_eq!(header.config, whole_header.config);
            assert_eq!(weights, whole);
        }
    }
}

#[test]
fn a_part_may_hold_metadata_alone() {
    let files = writer().finish_split(&[0, N_TENSORS]);
    let (_, weights) = read_parts(&files, 100).expect("a whole set");
    let (_, whole) = read(&TINY.gguf(), 4_096, OPTIONS).expect("a good file");
    assert_eq!(weights, whole);
    let one = writer().finish_split(&[N_TENSORS]);
    assert_eq!(read_parts(&one, 100).expect("one part").1, whole);
    assert_eq!(read(&one[0], 100, OPTIONS).expect("one part").1, whole);
}

#[test]
fn headers_say_which_part_they_are() {
    let files = parts();
    for (no, file) in (0..).zip(&files) {
        let split = Split {
            no,
            count: 3,
            tensors: N_TENSORS as u64,
        };
        assert_eq!(header(file).expect("a header").split(), Some(split));
    }
    assert_eq!(header(&TINY.gguf()).expect("a header").split(), None);
    let reader = reader(&files).expect("a whole set");
    let (whole, _) = read(&TINY.gguf(), 4_096, OPTIONS).expect("a good file");
    assert_eq!(reader.header().map(|it| &it.config), Some(&whole.config));
}

#[test]
fn refuses_a_part_that_comes_alone() {
    for (no, file) in (0..).zip(&parts()) {
        let Err(EngineError::Gguf(error)) = read(file, 100, OPTIONS) else {
            panic!("a part is no model");
        };
        assert_eq!(error, GgufError::PartOfMany { no, count: 3 });
    }
}

#[test]
fn refuses_sets_that_are_not_one_model() {
    let [a, b, c] = <[Vec<u8>; 3]>::try_from(parts()).expect("three parts");
    let missing = GgufError::MissingPart { no: 1, count: 3 };
    assert_eq!(refusal(&[a.clone(), c.clone()]), missing);
    let none = GgufError::MissingPart { no: 0, count: 0 };
    assert_eq!(refusal(&[]), none);
    let twice = GgufError::DuplicatePart { no: 1 };
    assert_eq!(
        refusal(&[a.clone(), b.clone(), c.clone(), b.clone()]),
        twice
    );
    let foreign = |files: &[Vec<u8>]| {
        let error = refusal(files);
        let GgufError::ForeignPart { index, reason } = error else {
            panic!("{error:?}");
        };
        (index, reason)
    };
    let whole = || TINY.gguf();
    assert_eq!(
        foreign(&[a.clone(), whole(), c.clone()]),
        (1, "it is a whole model".to_owned())
    );
    assert_eq!(
        foreign(&[whole(), b.clone()]),
        (0, "it is a whole model".to_owned())
    );
    let of_two = writer().finish_split(&[5, 6]);
    assert_eq!(
        foreign(&[a.clone(), of_two[1].clone(), c.clone()]),
        (1, "it is one of 2 parts, others are of 3".to_owned())
    );
    let part = |change: &dyn Fn(&mut GgufWriter)| {
        let mut writer = GgufWriter::default();
        change(&mut writer);
        writer.finish()
    };
    let more = part(&|it| {
        it.split(1, 3, 12);
    });
    assert_eq!(
        foreign(&[a.clone(), more, c.clone()]),
        (1, "its model has 12 tensors, that of others 11".to_owned())
    );
    let empty = part(&|it| {
        it.split(1, 3, N_TENSORS as i32);
    });
    let expected = GgufError::TensorCount {
        stated: 11,
        found: 5,
    };
    assert_eq!(refusal(&[a.clone(), empty, c.clone()]), expected);
    let renamed = part(&|it| {
        it.split(1, 3, N_TENSORS as i32)
            .text("general.architecture", "mamba");
        for n in 0..6 {
            it.tensor(&format!("t{n}"), &[1], 0, vec![0; 4]);
        }
    });
    assert_eq!(
        foreign(&[a.clone(), renamed, c.clone()]),
        (
            1,
            "its \"general.architecture\" is not that of the first part".to_owned()
        )
    );
    let repeated = writer().finish_split(&[6, 2, 3]);
    let swapped = [repeated[0].clone(), b, c];
    assert!(matches!(refusal(&swapped), GgufError::TensorCount { .. }));
}

#[test]
fn refuses_parts_that_number_themselves_impossibly() {
    let refused = |no: u16, count: u16, tensors: i32| {
        let mut writer = GgufWriter::default();
        writer.split(no, count, tensors);
        header(&writer.finish()).expect_err("an impossible part")
    };
    let beyond = |no: u16, count: u16| GgufError::BadValue {
        key: "split.no".to_owned(),
        value: no.to_string(),
        expected: format!("less than split.count, which is {count}"),
    };
    assert_eq!(refused(3, 3, 1), beyond(3, 3));
    assert_eq!(refused(u16::MAX, 2, 1), beyond(u16::MAX, 2));
    let many = GgufError::TooMany {
        what: "parts of a model",
        count: 513,
        max: MAX_PARTS,
    };
    assert_eq!(refused(0, 513, 1), many);
    let negative = GgufError::WrongType {
        key: "split.tensors.count".to_owned(),
        expected: "a positive integer",
    };
    assert_eq!(refused(0, 2, -1), negative);
    let mut writer = GgufWriter::default();
    writer.uint("split.count", 2);
    let expected = GgufError::MissingKey {
        key: "split.no".to_owned(),
    };
    assert_eq!(header(&writer.finish()).expect_err("no place"), expected);
}

#[test]
fn refuses_a_part_that_is_cut_or_goes_on_by_its_number() {
    let files = parts();
    let mut cut = files.clone();
    let length = cut[1].len() - 40;
    cut[1].truncate(length);
    // Its length is stated, so that the headers are enough to see it.
    assert!(matches!(
        reader(&cut),
        Err(EngineError::Gguf(GgufError::Truncated { .. }))
    ));
    let mut parts = reader(&files).expect("a whole set");
    let mut store = WeightStore::default();
    parts.push(&files[0], &mut store).expect("a whole part");
    parts.end_part().expect("a whole part");
    parts.push(&cut[1], &mut store).expect("most of a part");
    let expected = GgufError::InPart {
        no: 1,
        error: Box::new(GgufError::Truncated {
            needed_bytes: files[1].len() as u64,
            file_bytes: cut[1].len() as u64,
        }),
    };
    assert_eq!(parts.end_part(), Err(expected.into()));
    let refused = Err(GgufError::AlreadyRefused.into());
    assert_eq!(parts.push(&files[2], &mut store), refused);

    let mut parts = reader(&files).expect("a whole set");
    parts.push(&files[0], &mut store).expect("a whole part");
    let more = parts.push(&[0], &mut store).expect_err("one byte too many");
    let EngineError::Gguf(GgufError::InPart { no: 0, error }) = more else {
        panic!("{more:?}");
    };
    assert!(matches!(*error, GgufError::TrailingBytes { .. }));
}

#[test]
fn refuses_to_end_before_the_last_part() {
    let files = parts();
    let mut parts = reader(&files).expect("a whole set");
    let mut store = WeightStore::default();
    for file in &files[..2] {
        parts.push(file, &mut store).expect("a whole part");
        parts.end_part().expect("a whole part");
    }
    let expected = GgufError::InPart {
        no: 2,
        error: Box::new(GgufError::TruncatedHeader { file_bytes: 0 }),
    };
    assert!(matches!(
        parts.finish(&mut store),
        Err(EngineError::Gguf(error)) if error == expected
    ));
}

#[test]
fn refuses_a_header_that_changed_after_it_was_read() {
    let files = parts();
    let mut parts = reader(&files).expect("a whole set");
    let mut other = files[0].clone();
    other[30] ^= 1;
    let expected = GgufError::InPart {
        no: 0,
        error: Box::new(GgufError::HeaderChanged),
    };
    let found = parts.push(&other, &mut WeightStore::default());
    assert_eq!(found, Err(expected.into()));
}
