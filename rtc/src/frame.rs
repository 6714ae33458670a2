//! Frames: what one message of a data channel carries.
//!
//! A frame is a varint length and a protobuf message, as the libp2p specification of WebRTC says
//! ("Multiplexing"): `flag` is field 1, `message` field 2. Field 1000, `max_data`, is ours: how many
//! bytes of payload its sender is ready to take on this stream, counted from the stream's start.
//! Peers that do not know it skip it, as protobuf has them do.

#[cfg(test)]
mod tests;

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
