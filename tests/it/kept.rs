//! What the worker decides about kept models: how a file is checked, and which speed is remembered.
//! The files are the worker's own; they know no browser.

#[path = "../../node-wasm/src/worker/kept/pieces.rs"]
mod pieces;
#[path = "../../node-wasm/src/worker/speeds.rs"]
mod speeds;

use pieces::{Check, FileHash, ListError, Means, PIECE_BYTES, Pieces, WholeFile};
use sha2::{Digest as _, Sha256};
use speeds::{Speeds, Subject};
use thrum_protocol::id::ModelId;

const DAY_MILLIS: u64 = 86_400_000;

/// Where a page came over HTTPS and its files lie in the private file system.
const BEST: Means = Means {
    native_digest: true,
    in_pieces: true,
};

fn sha256(bytes: &[u8]) -> ModelId {
    ModelId(Sha256::digest(bytes).into())
}

/// A file of two pieces and a bit.
fn file() -> Vec<u8> {
    let bytes = 0..2 * PIECE_BYTES + 777;
    bytes.map(|n| (n * n / 7) as u8).collect()
}

/// Hashed as it arrives, `step` bytes at a time.
fn hashed(bytes: &[u8], step: usize) -> (WholeFile, Pieces) {
    let mut hash = FileHash::new(true);
    bytes.chunks(step).for_each(|bytes| hash.push(bytes));
    let (sha256, pieces) = hash.finish();
    let file = WholeFile {
        sha256,
        bytes: bytes.len() as u64,
    };
    (file, pieces.unwrap())
}

/// Whether every piece of `bytes` is as listed.
fn is_as_listed(pieces: &Pieces, bytes: &[u8]) -> bool {
    let mut digests = bytes.chunks(PIECE_BYTES).map(sha256).enumerate();
    let same = digests.all(|(number, digest)| pieces.has(number, digest));
    same && bytes.chunks(PIECE_BYTES).len() == pieces.len()
}

#[test]
fn a_list_says_of_every_piece_whether_it_is_as_it_was() {
    let mut bytes = file();
    for step in [1_000, PIECE_BYTES, 3 * PIECE_BYTES] {
        let (file, pieces) = hashed(&bytes, step);
        assert_eq!(file.sha256, sha256(&bytes));
        assert_eq!(pieces.file(), file);
        assert!(is_as_listed(&pieces, &bytes), "{step} at a time");
    }
    let (_, pieces) = hashed(&bytes, 4_096);
    for at in [
        0,
        PIECE_BYTES - 1,
        PIECE_BYTES,
        2 * PIECE_BYTES,
        bytes.len() - 1,
    ] {
        bytes[at] ^= 1;
        assert!(!is_as_listed(&pieces, &bytes), "byte {at}");
        bytes[at] ^= 1;
    }
    assert!(!is_as_listed(&pieces, &bytes[..2 * PIECE_BYTES]), "cut off");
    bytes.resize(3 * PIECE_BYTES + 1, 0);
    assert!(!is_as_listed(&pieces, &bytes), "something appended");
}

#[test]
fn a_list_is_read_as_it_was_written() {
    for len in [1, PIECE_BYTES, 2 * PIECE_BYTES + 777] {
        let (file, pieces) = hashed(&file()[..len], 9_999);
        assert_eq!(Pieces::parse(&pieces.to_text(), file), Ok(pieces));
    }
}

#[test]
fn a_list_that_is_cut_off_or_changed_is_none() {
    let (file, pieces) = hashed(&file(), 9_999);
    let text = pieces.to_text();
    for end in 0..text.len() {
        let refused = Pieces::parse(&text[..end], file);
        assert_eq!(refused, Err(ListError::Damaged), "{end} bytes");
    }
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(Pieces::parse(&changed, file).is_err(), "byte {at}");
    }
}

#[test]
fn a_list_of_another_file_is_none() {
    let (file, pieces) = hashed(&file(), 9_999);
    let others = [
        WholeFile {
            bytes: file.bytes - 1,
            ..file
        },
        WholeFile {
            sha256: sha256(b"another"),
            ..file
        },
    ];
    for other in others {
        let refused = Pieces::parse(&pieces.to_text(), other);
        assert_eq!(refused, Err(ListError::Foreign));
    }
    // Written by somebody who counts pieces otherwise, and sealed.
    let text = pieces.to_text();
    let (list, _) = text.rsplit_once('\n').unwrap();
    let (fewer, _) = list.rsplit_once('\n').unwrap();
    let sealed = format!("{fewer}\n{}", sha256(fewer.as_bytes()));
    assert_eq!(Pieces::parse(&sealed, file), Err(ListError::Foreign));
}

#[test]
fn what_cannot_be_checked_in_pieces_is_hashed_whole() {
    let (file, pieces) = hashed(&file(), 9_999);
    let text = pieces.to_text();
    let insecure = Means {
        native_digest: false,
        ..BEST
    };
    let streamed = Means {
        in_pieces: false,
        ..BEST
    };
    let (list, file) = (Some(&text[..]), Some(file));
    let whole = |list| Check::Whole { list };
    assert_eq!(Check::of(BEST, list, file), Check::Pieces(pieces));
    assert_eq!(Check::of(streamed, list, file), whole(false));
    assert_eq!(Check::of(insecure, list, file), whole(false));
    assert_eq!(Check::of(insecure, None, file), whole(false));
    assert_eq!(Check::of(BEST, list, None), whole(false));
    // A list is made for the next time.
    assert_eq!(Check::of(BEST, None, file), whole(true));
    assert_eq!(Check::of(streamed, None, file), whole(true));
    assert_eq!(Check::of(BEST, Some(&text[..99]), file), whole(true));
}

fn subject(model: &[u8]) -> Subject<'static> {
    Subject {
        model: sha256(model),
        threads: 1,
        version: "a1b2c3",
    }
}

#[test]
fn a_speed_is_remembered_for_a_day_and_for_what_it_was_measured_of() {
    let mut speeds = Speeds::default();
    speeds.put(subject(b"a"), 1_000, DAY_MILLIS);
    speeds.put(subject(b"a"), 2_000, DAY_MILLIS);
    let speeds = Speeds::parse(&speeds.to_text());
    assert_eq!(speeds.find(subject(b"a"), DAY_MILLIS), Some(2_000));
    assert_eq!(speeds.find(subject(b"a"), 2 * DAY_MILLIS - 1), Some(2_000));
    assert_eq!(speeds.find(subject(b"a"), 2 * DAY_MILLIS), None);
    assert_eq!(speeds.find(subject(b"a"), DAY_MILLIS - 1), None);
    let others = [
        subject(b"b"),
        Subject {
            threads: 2,
            ..subject(b"a")
        },
        Subject {
            version: "d4e5f6",
            ..subject(b"a")
        },
    ];
    for other in others {
        assert_eq!(speeds.find(other, DAY_MILLIS), None);
    }
    assert_eq!(Speeds::parse("no note"), Speeds::default());
}

#[test]
fn the_oldest_speeds_are_forgotten() {
    let mut speeds = Speeds::default();
    for n in 0..20_u8 {
        speeds.put(subject(&[n]), 1_000, u64::from(n));
    }
    let known = (0..20_u8).filter(|n| speeds.find(subject(&[*n]), 20).is_some());
    assert_eq!(known.collect::<Vec<_>>(), (4..20).collect::<Vec<_>>());
}
