//! What a peer does that no honest one does. Silence and broken links are not among it: they
//! happen to the honest.

use thrum_protocol::id::NodeId;
use thrum_protocol::signed::OpenError;

/// One breach of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misbehaviour {
    #[error("sent bytes that are no message: {0}")]
    Garbage(String),
    #[error("sent a message with a wrong signature")]
    WrongSignature,
    #[error("sent a message signed by another peer (…{})", .0.fmt_short())]
    ForeignSender(NodeId),
    #[error("sent a message meant for another peer (…{})", .0.fmt_short())]
    WrongRecipient(NodeId),
    #[error("sent a message of another task")]
    WrongTask,
    #[error("sent a message of attempt {got} in attempt {expected}")]
    WrongAttempt { expected: u32, got: u32 },
    #[error("sent message number {got} where {expected} was due")]
    WrongNumber { expected: u64, got: u64 },
    #[error("sent `{0}`, which is not due")]
    NotDue(&'static str),
    #[error("repeated tokens: {got} where {expected} was due")]
    RepeatedTokens { expected: u32, got: u32 },
    #[error("left tokens out: {got} where {expected} was due")]
    MissingTokens { expected: u32, got: u32 },
    #[error("sent a tokens message without tokens")]
    NoTokens,
    #[error("left out the log probabilities that were asked for")]
    NoLogprobs,
    #[error("sent more tokens than were asked for ({max})")]
    TooManyTokens { max: u32 },
    #[error("sent an answer of more than {max_bytes} bytes")]
    AnswerTooLong { max_bytes: usize },
    #[error("counts {claimed} tokens where {received} were received")]
    WrongCount { claimed: u32, received: u32 },
    #[error("cuts {bytes} bytes off the answer that are no stop string")]
    WrongTrim { bytes: u32 },
    #[error("drops what the context has no room for, though nothing may be dropped")]
    ForbiddenTruncation,
    #[error("floods with heartbeats")]
    HeartbeatFlood,
    #[error("floods with streams")]
    StreamFlood,
    #[error("floods with announcements")]
    AnnouncementFlood,
    #[error("repeated a task that was seen before")]
    Replay,
}

impl From<OpenError> for Misbehaviour {
    fn from(error: OpenError) -> Self {
        if matches!(error, OpenError::WrongSignature) {
            Self::WrongSignature
        } else {
            Self::Garbage(error.to_string())
        }
    }
}
