//! Why the node cannot do what a page or a program asked of it.

use crate::engine_link::{LossCause, Trouble};
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

/// Everything that reaches the caller as an error. [`Fault::code`] is stable, the text is for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The node was closed.
    #[error("the node is closed")]
    Closed,
    /// A genome could not be taken, listed or removed.
    #[error("genome {genome:?}: {failure}")]
    GenomeUnavailable {
        /// as it was asked for
        genome: String,
        /// why
        failure: LoadFailure,
    },
    /// The stored identity is no key. It is left as it is.
    #[error(
        "the identity kept in database {store:?} is damaged ({reason}); it was left untouched: \
         clear this site's data to begin with a new identity, or use another store name"
    )]
    IdentityDamaged {
        /// name of the database
        store: String,
        /// what is wrong with it
        reason: String,
    },
    /// There may be an identity, but the browser did not let us read it.
    #[error("the identity in database {store:?} could not be read: {reason}")]
    IdentityUnreadable {
        /// name of the database
        store: String,
        /// what the browser said
        reason: String,
    },
    /// An option makes no sense.
    #[error("option {option}: {reason}")]
    InvalidOption {
        /// its name
        option: &'static str,
        /// what is wrong with it
        reason: String,
    },
    /// A model could not be loaded.
    #[error("model {model:?} cannot be used: {failure}")]
    ModelUnavailable {
        /// as it was asked for
        model: String,
        /// why
        failure: LoadFailure,
    },
}

impl Fault {
    /// The stable name of the error, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::IdentityDamaged { .. } => "identity_damaged",
            Self::IdentityUnreadable { .. } => "identity_unreadable",
            Self::InvalidOption { .. } => "invalid_option",
            Self::GenomeUnavailable { failure, .. } | Self::ModelUnavailable { failure, .. } => {
                failure.code()
            }
        }
    }
}

/// Why a model could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LoadFailure {
    /// No relay's catalogue has this name.
    #[error("the relays offer {offered}")]
    Unknown {
        /// names, separated by commas
        offered: String,
    },
    /// No relay gave its catalogue.
    #[error("no relay lists its models: {reason}")]
    NoCatalogue {
        /// what each said
        reason: String,
    },
    /// The engine or its worker says why.
    #[error("{reason}")]
    Engine {
        /// for programs
        cause: LossCause,
        /// for people
        reason: String,
    },
}

impl From<Trouble> for LoadFailure {
    fn from(Trouble { cause, reason }: Trouble) -> Self {
        Self::Engine { cause, reason }
    }
}

impl LoadFailure {
    fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_model",
            Self::NoCatalogue { .. } => "model_unreachable",
            Self::Engine { cause, .. } => match cause {
                LossCause::BackendUnavailable => "backend_unavailable",
                LossCause::Cancelled => "cancelled",
                LossCause::EngineFailed => "engine_failed",
                LossCause::InvalidGenome => "invalid_genome",
                LossCause::InvalidModel => "invalid_model",
                LossCause::InvalidRequest => "invalid_request",
                LossCause::ModelUnreachable => "model_unreachable",
                LossCause::OutOfMemory => "out_of_memory",
                LossCause::UnknownGenome => "unknown_genome",
            },
        }
    }
}

/// What a thrown value says.
pub(crate) fn text_of(thrown: &JsValue) -> String {
    let message = js_sys::Reflect::get(thrown, &"message".into()).ok();
    message
        .and_then(|message| message.as_string())
        .filter(|text| !text.is_empty())
        .or_else(|| thrown.as_string())
        .unwrap_or_else(|| format!("{thrown:?}"))
}
