//! The bytes of frames, and what is no frame.

#![cfg(not(target_arch = "wasm32"))]

use super::*;
use proptest::prelude::*;

fn frames(messages: &[&[u8]]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = Decoder::default();
    let mut found = Vec::new();
    for message in messages {
        decoder.push(message, |frame| found.push(frame))?;
    }
    Ok(found)
}

#[test]
fn the_bytes_are_those_of_the_specification() {
    let flag = |flag| Frame {
        flag: Some(flag),
        ..Frame::default()
    };
    // What js-libp2p 6.0.33 sends for its four flags and for the payload "hi".
    assert_eq!(flag(Flag::Fin).encode(), [2, 0x08, 0]);
    assert_eq!(flag(Flag::StopSending).encode(), [2, 0x08, 1]);
    assert_eq!(flag(Flag::Reset).encode(), [2, 0x08, 2]);
    assert_eq!(flag(Flag::FinAck).encode(), [2, 0x08, 3]);
    let payload = Frame {
        payload: b"hi".to_vec(),
        ..Frame::default()
    };
    assert_eq!(payload.encode(), [4, 0x12, 2, b'h', b'i']);
}

#[test]
fn the_largest_frame_is_as_large_as_is_allowed() {
    let frame = Frame {
        flag: Some(Flag::FinAck),
        payload: vec![7; MAX_PAYLOAD],
        max_data: Some(u64::MAX),
    };
    let bytes = frame.clone().encode();
    assert_eq!(bytes.len(), MAX_FRAME);
    assert_eq!(frames(&[&bytes]), Ok(vec![frame]));
}

#[test]
fn a_flag_of_tomorrow_and_fields_of_tomorrow_are_skipped() {
    let bytes = [7, 0x08, 9, 0x12, 1, b'a', 0x18, 5];
    let frame = Frame {
        payload: b"a".to_vec(),
        ..Frame::default()
    };
    assert_eq!(frames(&[&bytes]), Ok(vec![frame]));
}

#[test]
fn a_length_that_is_too_large_is_refused_before_its_bytes_come() {
    // 16,383 with a prefix of two bytes is one byte more than fits.
    let refused = Err(FrameError::TooLong { bytes: 16_383 });
    assert_eq!(frames(&[&[0xff, 0x7f]]), refused);
    let bytes = u64::MAX;
    assert_eq!(
        frames(&[&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]]),
        Err(FrameError::TooLong { bytes })
    );
    assert_eq!(frames(&[&[255; 10]]), Err(FrameError::Length));
}

#[test]
fn what_is_no_message_is_refused() {
    let found = frames(&[&[2, 0x12, 200]]);
    assert!(matches!(found, Err(FrameError::Protobuf(_))), "{found:?}");
}

fn frame() -> impl Strategy<Value = Frame> {
    let flag = prop_oneof![
        Just(None),
        Just(Some(Flag::Fin)),
        Just(Some(Flag::StopSending)),
        Just(Some(Flag::Reset)),
        Just(Some(Flag::FinAck))
    ];
    let payload = proptest::collection::vec(any::<u8>(), 0..300);
    (flag, payload, any::<Option<u64>>()).prop_map(|(flag, payload, max_data)| Frame {
        flag,
        payload,
        max_data,
    })
}

proptest! {
    #[test]
    fn frames_come_back_however_the_bytes_are_cut(
        sent in proptest::collection::vec(frame(), 0..20),
        cuts in proptest::collection::vec(1_usize..400, 1..40),
    ) {
        let bytes: Vec<u8> = sent.iter().flat_map(|it| it.clone().encode()).collect();
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (message, after) = rest.split_at(rest.len().min(*cut));
            decoder.push(message, |frame| found.push(frame)).unwrap();
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, sent);
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_little_is_kept(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40),
    ) {
        let mut decoder = Decoder::default();
        for message in &messages {
            let read = decoder.push(message, |_| ());
            prop_assert!(decoder.rest.len() <= 2 * MAX_FRAME);
            if read.is_err() {
                break;
            }
        }
    }
}
