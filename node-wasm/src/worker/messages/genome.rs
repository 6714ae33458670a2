//! What page and worker say of genomes.

use serde::{Deserialize, Serialize};
use thrum_protocol::id::ModelId;

/// An adapter that somebody wants to have, in files of kind `F`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenomeSource<F> {
    /// what the person calls it; none is what its file says
    pub name: Option<String>,
    /// what the file with the numbers must hash to, where that is known
    pub sha256: Option<ModelId>,
    /// what its place says of its name
    pub place: Option<String>,
    /// its files
    pub files: GenomeFiles<F>,
}

/// The files of an adapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GenomeFiles<F> {
    /// one `.gguf` file
    Gguf(F),
    /// as PEFT saves it
    Peft {
        /// `adapter_config.json`
        config: F,
        /// `adapter_model.safetensors`
        weights: F,
    },
}

impl<F> GenomeSource<F> {
    /// The same with other files.
    pub fn map<G>(&self, file: impl FnMut(&F) -> G) -> GenomeSource<G> {
        GenomeSource {
            name: self.name.clone(),
            sha256: self.sha256,
            place: self.place.clone(),
            files: self.files.map(file),
        }
    }
}

impl<F> GenomeFiles<F> {
    /// The same with other files, made in order.
    pub fn map<G>(&self, mut file: impl FnMut(&F) -> G) -> GenomeFiles<G> {
        match self {
            Self::Gguf(one) => GenomeFiles::Gguf(file(one)),
            Self::Peft { config, weights } => GenomeFiles::Peft {
                config: file(config),
                weights: file(weights),
            },
        }
    }

    /// The files in order; the last has the numbers.
    pub fn all(&self) -> Vec<&F> {
        match self {
            Self::Gguf(one) => vec![one],
            Self::Peft { config, weights } => vec![config, weights],
        }
    }
}

/// An adapter that a node has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Genome {
    /// SHA-256 of its file, or of the SHA-256s of its files
    pub id: ModelId,
    /// for people
    pub name: String,
    /// the largest of its pairs
    pub rank: usize,
    /// the matrices it adds to, as GGUF names them, in every layer or some
    pub targets: Vec<String>,
    /// bytes of its files
    pub bytes: u64,
    /// of the models it is for
    pub architecture: String,
    /// name of the model it was taken for
    pub base: String,
    /// whether it can be worn by the loaded model; none where none is loaded
    pub fits: Option<bool>,
    /// why not
    pub reason: Option<String>,
    /// whether it is in the engine; what is not comes with its first use
    pub loaded: bool,
    /// whether it is there after a reload
    pub kept: bool,
    /// ms since 1970
    pub saved_millis: u64,
}
