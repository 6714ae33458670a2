//! What a node tells a page as it happens.

use super::{GenomeChange, Path};
use crate::id::{ModelId, NodeId, TaskId};
use crate::task::{FinishReason, Token};
use crate::time::Millis;
use crate::truncation::Discarded;
use serde::{Deserialize, Serialize};

/// What happens in the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// an answer goes on
    Ask {
        /// the asker's own number
        ask: u64,
        /// what happened
        update: AskUpdate,
    },
    /// a task for somebody else ended
    Contribution {
        /// the task
        task_id: TaskId,
        /// who asked
        peer_id: NodeId,
        /// tokens computed
        tokens: u32,
        /// whether it was computed to the end
        completed: bool,
    },
    /// a genome came or went
    Genome {
        /// SHA-256 of its files
        id: ModelId,
        /// for people
        name: String,
        /// which of the two
        change: GenomeChange,
    },
    /// a line of the log
    Log(LogLine),
    /// a peer broke the protocol
    Misbehaviour {
        /// which
        peer_id: NodeId,
        /// how
        what: String,
    },
    /// the view changed: ask for a snapshot when you next draw
    Changed,
    /// the model is on its way
    Progress {
        /// what is being done: `download`, `genome`, `probe`, `read`
        stage: String,
        /// bytes so far
        loaded: u64,
        /// bytes in all, where known
        total: Option<u64>,
    },
}

/// What happens to an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum AskUpdate {
    /// the next text
    #[serde(rename_all = "camelCase")]
    Delta {
        /// index of the last token in it
        index: u32,
        /// text; may be empty while a character is incomplete
        text: String,
        /// the tokens that came with it, where their log probabilities were asked for; the text
        /// lags behind them while a stop string may be beginning
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tokens: Vec<Token>,
    },
    /// the end
    #[serde(rename_all = "camelCase")]
    Done {
        /// why it ended
        finish_reason: FinishReason,
        /// the whole text
        text: String,
        /// tokens of the prompt
        prompt_tokens: u32,
        /// tokens of the answer
        completion_tokens: u32,
        /// what the context had no room for
        #[serde(default)]
        discarded: Discarded,
        /// who computed the last part
        provider: NodeId,
        /// how bytes got there, `None` where it was this tab
        path: Option<Path>,
        /// the model that answered
        model: ModelId,
        /// attempts it took
        attempts: u32,
        /// milliseconds from asking to the first token
        first_token_millis: Millis,
        /// milliseconds from asking to the end
        total_millis: Millis,
    },
    /// there will be no answer
    #[serde(rename_all = "camelCase")]
    Failed {
        /// stable, for programs
        code: AskErrorCode,
        /// for people
        message: String,
    },
    /// an attempt failed; the next one follows
    #[serde(rename_all = "camelCase")]
    Retrying {
        /// who failed
        provider: NodeId,
        /// why
        reason: String,
    },
    /// sent to a provider
    #[serde(rename_all = "camelCase")]
    Routed {
        /// who
        provider: NodeId,
        /// how bytes get there, `None` where it is this tab
        path: Option<Path>,
        /// from 1
        attempt: u32,
    },
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskErrorCode {
    /// the asker cancelled
    Cancelled,
    /// too many answers are under way
    Busy,
    /// the deadline passed
    DeadlinePassed,
    /// the request is wrong
    InvalidRequest,
    /// nobody who could answer is reachable
    NoProvider,
    /// every provider that was tried failed
    ProvidersFailed,
    /// nobody offers the model
    UnknownModel,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// milliseconds since the node was made
    pub at_millis: Millis,
    /// how much it matters
    pub level: LogLevel,
    /// what happened
    pub message: String,
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// every decision
    Debug,
    /// somebody would care
    Info,
    /// somebody should look
    Warn,
    /// something stopped
    Error,
}
