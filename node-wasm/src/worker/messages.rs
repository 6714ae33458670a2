//! What page and worker say to each other. An order is a list of its JSON and, for a model in a
//! Blob, that Blob; a report is its JSON.
//!
//! Both sides are of one build and trust each other. The worker says [`Report::Up`] first; what is
//! posted to it earlier is dropped by browsers, so the page keeps its orders until then.

use serde::{Deserialize, Serialize};
use std::fmt;
use thrum_protocol::id::ModelId;
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::task::{FinishReason, Prompt, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::view::LogLevel;

/// What the person chose to compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendChoice {
    /// WebGPU unless it is absent or a CPU in disguise
    #[default]
    Auto,
    /// WebAssembly
    Cpu,
    /// WebGPU, or an error
    Webgpu,
}

/// Page to worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Order {
    /// stop a job; no more is said of it
    Cancel {
        /// its number
        job: u64,
    },
    /// destroy the GPU device as a driver that resets does: how the lost device is tested
    DestroyDevice,
    /// remove a model's file from the cache; [`EngineEvent::Forgotten`] follows
    Forget {
        /// which
        model: ModelId,
    },
    /// load a model in place of the loaded one; `Ready` or `Lost` follows
    Load {
        /// where it is
        source: LoadSource,
        /// what shall compute
        backend: BackendChoice,
    },
    /// answer a prompt; `Done` or `Failed` follows, unless it is cancelled
    Run {
        /// its number
        job: u64,
        /// what to answer
        prompt: Box<Prompt>,
        /// whether the person at this page waits for it: served first
        local: bool,
    },
    /// compute jobs that are not `local` this much of the time and no more
    Share {
        /// of the time while there is work of theirs
        percent: u32,
    },
    /// say `Wake` after a while; a later order replaces an earlier one
    WakeAfter {
        /// how long
        delay: Millis,
    },
}

/// Where a model is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LoadSource {
    /// the Blob beside the message
    Blob {
        /// for people
        name: String,
    },
    /// behind HTTP
    Url {
        /// absolute, or relative to the worker's script
        url: String,
        /// for people
        name: String,
        /// what the file must hash to, where it is known; only then is the file kept for next time
        sha256: Option<ModelId>,
        /// how long the file is, where it is known
        bytes: Option<u64>,
    },
}

/// Worker to page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Report {
    /// the worker panicked or trapped and is of no more use
    Crashed {
        /// for people
        reason: String,
    },
    /// something happened
    Event(EngineEvent),
    /// the worker listens
    Up,
}

/// What the engine tells its node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EngineEvent {
    /// a job is done
    Done {
        /// which
        job: u64,
        /// why it ended
        finish_reason: FinishReason,
        /// tokens of the prompt as the model saw it
        prompt_tokens: u32,
        /// bytes at the end of the pieces that belong to a stop string
        trimmed_bytes: u32,
    },
    /// a job failed
    Failed {
        /// which
        job: u64,
        /// whether the request is to blame and would fail anywhere
        invalid_request: bool,
        /// for people
        message: String,
    },
    /// a model's file is no longer in the cache
    Forgotten {
        /// which
        model: ModelId,
    },
    /// a line for the log
    Log {
        /// how much it matters
        level: LogLevel,
        /// what happened
        message: String,
    },
    /// there is no model: loading failed, or the device or the worker went away; every job is gone
    Lost {
        /// for programs
        cause: LossCause,
        /// for people
        reason: String,
    },
    /// a model is on its way
    Progress {
        /// what is being done
        stage: Stage,
        /// bytes so far
        loaded: u64,
        /// bytes in all, where known
        total: Option<u64>,
    },
    /// a model is loaded and its speed is measured
    Ready {
        /// which
        model: ModelOffer,
        /// what computes
        backend: Backend,
        /// thousandths of a token per second, one answer alone
        millitokens_per_second: u64,
    },
    /// the next tokens of a job, in order
    Tokens {
        /// which
        job: u64,
        /// at least one
        tokens: Vec<Token>,
    },
    /// the time of `WakeAfter` has come
    Wake,
}

/// Why there is no model, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// what was chosen to compute with is not there
    BackendUnavailable,
    /// the engine, its device or its worker failed
    EngineFailed,
    /// the file is damaged, not the one expected, or of a kind that the engine does not know
    InvalidModel,
    /// the file is not there or does not arrive
    ModelUnreachable,
    /// there is not enough memory
    OutOfMemory,
}

/// What is being done to a model that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// bytes come over the network
    Download,
    /// the engine's speed is measured
    Probe,
    /// bytes come from a file or from the cache
    Read,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Download => "download",
            Self::Probe => "probe",
            Self::Read => "read",
        })
    }
}

/// Why a message means nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum MessageError {
    /// Not the JSON of this build.
    #[error("malformed message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Not text, nor a list that begins with text.
    #[error("malformed message: no text in it")]
    NotText,
}
