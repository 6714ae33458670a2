//! The specification's vector, addresses, and descriptions as browsers make them.

#![cfg(not(target_arch = "wasm32"))]

use super::sdp::{SdpError, answer, fingerprint, renamed};
use super::*;
use proptest::prelude::*;

const CLIENT: &str = "3e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870";
const SERVER: &str = "30fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99";
const CERTHASH: &str = "uEiAw_J9GnCB0Gd_dCqtfJ6hslzyU5AVI25N1zKLpFZc7mQ";
const PEER: &str = "12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE";

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hash(text: &str) -> Fingerprint {
    Fingerprint(unhex(text).try_into().unwrap())
}

fn parse(text: &str) -> Option<Server> {
    Server::parse(&text.parse().unwrap())
}

fn server() -> Server {
    parse(&format!(
        "/ip4/127.0.0.1/udp/9090/webrtc-direct/certhash/{CERTHASH}"
    ))
    .unwrap()
}

#[test]
fn the_prologue_is_that_of_the_specification() {
    let expected = "6c69627032702d7765627274632d6e6f6973653a\
        12203e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870\
        122030fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99";
    assert_eq!(prologue(&hash(CLIENT), &hash(SERVER)), unhex(expected));
}

#[test]
fn an_address_says_where_and_who() {
    let found = server();
    assert_eq!(found.ip.to_string(), "127.0.0.1");
    assert_eq!(found.port, 9090);
    assert_eq!(found.certificate, hash(SERVER));
    assert_eq!(found.peer, None);
    let v6 = format!("/ip6/::1/udp/1/webrtc-direct/certhash/{CERTHASH}/p2p/{PEER}");
    assert_eq!(parse(&v6).unwrap().peer, Some(PEER.parse().unwrap()));
}

#[test]
fn other_addresses_are_left_to_others() {
    let direct = format!("webrtc-direct/certhash/{CERTHASH}");
    let no = [
        "/ip4/127.0.0.1/udp/9090/webrtc-direct".to_owned(),
        format!("/ip4/127.0.0.1/tcp/9090/{direct}"),
        format!("/ip4/127.0.0.1/udp/0/{direct}"),
        format!("/ip4/0.0.0.0/udp/9090/{direct}"),
        format!("/ip6/::/udp/9090/{direct}"),
        format!("/dns4/localhost/udp/9090/{direct}"),
        format!("/ip4/127.0.0.1/udp/9090/{direct}/p2p/{PEER}/p2p-circuit"),
        format!("/ip4/127.0.0.1/udp/9090/{direct}/p2p-circuit"),
        format!("/webrtc/p2p/{PEER}"),
    ];
    for text in no {
        assert_eq!(parse(&text), None, "{text}");
    }
    // SHA-512 of nothing: browsers would have to be told another hash.
    let long = Multihash::<64>::wrap(0x13, &[7; 64]).unwrap();
    let hashed = Multiaddr::empty()
        .with(Protocol::Ip4([127, 0, 0, 1].into()))
        .with(Protocol::Udp(1))
        .with(Protocol::WebRTCDirect)
        .with(Protocol::Certhash(long));
    assert_eq!(Server::parse(&hashed), None);
}

#[test]
fn a_name_has_the_prefix_and_letters_that_all_servers_take() {
    let name = ufrag(&std::array::from_fn(|n| (n * 37) as u8));
    let random = name.strip_prefix("libp2p+webrtc+v1/").unwrap();
    assert_eq!(random.len(), UFRAG_RANDOM);
    assert!((22..=256).contains(&name.len()));
    let is_letter = |it: char| it.is_ascii_alphanumeric() || it == '+' || it == '/';
    assert!(name.chars().all(is_letter), "{name}");
    assert_ne!(name, ufrag(&[0; UFRAG_RANDOM]));
}

#[test]
fn a_certificate_is_read_back_from_a_description() {
    let sdp = answer(&server(), "name");
    assert_eq!(fingerprint(&sdp), Ok(hash(SERVER)));
    let other = sdp.replace("a=fingerprint:sha-256", "A=FINGERPRINT:SHA-256");
    assert_eq!(fingerprint(&other.to_lowercase()), Ok(hash(SERVER)));
    assert_eq!(
        fingerprint("v=0\r\n"),
        Err(SdpError::Missing("a=fingerprint:"))
    );
    for wrong in [
        sdp.replace("sha-256", "sha-1"),
        sdp.replace("30:FC", "3:FC"),
        sdp.replace("30:FC", "+3:FC"),
        sdp.replace("30:FC", "30:FC:FC"),
        sdp.replace(":3B:99", ""),
    ] {
        let found = fingerprint(&wrong);
        assert!(matches!(found, Err(SdpError::Fingerprint(_))), "{found:?}");
    }
}

#[test]
fn an_offer_gets_its_name_and_keeps_the_rest() {
    let offer = "v=0\r\na=ice-ufrag:abcd\r\na=ice-pwd:secret\r\na=mid:0\r\n";
    assert_eq!(
        renamed(offer, "new"),
        Ok("v=0\r\na=ice-ufrag:new\r\na=ice-pwd:new\r\na=mid:0\r\n".to_owned())
    );
    assert_eq!(
        renamed("v=0\r\na=ice-pwd:secret\r\n", "new"),
        Err(SdpError::Missing("a=ice-ufrag:"))
    );
}

#[test]
fn the_answer_says_what_the_address_does() {
    let sdp = answer(&server(), "libp2p+webrtc+v1/x");
    for line in [
        "c=IN IP4 127.0.0.1",
        "m=application 9090 UDP/DTLS/SCTP webrtc-datachannel",
        "a=ice-ufrag:libp2p+webrtc+v1/x",
        "a=ice-pwd:libp2p+webrtc+v1/x",
        "a=setup:passive",
        "a=max-message-size:16384",
        "a=candidate:1 1 UDP 1467250027 127.0.0.1 9090 typ host",
    ] {
        assert!(sdp.contains(&format!("\r\n{line}\r\n")), "{line}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC*") {
        fingerprint(&text).ok();
        fingerprint(&format!("a=fingerprint:sha-256 {text}")).ok();
        renamed(&text, "name").ok();
    }
}
