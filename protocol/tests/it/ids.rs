//! Names of peers, tasks and models as text.

use crate::samples::node;
use proptest::prelude::*;
use thrum_protocol::id::{IdError, ModelId, NodeId, TaskId};

/// As js-libp2p and rust-libp2p print the peer id of this key (the example of libp2p/specs,
/// peer-ids, and the public key inside it).
const SPEC_PEER_ID: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

#[test]
fn a_node_id_is_the_libp2p_peer_id() {
    let id: NodeId = SPEC_PEER_ID
        .parse()
        .expect("the example of the specification");
    assert_eq!(id.to_string(), SPEC_PEER_ID);
    assert_eq!(id.fmt_short(), SPEC_PEER_ID[44..]);
    let bytes = id.to_peer_id_bytes();
    assert_eq!(bytes[..6], [0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
    assert_eq!(NodeId::from_peer_id_bytes(&bytes), Ok(id));
}

#[test]
fn the_peer_ids_of_the_golden_keys() {
    assert_eq!(node(1).to_string(), PEER_ID_OF_ONES);
    assert_eq!(node(2).to_string(), PEER_ID_OF_TWOS);
}

/// Computed with OpenSSL's Ed25519 and a base58 of its own.
const PEER_ID_OF_ONES: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
const PEER_ID_OF_TWOS: &str = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";

#[test]
fn ids_of_other_keys_and_other_text_are_refused() {
    let rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
    for text in [
        "",
        "1",
        rsa,
        "not base58: 0OIl",
        &SPEC_PEER_ID[1..],
        &"1".repeat(65),
    ] {
        assert_eq!(text.parse::<NodeId>(), Err(IdError::NotAPeerId), "{text}");
    }
}

#[test]
fn keys_that_cannot_sign_are_no_ids() {
    // The neutral element, a point of order two, and no point at all.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let mut order_two = [0xff; 32];
    order_two[0] = 0xec;
    order_two[31] = 0x7f;
    let mut no_point = [0; 32];
    no_point[0] = 2;
    for bytes in [neutral, order_two, no_point] {
        assert_eq!(NodeId::from_public_key(bytes), Err(IdError::NotAPoint));
    }
}

#[test]
fn hexadecimal_ids_are_lower_case_and_of_full_length() {
    let id = TaskId([0x0f; 16]);
    assert_eq!(id.to_string(), "0f".repeat(16));
    assert_eq!(id.to_string().parse(), Ok(id));
    let wrong = IdError::NotHex { expected: 32 };
    for text in [
        "",
        "0F0F",
        &"0F".repeat(16),
        &"0g".repeat(16),
        &"0f".repeat(17),
        "ééééééééééééééééé",
    ] {
        assert_eq!(text.parse::<TaskId>(), Err(wrong), "{text}");
    }
}

proptest! {
    #[test]
    fn ids_survive_their_text(task: [u8; 16], model: [u8; 32], key in 1..=255_u8) {
        prop_assert_eq!(TaskId(task).to_string().parse(), Ok(TaskId(task)));
        prop_assert_eq!(ModelId(model).to_string().parse(), Ok(ModelId(model)));
        prop_assert_eq!(node(key).to_string().parse(), Ok(node(key)));
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = text.parse::<NodeId>().is_ok();
        let _ = text.parse::<TaskId>().is_ok();
        let _ = text.parse::<ModelId>().is_ok();
    }
}
