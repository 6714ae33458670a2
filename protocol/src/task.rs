//! The words of a task: a prompt goes out, tokens come back.
//!
//! One stream carries one *attempt*:
//! 1. asker → provider: `prompt`
//! 2. provider → asker: `accept`, or `refuse` and the end
//! 3. provider → asker: `tokens` (in order, no gaps) and `heartbeat` while it computes
//! 4. provider → asker: `done` or `failed`, and the end
//!
//! The asker may say `cancel` at any time. `number` counts each side's messages from 0, so that a
//! repeated, lost or re-ordered message shows. `recipient_id`, `task_id` and `attempt` are signed
//! with the rest: a message cannot be used for another peer, task or attempt.

use crate::id::{ModelId, NodeId, TaskId};
use crate::limits::{
    MAX_CHAT_MESSAGES, MAX_DEADLINE, MAX_NEW_TOKENS, MAX_PIECE_BYTES, MAX_PROMPT_BYTES,
    MAX_RESUMED_TOKENS, MAX_STOP_BYTES, MAX_STOP_STRINGS, MAX_TEXT_BYTES, MAX_TOKENS_PER_FRAME,
    MAX_TOP_LOGPROBS,
};
use crate::model::Backend;
use crate::sampling::Sampling;
use crate::signed::{self, OpenError, within};
use crate::time::Millis;
use crate::truncation::{Discarded, Truncation};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Version and purpose of the signature.
const DOMAIN: &str = "thrum/task/1";

/// One message of a task, as it is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMessage {
    /// the task it belongs to
    pub task_id: TaskId,
    /// which attempt at the task, from 1
    pub attempt: u32,
    /// position among this sender's messages of the attempt, from 0
    pub number: u64,
    /// the peer it is meant for
    pub recipient_id: NodeId,
    /// `type` and `payload`
    #[serde(flatten)]
    pub body: TaskBody,
}

/// What a task message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
#[non_exhaustive]
pub enum TaskBody {
    /// provider: I take the task.
    Accept(Accept),
    /// asker: stop, nobody reads on.
    Cancel {},
    /// provider: all tokens are sent.
    Done(Done),
    /// provider: I cannot go on.
    Failed(Refusal),
    /// provider: still computing, nothing to send yet.
    Heartbeat {},
    /// asker: compute this.
    Prompt(Prompt),
    /// provider: I do not take the task.
    Refuse(Refusal),
    /// provider: the next tokens.
    Tokens(Tokens),
}

/// A prompt and how to answer it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// the model that must answer
    pub model: ModelId,
    /// what is asked
    pub input: PromptInput,
    /// tokens that earlier attempts generated: the answer goes on after them
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resumed: Vec<u32>,
    /// tokens to generate at most, the resumed ones included
    pub max_new_tokens: u32,
    /// how tokens are chosen
    pub sampling: Sampling,
    /// texts that end the answer; they are not part of it
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// from acceptance to the last token
    pub deadline_millis: Millis,
    /// what happens where the context is full
    #[serde(default, skip_serializing_if = "Truncation::is_disabled")]
    pub truncation: Truncation,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptInput {
    /// messages, rendered by the model's own chat template
    Chat(Vec<ChatMessage>),
    /// text, as it is
    Text(String),
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// who speaks
    pub role: Role,
    /// what is said
    pub content: String,
}

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// the model
    Assistant,
    /// whoever set the scene
    System,
    /// the person
    User,
}

impl Role {
    /// The name that chat templates use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::User => "user",
        }
    }
}

/// A provider's word that it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// what computes
    pub backend: Backend,
}

/// The next tokens of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// position of the first one in the answer; resumed tokens count
    pub first_index: u32,
    /// the tokens, in order
    pub tokens: Vec<Token>,
}

/// One token: its id in the model's vocabulary and the bytes it stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// id in the vocabulary
    pub id: u32,
    /// its bytes (Base64 in JSON); a character may be split over several tokens
    #[serde(
        serialize_with = "bytes_to_base64",
        deserialize_with = "bytes_from_base64"
    )]
    pub piece: Vec<u8>,
    /// how likely it was, where the prompt asks for it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprob: Option<Box<Logprob>>,
}

/// How likely a token was, and which others were likely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logprob {
    /// minus the natural logarithm of its probability, in millionths
    pub surprisal_micro: u64,
    /// the likeliest tokens at this position, the likeliest first; as many as were asked for
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<Alternative>,
}

/// A token that was likely at a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// id in the vocabulary
    pub id: u32,
    /// its bytes (Base64 in JSON)
    #[serde(
        serialize_with = "bytes_to_base64",
        deserialize_with = "bytes_from_base64"
    )]
    pub piece: Vec<u8>,
    /// minus the natural logarithm of its probability, in millionths
    pub surprisal_micro: u64,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// `max_new_tokens` is used up, or the context where nothing may be dropped
    Length,
    /// the model's end token or a stop string
    Stop,
}

