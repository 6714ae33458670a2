//! Why a stream ended otherwise than by FIN.

use std::io;

use crate::frame::FrameError;

/// Why a half of a stream ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The peer gave it up.
    #[error("the peer reset the stream")]
    ResetByPeer,
    /// This side gave it up.
    #[error("the stream was reset on this side")]
    ResetHere,
    /// The peer reads no more.
    #[error("the peer reads no more of this stream")]
    Stopped,
    /// It was finished before.
    #[error("nothing can be written after the end of a stream")]
    Finished,
    /// The channel did not open in time.
    #[error("the stream's channel did not open")]
    NotOpened,
    /// The peer took nothing of the last words for a while.
    #[error("the peer did not take the end of the stream")]
    Unanswered,
    /// The channel went away before the end.
    #[error("the channel was closed before the stream had ended")]
    ChannelClosed,
    /// The peer does not keep to the window that it was given.
    #[error("the peer sent {received} bytes and was allowed {allowed}")]
    BeyondWindow {
        /// bytes; from the stream's start on
        received: u64,
        /// bytes; from the stream's start on
        allowed: u64,
    },
    /// The peer, which knows no windows, sends faster than is read.
    #[error("{unread} bytes wait to be read, more than the {allowed} that are kept")]
    Unread {
        /// bytes
        unread: usize,
        /// bytes
        allowed: usize,
    },
    /// The peer sent something after its end.
    #[error("the peer sent {bytes} bytes after the end of its stream")]
    AfterEnd {
        /// bytes
        bytes: usize,
    },
    /// The peer does not speak frames.
    #[error("the peer sent {0}")]
    Frame(FrameError),
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match &error {
            StreamError::ResetByPeer => io::ErrorKind::ConnectionReset,
            StreamError::ResetHere => io::ErrorKind::ConnectionAborted,
            StreamError::Stopped | StreamError::Finished => io::ErrorKind::BrokenPipe,
            StreamError::NotOpened | StreamError::Unanswered => io::ErrorKind::TimedOut,
            StreamError::ChannelClosed => io::ErrorKind::UnexpectedEof,
            StreamError::BeyondWindow { .. }
            | StreamError::Unread { .. }
            | StreamError::AfterEnd { .. }
            | StreamError::Frame(_) => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}
