//! The bytes of each message type, kept in `tests/vectors` at the root of the repository: they may
//! be checked with any JSON library and any Ed25519.
//!
//! To make them anew after a deliberate change of the protocol: `THRUM_BLESS=1 cargo test -p
//! thrum-protocol golden`, and read the difference.
#![expect(
    clippy::disallowed_methods,
    reason = "the vectors are files; it is the crate that has no I/O"
)]

use crate::samples::{advert, capability, hint, key, node, task_messages};
use std::path::PathBuf;
use thrum_protocol::advert::Advert;
use thrum_protocol::capability::CapabilityRecord;
use thrum_protocol::hint::Hint;
use thrum_protocol::task::TaskMessage;

#[test]
fn task_messages_are_these_bytes() {
    for (name, message) in task_messages() {
        let bytes = message.seal(&key(1));
        check(&format!("task_{name}.json"), &bytes);
        let opened = TaskMessage::open(&bytes).expect("what was sealed opens");
        assert_eq!(opened, (node(1), message), "{name}");
    }
}

#[test]
fn adverts_are_these_bytes() {
    let bytes = advert().seal(&key(1));
    check("advert.json", &bytes);
    let opened = Advert::open(&bytes).expect("what was sealed opens");
    assert_eq!(opened, (node(1), advert()));
}

#[test]
fn hints_are_these_bytes() {
    let bytes = hint().seal(&key(1));
    check("hint.json", &bytes);
    let opened = Hint::open(&bytes).expect("what was sealed opens");
    assert_eq!(opened, (node(1), hint()));
}

#[test]
fn capability_records_are_these_bytes() {
    let bytes = capability().seal(&key(1));
    check("capability.json", &bytes);
    let opened = CapabilityRecord::open(&bytes).expect("what was sealed opens");
    assert_eq!(opened, (node(1), capability()));
}

#[test]
fn white_space_and_order_of_members_do_not_matter() {
    let bytes = advert().seal(&key(1));
    let value: serde_json::Value = serde_json::from_slice(&bytes).expect("it is JSON");
    let pretty = serde_json::to_vec_pretty(&value).expect("it is JSON");
    assert_ne!(pretty, bytes);
    assert_eq!(
        Advert::open(&pretty).expect("the same content"),
        (node(1), advert())
    );
}

#[test]
fn members_of_a_later_version_are_verified_and_ignored() {
    let vector = path("advert_with_later_member.json");
    let bytes = std::fs::read(&vector).expect("the vector is there");
    assert_eq!(
        Advert::open(bytes.trim_ascii()).expect("it verifies"),
        (node(1), advert())
    );
}

fn check(name: &str, bytes: &[u8]) {
    let path = path(name);
    if std::env::var_os("THRUM_BLESS").is_some() {
        std::fs::write(&path, [bytes, b"\n"].concat()).expect("the vector can be written");
    }
    let kept = std::fs::read(&path).expect("the vector is there");
    assert_eq!(
        String::from_utf8_lossy(kept.trim_ascii_end()),
        String::from_utf8_lossy(bytes),
        "{name} changed on the wire"
    );
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(name)
}
