//! Peers that know less than the whole specification.

#![cfg(not(target_arch = "wasm32"))]

use std::time::Duration;

use super::{Peer, Ready, Stream};
use crate::frame::{Decoder, Flag, Frame};
use crate::limits::{CLOSE_TIMEOUT, MAX_PAYLOAD};

const START: Duration = Duration::from_secs(1_000);

/// bytes; what webrtc-data of Rust reads a message into.
const SHORT: usize = 8 * 1024;

fn open(peer: Peer) -> Stream {
    let mut stream = Stream::new(START);
    stream.set_peer(peer);
    stream.handle_open();
    stream
}

fn messages(stream: &mut Stream) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| stream.transmit(START, 0, true)).collect()
}

fn flags(stream: &mut Stream) -> Vec<Flag> {
    let mut decoder = Decoder::default();
    let mut flags = Vec::new();
    for message in messages(stream) {
        decoder
            .push(&message, |frame| flags.extend(frame.flag))
            .unwrap();
    }
    flags
}

fn hear(stream: &mut Stream, flag: Flag) {
    let frame = Frame {
        flag: Some(flag),
        ..Frame::default()
    };
    stream.handle_message(&frame.encode());
}

#[test]
fn an_unknown_peer_is_answered_when_it_is_known_to_understand() {
    let mut stream = open(Peer::Unknown);
    hear(&mut stream, Flag::Fin);
    assert_eq!(flags(&mut stream), []);
    assert_eq!(stream.read(&mut [0]), Ok(Ready::Now(0)));
    stream.finish();
    assert_eq!(flags(&mut stream), [Flag::Fin]);
    assert!(!stream.heard_fin_ack());
    hear(&mut stream, Flag::FinAck);
    assert!(stream.heard_fin_ack());
    assert!(!stream.wants_channel_closed(), "the answer is still owed");
    stream.set_peer(Peer::Full);
    assert_eq!(flags(&mut stream), [Flag::FinAck]);
}

#[test]
fn a_plain_peer_is_never_answered_and_not_waited_for_without_end() {
    for known_before in [true, false] {
        let first = if known_before {
            Peer::Plain
        } else {
            Peer::Unknown
        };
        let mut stream = open(first);
        hear(&mut stream, Flag::Fin);
        stream.set_peer(Peer::Plain);
        stream.finish();
        assert_eq!(flags(&mut stream), [Flag::Fin]);
        assert!(!stream.wants_channel_closed());
        assert_eq!(stream.next_timeout(), Some(START + CLOSE_TIMEOUT));
        stream.handle_timeout(START + CLOSE_TIMEOUT, 0);
        assert!(stream.wants_channel_closed());
    }
}

#[test]
fn messages_are_short_until_the_peer_is_known_to_take_long_ones() {
    for (peer, limit) in [
        (Peer::Unknown, SHORT),
        (Peer::Plain, SHORT),
        (Peer::Full, 2 * SHORT),
    ] {
        let mut stream = open(peer);
        let sent = vec![7; 3 * MAX_PAYLOAD];
        assert_eq!(stream.write(&sent), Ok(Ready::Now(sent.len())));
        let messages = messages(&mut stream);
        assert!(messages.iter().all(|it| it.len() <= limit), "{peer:?}");
        assert!(messages[0].len() > limit - 32, "{peer:?}");
        let mut payload = 0;
        let mut decoder = Decoder::default();
        for message in &messages {
            let take = |frame: Frame| payload += frame.payload.len();
            decoder.push(message, take).unwrap();
        }
        assert_eq!(payload, sent.len());
    }
}
