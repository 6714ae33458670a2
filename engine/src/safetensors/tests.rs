//! What is read, what is refused and by which name, and hostile bytes.

use proptest::prelude::*;

use super::*;

fn file(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        data,
    ]
    .concat()
}

fn refusal(header: &str, data_bytes: usize) -> String {
    let file = file(header, &vec![0; data_bytes]);
    read(&file).expect_err("a bad file").to_string()
}

#[test]
fn reads_every_type_of_number() {
    let header = r#"{"__metadata__":{"format":"pt"},
        "a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},
        "b":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},
        "c":{"dtype":"BF16","shape":[1],"data_offsets":[12,14]}}"#;
    let mut data = [1.5_f32.to_le_bytes(), (-0.25_f32).to_le_bytes()].concat();
    data.extend(
        [f16::from_f32(3.0), f16::from_f32(6e-8)]
            .map(f16::to_le_bytes)
            .concat(),
    );
    data.extend(bf16::from_f32(-2.0).to_le_bytes());
    let file = file(header, &data);
    let views = read(&file).unwrap();
    assert_eq!(views["a"].to_f32(), [1.5, -0.25]);
    assert_eq!(views["a"].shape, [1, 2]);
    assert_eq!(views["b"].to_f32(), [3.0, 5.960_464_5e-8]);
    assert_eq!(views["c"].to_f32(), [-2.0]);
}

#[test]
fn refuses_by_name() {
    let entry = |shape: &str, start: u64, end: u64| {
        format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[{start},{end}]}}}}"#)
    };
    let check = |header: &str, data_bytes, expected: &str| {
        let refusal = refusal(header, data_bytes);
        assert!(refusal.contains(expected), "{refusal}");
    };
    check(&entry("[2]", 0, 8), 4, "tensor a: bytes 0 to 8 of 4");
    check(&entry("[3]", 0, 8), 8, "cannot hold F32 [3]");
    check(&entry("[2]", 8, 0), 8, "tensor a: bytes 8 to 0");
    check(
        &entry("[2]", 4, 12),
        12,
        "4 bytes of the safetensors file belong to no tensor",
    );
    check(
        &entry("[2]", 0, 8),
        9,
        "1 bytes of the safetensors file belong to no tensor",
    );
    check(&entry("[4611686018427387904,4]", 0, 0), 0, "cannot hold");
    check(&entry("[-1]", 0, 8), 8, "header is not what it should be");
    check(&entry("[2]", 0, u64::MAX), 8, "tensor a");
    check("{", 0, "header is not what it should be");
    check("[]", 0, "a table of tensors");
    check(
        r#"{"a":{"dtype":"I8","shape":[2],"data_offsets":[0,2]}}"#,
        2,
        "a is stored as I8",
    );
    let one = r#""a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    check(&format!("{{{one},{one}}}"), 0, "tensor a occurs twice");
    let two = one.replace("[0,0]", "[0,8]").replace("[0]", "[2]");
    let overlapping = format!("{{{two},{}}}", two.replace("\"a\"", "\"b\""));
    check(&overlapping, 8, "belong to no tensor");
    let deep = "[".repeat(100_000);
    check(
        &format!(r#"{{"__metadata__":{deep}"#),
        0,
        "EOF while parsing a list",
    );
    let many = (0..MAX_TENSORS + 1).map(|n| one.replace("\"a\"", &format!("\"{n}\"")));
    check(
        &format!("{{{}}}", many.collect::<Vec<_>>().join(",")),
        0,
        "more than 8192 tensors",
    );
    let length = (MAX_HEADER_BYTES + 1).to_le_bytes();
    assert_eq!(
        read(&length),
        Err(SafetensorsError::HeaderTooLarge {
            header_bytes: MAX_HEADER_BYTES + 1,
            max_bytes: MAX_HEADER_BYTES
        })
    );
    let truncated = SafetensorsError::Truncated {
        header_bytes: 0,
        file_bytes: 3,
    };
    assert_eq!(read(&[1, 2, 3]), Err(truncated));
}

#[test]
fn what_is_written_is_read() {
    let matrix = |rows, cols, first: f32| F32Matrix {
        rows,
        cols,
        values: (0..rows * cols).map(|n| first + n as f32).collect(),
    };
    let tensors = BTreeMap::from([
        ("b".to_owned(), matrix(2, 3, 0.5)),
        ("a\"".to_owned(), matrix(1, 5, -7.0)),
    ]);
    let file = write(&tensors);
    assert_eq!(u64::from_le_bytes(*file.first_chunk().unwrap()) % 8, 0);
    let views = read(&file).unwrap();
    assert_eq!(views.len(), 2);
    for (name, tensor) in &tensors {
        assert_eq!(views[name].to_f32(), tensor.values);
        assert_eq!(views[name].shape, [tensor.rows as u64, tensor.cols as u64]);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(read(&bytes));
    }

    #[test]
    fn random_headers_never_panic(
        starts in prop::collection::vec(any::<u64>(), 1..5),
        dims in prop::collection::vec(any::<u64>(), 0..4),
        n_data in 0_usize..40,
        cut in any::<usize>(),
    ) {
        let entries: Vec<String> = starts.iter().enumerate().map(|(n, start)| {
            let end = start.wrapping_add(8);
            format!(r#""{n}":{{"dtype":"F32","shape":{dims:?},"data_offsets":[{start},{end}]}}"#)
        }).collect();
        let mut file = file(&format!("{{{}}}", entries.join(",")), &vec![0; n_data]);
        drop(read(&file));
        file.truncate(cut % (file.len() + 1));
        drop(read(&file));
    }
}
