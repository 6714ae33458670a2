//! Why a connection was not made, and at which stage.

use std::fmt;

/// How far the making of a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Reaching the peer through a relay.
    Carrier,
    /// Agreeing on the signalling protocol.
    Signalling,
    /// The offer: making it, or waiting for it.
    Offer,
    /// The answer: making it, or waiting for it.
    Answer,
    /// Finding a way from browser to browser.
    Connect,
    /// Proving who is at the other end (`/webrtc-direct`).
    Authenticate,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Carrier => "reaching the peer through a relay",
            Self::Signalling => "agreeing on the signalling protocol",
            Self::Offer => "exchanging the offer",
            Self::Answer => "exchanging the answer",
            Self::Connect => "finding a direct way",
            Self::Authenticate => "proving who the peer is",
        })
    }
}

/// A connection that was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no direct connection: {stage} failed: {reason}")]
pub struct ConnectError {
    /// Where it ended.
    pub stage: Stage,
    /// What was said there.
    pub reason: String,
}

impl ConnectError {
    /// An error at a stage.
    pub fn new(stage: Stage, reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self { stage, reason }
    }
}
