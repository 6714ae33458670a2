//! What goes over a signalling stream.

use crate::limits::MAX_CANDIDATE;

/// The protobuf message of the specification. On the stream a varint length is before each.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Wire {
    /// [`Kind`].
    #[prost(enumeration = "Kind", optional, tag = "1")]
    pub kind: Option<i32>,
    /// A description, or a candidate in JSON.
    #[prost(string, optional, tag = "2")]
    pub data: Option<String>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// An SDP offer.
    SdpOffer = 0,
    /// An SDP answer.
    SdpAnswer = 1,
    /// An ICE candidate.
    IceCandidate = 2,
}

/// A message, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An SDP offer.
    Offer(String),
    /// An SDP answer.
    Answer(String),
    /// An ICE candidate: JSON of `RTCIceCandidate.toJSON()`.
    Candidate(String),
    /// The peer has found all its candidates. Not sent: js-libp2p does not either, and it stops
    /// listening when it comes as an empty string.
    EndOfCandidates,
}

/// A message that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Its type is missing or none that is known.
    #[error("a signalling message of an unknown type ({0:?})")]
    Kind(Option<i32>),
    /// A description is missing.
    #[error("a signalling message without its description")]
    Empty,
    /// A candidate is too long.
    #[error("a candidate of {0} bytes, more than the {MAX_CANDIDATE} that are taken")]
    Long(usize),
}

impl TryFrom<Wire> for Message {
    type Error = MessageError;

    fn try_from(wire: Wire) -> Result<Self, MessageError> {
        let unknown = MessageError::Kind(wire.kind);
        let kind = wire.kind.and_then(|kind| Kind::try_from(kind).ok());
        let data = wire.data.unwrap_or_default();
        match kind.ok_or(unknown)? {
            Kind::SdpOffer if !data.is_empty() => Ok(Self::Offer(data)),
            Kind::SdpAnswer if !data.is_empty() => Ok(Self::Answer(data)),
            Kind::SdpOffer | Kind::SdpAnswer => Err(MessageError::Empty),
            Kind::IceCandidate if matches!(data.trim(), "" | "null" | "\"\"") => {
                Ok(Self::EndOfCandidates)
            }
            Kind::IceCandidate if data.len() > MAX_CANDIDATE => Err(MessageError::Long(data.len())),
            Kind::IceCandidate => Ok(Self::Candidate(data)),
        }
    }
}

impl From<Message> for Wire {
    fn from(message: Message) -> Self {
        let (kind, data) = match message {
            Message::Offer(sdp) => (Kind::SdpOffer, sdp),
            Message::Answer(sdp) => (Kind::SdpAnswer, sdp),
            Message::Candidate(json) => (Kind::IceCandidate, json),
            Message::EndOfCandidates => (Kind::IceCandidate, "null".to_owned()),
        };
        Self {
            kind: Some(kind.into()),
            data: Some(data),
        }
    }
}