/// The end of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// why it ended
    pub finish_reason: FinishReason,
    /// tokens of the prompt as the model saw it
    pub prompt_tokens: u32,
    /// tokens of the whole answer, resumed ones and the end token included
    pub completion_tokens: u32,
    /// bytes at the end of the pieces that are not part of the answer: a stop string
    pub trimmed_bytes: u32,
    /// what the context had no room for; nothing unless the prompt's truncation is `auto`
    #[serde(default, skip_serializing_if = "Discarded::is_nothing")]
    pub discarded: Discarded,
}

/// Why a task is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// what kind of reason
    pub code: RefusalCode,
    /// the reason for a person
    pub message: String,
}

/// Kinds of refusal. The asker's next step depends on the kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalCode {
    /// all slots are taken
    Busy,
    /// the deadline passed
    DeadlinePassed,
    /// the engine failed: memory, device lost
    EngineFailed,
    /// the request itself is wrong, for every provider (prompt too long, bad parameter)
    InvalidRequest,
    /// this peer does not hold the model
    ModelUnavailable,
    /// this peer takes no work
    NotDonating,
    /// the task and attempt were seen before
    Replayed,
    /// this peer is stopping
    Stopping,
}

impl TaskMessage {
    /// The bytes that go over the wire.
    #[must_use]
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        signed::seal(DOMAIN, self, key)
    }

    /// The sender and the message in `bytes`. Not checked here: that the sender is the peer at the
    /// other end, that the recipient is this peer, that task, attempt and number are the expected.
    ///
    /// # Errors
    /// [`OpenError`] where they are no message that its sender signed, or over a limit.
    pub fn open(bytes: &[u8]) -> Result<(NodeId, Self), OpenError> {
        let (sender, message): (_, Self) = signed::open(DOMAIN, bytes)?;
        message.body.check_limits()?;
        Ok((sender, message))
    }
}

impl TaskBody {
    /// Whether every field is within its limit. The asker's own prompts are held to the same.
    ///
    /// # Errors
    /// [`OpenError::OverLimit`] naming the first field that is not.
    pub fn check_limits(&self) -> Result<(), OpenError> {
        match self {
            Self::Prompt(prompt) => prompt.check_limits(),
            Self::Tokens(tokens) => {
                within("tokens", tokens.tokens.len(), MAX_TOKENS_PER_FRAME)?;
                tokens.tokens.iter().try_for_each(Token::check_limits)
            }
            Self::Failed(refusal) | Self::Refuse(refusal) => {
                within("message", refusal.message.len(), MAX_TEXT_BYTES)
            }
            Self::Accept(_) | Self::Cancel {} | Self::Done(_) | Self::Heartbeat {} => Ok(()),
        }
    }
}

impl Token {
    fn check_limits(&self) -> Result<(), OpenError> {
        within("piece", self.piece.len(), MAX_PIECE_BYTES)?;
        let Some(logprob) = &self.logprob else {
            return Ok(());
        };
        within("top", logprob.top.len(), MAX_TOP_LOGPROBS as usize)?;
        let mut pieces = logprob.top.iter().map(|other| other.piece.len());
        pieces.try_for_each(|bytes| within("piece", bytes, MAX_PIECE_BYTES))
    }
}

impl Prompt {
    /// Whether every field is within its limit.
    ///
    /// # Errors
    /// [`OpenError::OverLimit`] naming the first field that is not.
    pub fn check_limits(&self) -> Result<(), OpenError> {
        within("input", self.input.text_bytes(), MAX_PROMPT_BYTES)?;
        if let PromptInput::Chat(messages) = &self.input {
            within("messages", messages.len(), MAX_CHAT_MESSAGES)?;
        }
        within("resumed", self.resumed.len(), MAX_RESUMED_TOKENS)?;
        within(
            "max_new_tokens",
            self.max_new_tokens as usize,
            MAX_NEW_TOKENS as usize,
        )?;
        within("stop", self.stop.len(), MAX_STOP_STRINGS)?;
        self.stop
            .iter()
            .try_for_each(|text| within("stop", text.len(), MAX_STOP_BYTES))?;
        self.sampling.check_limits()?;
        let deadline = usize::try_from(self.deadline_millis.0).unwrap_or(usize::MAX);
        within("deadline_millis", deadline, MAX_DEADLINE.0 as usize)
    }
}

impl PromptInput {
    /// Bytes of text in all messages.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
            Self::Text(text) => text.len(),
        }
    }
}

fn bytes_to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(bytes))
}

fn bytes_from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BASE64.decode(text).map_err(de::Error::custom)
}
