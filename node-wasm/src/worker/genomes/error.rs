//! Why a genome is not taken, worn or removed.

use crate::worker::error::LoadError;
use crate::worker::messages::{LossCause, Trouble};
use crate::worker::store::StoreError;
use thrum_engine::error::EngineError;
use thrum_protocol::id::ModelId;

/// What stood in the way of a genome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum GenomeError {
    /// Its files could not be read.
    #[error(transparent)]
    Source(#[from] LoadError),
    /// It is more than a genome.
    #[error("the genome's files have {found_bytes} bytes or more: at most {max_bytes} are taken")]
    TooLarge {
        /// what came
        found_bytes: u64,
        /// the bound
        max_bytes: u64,
    },
    /// There is no memory for its bytes.
    #[error("there is no memory for {needed_bytes} bytes of a genome")]
    OutOfMemory {
        /// what was wanted
        needed_bytes: usize,
    },
    /// The file is another one than expected, or was changed on the way.
    #[error("the genome's SHA-256 is {found} and should be {expected}")]
    WrongDigest {
        /// what was announced
        expected: ModelId,
        /// what came
        found: ModelId,
    },
    /// There are as many as are kept.
    #[error("{max} genomes are here already: remove one first")]
    TooMany {
        /// the bound
        max: usize,
    },
    /// Nothing to check it against.
    #[error("no model is loaded that could wear a genome")]
    NoModel,
    /// The model refuses it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Nobody knows it.
    #[error("there is no genome {id} here")]
    Unknown {
        /// which
        id: ModelId,
    },
    /// What is kept of it is not all of it.
    #[error("the genome {name} that is kept in this browser is damaged: load it again")]
    Damaged {
        /// for people
        name: String,
    },
    /// The storage fails.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

impl GenomeError {
    /// What the page is told.
    pub(super) fn trouble(&self) -> Trouble {
        Trouble {
            cause: self.cause(),
            reason: self.to_string(),
        }
    }

    /// Whether a request that wears the genome is wrong, and stays so.
    pub(super) fn is_of_the_request(&self) -> bool {
        match self.cause() {
            LossCause::InvalidGenome | LossCause::UnknownGenome => true,
            LossCause::BackendUnavailable
            | LossCause::Cancelled
            | LossCause::EngineFailed
            | LossCause::InvalidModel
            | LossCause::InvalidRequest
            | LossCause::ModelUnreachable
            | LossCause::OutOfMemory => false,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the engine's errors may grow; what is not about the adapter is its own failure"
    )]
    fn cause(&self) -> LossCause {
        match self {
            Self::Source(error) => match error.cause() {
                LossCause::InvalidModel => LossCause::InvalidGenome,
                cause => cause,
            },
            Self::TooLarge { .. } | Self::WrongDigest { .. } | Self::Damaged { .. } => {
                LossCause::InvalidGenome
            }
            Self::TooMany { .. } => LossCause::InvalidRequest,
            Self::OutOfMemory { .. } => LossCause::OutOfMemory,
            Self::NoModel | Self::Storage(_) => LossCause::EngineFailed,
            Self::Unknown { .. } => LossCause::UnknownGenome,
            Self::Engine(error) => match error {
                EngineError::Adapter(_) => LossCause::InvalidGenome,
                EngineError::GpuBufferTooLarge { .. } | EngineError::OutOfMemory { .. } => {
                    LossCause::OutOfMemory
                }
                _ => LossCause::EngineFailed,
            },
        }
    }
}
