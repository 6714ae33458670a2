//! Why a model is not loaded.

use super::messages::LossCause;
use thrum_engine::error::EngineError;
use thrum_protocol::id::ModelId;
use thrum_protocol::time::Millis;
use wasm_bindgen::JsValue;

/// What stood in the way of a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LoadError {
    /// The message that asked for a Blob brought none.
    #[error("no file came with the request to load one")]
    NoBlob,
    /// A model was named by what it is kept under, and is not kept.
    #[error("no model {id} is kept in this browser")]
    NotKept {
        /// its name
        id: ModelId,
    },
    /// The file became another one while it was being downloaded.
    #[error("{url} changed while it was being downloaded; load it again")]
    Changed {
        /// what was asked for
        url: String,
    },
    /// The server answered with something else than the file.
    #[error("the server answered {status} for {url}")]
    Http {
        /// HTTP status
        status: u16,
        /// what was asked for
        url: String,
    },
    /// There was no answer, or it broke off.
    #[error("{url} could not be read: {reason}")]
    Unreachable {
        /// what was asked for, or the file's name
        url: String,
        /// what the browser said
        reason: String,
    },
    /// Nothing came for a long time.
    #[error("{url} could not be read: no byte in {after}")]
    Stalled {
        /// what was asked for, or the file's name
        url: String,
        /// how long
        after: Millis,
    },
    /// The file is another one than expected, or was changed on the way.
    #[error("the model's SHA-256 is {found} and should be {expected}")]
    WrongDigest {
        /// what the catalogue says
        expected: ModelId,
        /// what came
        found: ModelId,
    },
    /// What is kept is not what was kept.
    #[error("piece {piece} of the file that is kept in this browser is damaged")]
    Damaged {
        /// counted from 0
        piece: usize,
    },
    /// The file has another length than announced.
    #[error("the model's file has {found_bytes} bytes and should have {expected_bytes}")]
    WrongLength {
        /// what was announced
        expected_bytes: u64,
        /// what came
        found_bytes: u64,
    },
    /// The weights alone take more than there is.
    #[error("the model needs {needed_bytes} bytes of memory and {available_bytes} are available")]
    DoesNotFit {
        /// bytes of the file
        needed_bytes: u64,
        /// bytes there are
        available_bytes: u64,
    },
    /// The engine refused the file or the machine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The browser threw where it never should.
    #[error("the browser refused: {reason}")]
    Browser {
        /// what it said
        reason: String,
    },
}

impl LoadError {
    /// Whether the way to the file failed, so that what came of it is good.
    pub(crate) fn is_of_the_way(&self) -> bool {
        match self {
            Self::Http { .. } | Self::Stalled { .. } | Self::Unreachable { .. } => true,
            Self::Browser { .. }
            | Self::Changed { .. }
            | Self::Damaged { .. }
            | Self::DoesNotFit { .. }
            | Self::Engine(_)
            | Self::NoBlob
            | Self::NotKept { .. }
            | Self::WrongDigest { .. }
            | Self::WrongLength { .. } => false,
        }
    }

    /// Whether the GPU is to blame, so that the CPU may succeed.
    pub(crate) fn is_of_the_gpu(&self) -> bool {
        matches!(
            self,
            Self::Engine(
                EngineError::GpuUnavailable { .. }
                    | EngineError::GpuLost { .. }
                    | EngineError::GpuBufferTooLarge { .. }
                    | EngineError::GpuShape { .. }
            )
        )
    }

    /// What a program can tell of it.
    pub(crate) fn cause(&self) -> LossCause {
        match self {
            Self::NoBlob | Self::Browser { .. } => LossCause::EngineFailed,
            Self::Http { .. }
            | Self::NotKept { .. }
            | Self::Stalled { .. }
            | Self::Unreachable { .. } => LossCause::ModelUnreachable,
            Self::Changed { .. }
            | Self::Damaged { .. }
            | Self::WrongDigest { .. }
            | Self::WrongLength { .. } => LossCause::InvalidModel,
            Self::DoesNotFit { .. } => LossCause::OutOfMemory,
            Self::Engine(error) => cause_in_engine(error),
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the engine's errors may grow; what is not named is its own failure"
)]
fn cause_in_engine(error: &EngineError) -> LossCause {
    match error {
        EngineError::Chat(_) | EngineError::Gguf(_) | EngineError::Tokenizer(_) => {
            LossCause::InvalidModel
        }
        EngineError::DoesNotFit { .. }
        | EngineError::GpuBufferTooLarge { .. }
        | EngineError::OutOfMemory { .. } => LossCause::OutOfMemory,
        EngineError::GpuShape { .. } | EngineError::GpuUnavailable { .. } => {
            LossCause::BackendUnavailable
        }
        _ => LossCause::EngineFailed,
    }
}

impl From<JsValue> for LoadError {
    fn from(thrown: JsValue) -> Self {
        Self::Browser {
            reason: text_of(&thrown),
        }
    }
}

/// What a thrown value says.
pub(super) fn text_of(thrown: &JsValue) -> String {
    let message = js_sys::Reflect::get(thrown, &"message".into()).ok();
    let message = message.and_then(|message| message.as_string());
    message
        .or_else(|| thrown.as_string())
        .unwrap_or_else(|| format!("{thrown:?}"))
}
