//! Frames: what one message of a data channel carries.
//!
//! A frame is a varint length and a protobuf message, as the libp2p specification of WebRTC says
//! ("Multiplexing"): `flag` is field 1, `message` field 2. Field 1000, `max_data`, is ours: how many
//! bytes of payload its sender is ready to take on this stream, counted from the stream's start.
//! Peers that do not know it skip it, as protobuf has them do.

use prost::Message as _;

use crate::limits::{MAX_FRAME, MAX_PAYLOAD};

/// What a frame says about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Flag {
    /// Its sender sends no more.
    Fin = 0,
    /// Its sender reads no more.
    StopSending = 1,
    /// Its sender gives the stream up.
    Reset = 2,
    /// Its sender has seen the FIN.
    FinAck = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Wire {
    #[prost(enumeration = "Flag", optional, tag = "1")]
    flag: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    message: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "1000")]
    max_data: Option<u64>,
}

/// A frame. The payload comes before what the flag says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// What happens to the stream. A flag that is not known here reads as none.
    pub flag: Option<Flag>,
    /// At most [`MAX_PAYLOAD`] bytes when written.
    pub payload: Vec<u8>,
    /// bytes; how much the sender takes from the stream's start on.
    pub max_data: Option<u64>,
}

/// What is wrong with the bytes of a channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is larger than the specification allows.
    #[error("a frame of {bytes} bytes, more than the {MAX_FRAME} that libp2p allows")]
    TooLong {
        /// As the prefix says.
        bytes: u64,
    },
    /// The length does not end.
    #[error("a frame's length is no varint")]
    Length,
    /// What the length covers is no message.
    #[error("a frame is no protobuf message: {0}")]
    Protobuf(String),
}

impl Frame {
    /// The bytes of the frame, its length first.
    ///
    /// # Panics
    /// For a payload of more than [`MAX_PAYLOAD`] bytes.
    pub fn encode(self) -> Vec<u8> {
        assert!(self.payload.len() <= MAX_PAYLOAD, "payloads are cut before");
        let wire = Wire {
            flag: self.flag.map(i32::from),
            message: (!self.payload.is_empty()).then_some(self.payload),
            max_data: self.max_data,
        };
        wire.encode_length_delimited_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let wire = Wire::decode(bytes).map_err(|error| FrameError::Protobuf(error.to_string()))?;
        Ok(Self {
            flag: wire.flag.and_then(|flag| Flag::try_from(flag).ok()),
            payload: wire.message.unwrap_or_default(),
            max_data: wire.max_data,
        })
    }
}

/// Finds the frames in the messages of a channel, however they are cut.
///
/// Every implementation that we know sends one frame in one message; the specification does not
/// say so.
#[derive(Debug, Default)]
pub struct Decoder {
    /// the beginning of a frame that is not whole, less than [`MAX_FRAME`] bytes
    rest: Vec<u8>,
}

impl Decoder {
    /// Takes a message and gives every frame that is whole now to `take`.
    ///
    /// # Errors
    /// [`FrameError`]; nothing more can be read then.
    pub fn push(&mut self, message: &[u8], mut take: impl FnMut(Frame)) -> Result<(), FrameError> {
        if self.rest.is_empty() {
            let read = read_all(message, &mut take)?;
            self.rest.extend_from_slice(&message[read..]);
            return Ok(());
        }
        // Never much more than a frame: a long message is taken in pieces.
        for piece in message.chunks(MAX_FRAME) {
            self.rest.extend_from_slice(piece);
            let read = read_all(&self.rest, &mut take)?;
            self.rest.drain(..read);
        }
        Ok(())
    }
}

/// Reads whole frames; gives how many bytes they were.
fn read_all(bytes: &[u8], take: &mut impl FnMut(Frame)) -> Result<usize, FrameError> {
    let mut read = 0;
    while let Some((prefix, length)) = read_length(&bytes[read..])? {
        let Some(body) = bytes[read + prefix..].get(..length) else {
            break;
        };
        take(Frame::decode(body)?);
        read += prefix + length;
    }
    Ok(read)
}

/// The bytes of the prefix and those after it; none while the prefix is not whole.
fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, FrameError> {
    // Three bytes hold all lengths that are allowed.
    let mut length = 0_u64;
    for (n, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if n == 9 && *byte > 1 {
            return Err(FrameError::Length);
        }
        length |= bits << (7 * n);
        if byte & 0x80 != 0 {
            continue;
        }
        let prefix = n + 1;
        let too_long = FrameError::TooLong { bytes: length };
        let length = usize::try_from(length).map_err(|_| too_long.clone())?;
        return match prefix.checked_add(length) {
            Some(whole) if whole <= MAX_FRAME => Ok(Some((prefix, length))),
            Some(_) | None => Err(too_long),
        };
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
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
}
