//! RFC 5769's vectors, round trips, and bytes that mean nothing.

use super::write::{Draft, channel_data};
use super::*;
use md5::{Digest, Md5};
use proptest::prelude::*;

/// RFC 5769 §2.1: a request with a short-term password.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae\
    802200105354554e207465737420636c69656e74\
    002400046e0001ff\
    80290008932ff9b151263b36\
    000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2\
    80280004e57a3bcf";

/// RFC 5769 §2.2: an answer with an IPv4 address.
const IPV4_ANSWER: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000080001a147e112a643\
    000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7\
    80280004c07d4c96";

/// RFC 5769 §2.3: an answer with an IPv6 address.
const IPV6_ANSWER: &str = "010100482112a442b7e7a701bc34d686fa87dfae\
    8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9\
    00080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";

/// RFC 5769 §2.4: a request with long-term credentials.
const LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e\
    00060012e3839ee38388e383aae38383e382afe382b90000\
    0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341\
    0014000b6578616d706c652e6f726700\
    00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

const SHORT_TERM_PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn reads_the_request_of_the_specification() {
    let bytes = unhex(REQUEST);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.class, Class::Request);
    assert_eq!(message.method, Method::Binding);
    assert_eq!(message.transaction.0, bytes[8..20]);
    assert_eq!(message.text(attribute::USERNAME), Some("evtj:h6vY"));
    assert_eq!(message.number(attribute::PRIORITY), Some(0x6e00_01ff));
    assert!(message.not_understood().is_empty());
    assert!(message.integrity_holds(SHORT_TERM_PASSWORD));
    assert!(!message.integrity_holds(b"another"));
}

#[test]
fn reads_both_families_of_addresses_in_the_specification() {
    for (text, expected) in [
        (IPV4_ANSWER, "192.0.2.1:32853"),
        (IPV6_ANSWER, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ] {
        let bytes = unhex(text);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.class, Class::Success);
        let address = message.address(attribute::XOR_MAPPED_ADDRESS).unwrap();
        assert_eq!(address.to_string(), expected);
        assert!(message.integrity_holds(SHORT_TERM_PASSWORD));
    }
}

#[test]
fn reads_long_term_credentials_of_the_specification() {
    let bytes = unhex(LONG_TERM);
    let message = Message::parse(&bytes).unwrap();
    let username = message.text(attribute::USERNAME).unwrap();
    assert_eq!(username, "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}");
    assert_eq!(message.text(attribute::REALM), Some("example.org"));
    let nonce = message.text(attribute::NONCE);
    assert_eq!(nonce, Some("f//499k954d6OL34oL9FSTvy64sA"));
    let key = Md5::digest(format!("{username}:example.org:TheMatrIX"));
    assert!(message.integrity_holds(&key));
}

#[test]
fn one_changed_bit_is_noticed() {
    let whole = unhex(REQUEST);
    let fingerprint_at = whole.len() - 8;
    for at in (0..whole.len()).filter(|at| !(fingerprint_at..fingerprint_at + 2).contains(at)) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        let holds = Message::parse(&bytes).is_ok();
        assert!(!holds, "byte {at} is covered by the fingerprint");
    }
}

#[test]
fn what_stands_behind_the_integrity_is_not_read() {
    let transaction = TransactionId([7; 12]);
    let draft = Draft::new(Class::Request, Method::Allocate, transaction)
        .with(attribute::USERNAME, b"one")
        .signed(b"key");
    let mut bytes = draft;
    bytes.extend([0, 0x0D, 0, 4, 0, 0, 0, 9]); // LIFETIME 9, by whoever sits in between.
    let n_bytes = length_field(bytes.len() - HEADER_BYTES);
    bytes[2..4].copy_from_slice(&n_bytes);
    let message = Message::parse(&bytes).unwrap();
    assert!(message.integrity_holds(b"key"));
    assert_eq!(message.number(attribute::LIFETIME), None);
}

#[test]
fn bad_bytes_are_named() {
    let check = |bytes: &[u8], expected: ParseError| {
        assert_eq!(Message::parse(bytes).unwrap_err(), expected);
    };
    let whole = Draft::new(Class::Request, Method::Binding, TransactionId([1; 12])).unsigned();
    check(&[], ParseError::NoHeader);
    check(&whole[..19], ParseError::NoHeader);
    check(&channel_data(0x4000, &[0; 32]), ParseError::NoHeader);
    let mut other_cookie = whole.clone();
    other_cookie[4] ^= 1;
    check(&other_cookie, ParseError::NoHeader);
    let mut longer = whole.clone();
    longer.extend([0; 4]);
    let (said_bytes, got_bytes) = (0, 4);
    check(
        &longer,
        ParseError::WrongLength {
            said_bytes,
            got_bytes,
        },
    );
    let mut beyond = whole;
    beyond[3] = 4;
    beyond.extend([0, 6, 0, 1]);
    check(&beyond, ParseError::AttributeTooLong { kind: 6 });
}

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        read_everything(&bytes);
    }

    /// Past the header, so that the attributes are reached.
    #[test]
    fn any_attributes_never_panic(words in prop::collection::vec(any::<[u8; 4]>(), 0..32), kind in 0_u16..0x4000) {
        let mut bytes = Draft::new(Class::Request, Method::Binding, TransactionId([2; 12])).unsigned();
        bytes[..2].copy_from_slice(&kind.to_be_bytes());
        bytes.extend(words.concat());
        let n_bytes = length_field(bytes.len() - HEADER_BYTES);
        bytes[2..4].copy_from_slice(&n_bytes);
        read_everything(&bytes);
    }

    #[test]
    fn what_is_written_is_read(
        transaction in any::<[u8; 12]>(),
        method in 0_u16..0x1000,
        class in prop::sample::select(vec![Class::Error, Class::Indication, Class::Request, Class::Success]),
        address in address(),
        text in "[ -~]{0,40}",
        key in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let bytes = Draft::new(class, Method::of(method), TransactionId(transaction))
            .with(attribute::REALM, text.as_bytes())
            .with_address(attribute::XOR_PEER_ADDRESS, address)
            .with_error(438, "Stale Nonce")
            .signed(&key);
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.class, class);
        prop_assert_eq!(message.method, Method::of(method));
        prop_assert_eq!(message.transaction.0, transaction);
        prop_assert_eq!(message.text(attribute::REALM), Some(text.as_str()));
        prop_assert_eq!(message.address(attribute::XOR_PEER_ADDRESS), Some(address));
        prop_assert_eq!(&message.value(attribute::ERROR_CODE).unwrap()[..4], &[0, 0, 4, 38]);
        prop_assert!(message.integrity_holds(&key));
    }
}

fn read_everything(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else {
        return;
    };
    for kind in 0..0x30 {
        message.text(kind);
        message.number(kind);
        message.address(kind);
        message.addresses(kind);
    }
    message.not_understood();
    message.integrity_holds(b"key");
}
