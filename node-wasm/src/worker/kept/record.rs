//! What is known of a kept model beside its bytes.

use crate::worker::messages::UrlFile;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thrum_protocol::id::ModelId;

/// A model whose files are kept, or on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// names its files
    pub(crate) key: ModelId,
    /// for people
    pub(crate) name: String,
    /// its files, in order
    pub(crate) parts: Vec<PartRecord>,
    /// once all of it is here
    pub(crate) id: Option<ModelId>,
    /// ms since 1970
    pub(crate) saved_millis: u64,
}

/// One file of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartRecord {
    /// where it comes from
    pub(crate) url: String,
    /// what made it the same file when its first bytes came
    pub(crate) validator: Option<String>,
    /// of the whole file, where known
    pub(crate) bytes: Option<u64>,
    /// expected, or found once it is whole
    pub(crate) sha256: Option<ModelId>,
    /// whether all of it is here
    pub(crate) whole: bool,
}

impl PartRecord {
    /// A file of which nothing is here.
    pub(crate) fn of(file: &UrlFile) -> Self {
        Self {
            url: file.url.clone(),
            validator: None,
            bytes: file.bytes,
            sha256: file.sha256,
            whole: false,
        }
    }
}

impl Record {
    /// A model of which nothing is here.
    pub(crate) fn new(name: &str, parts: Vec<PartRecord>, saved_millis: u64) -> Self {
        Self {
            key: key(&parts),
            name: name.to_owned(),
            parts,
            id: None,
            saved_millis,
        }
    }

    /// Whether the same files are meant: by their digests, or else by their addresses.
    pub(crate) fn is_of(&self, parts: &[PartRecord]) -> bool {
        let same = |(own, other): (&PartRecord, &PartRecord)| match other.sha256 {
            Some(sha256) => own.sha256 == Some(sha256),
            None => own.url == other.url,
        };
        self.parts.len() == parts.len() && self.parts.iter().zip(parts).all(same)
    }

    /// Whether `id` means this model.
    pub(crate) fn answers_to(&self, id: ModelId) -> bool {
        self.id == Some(id) || self.key == id
    }
}

/// The name of a model's files: of its digests where they are known beforehand.
fn key(parts: &[PartRecord]) -> ModelId {
    let mut digest = Sha256::new();
    for part in parts {
        match part.sha256 {
            Some(sha256) => digest.update(sha256.0),
            None => digest.update(&part.url),
        }
        digest.update([0]);
    }
    ModelId(digest.finalize().into())
}

/// What a model of these files is called among peers: the SHA-256 of its one file, or that of the
/// SHA-256s of its files, in order.
pub(crate) fn model_id(digests: &[ModelId]) -> ModelId {
    match digests {
        [one] => *one,
        several => {
            let mut digest = Sha256::new();
            for part in several {
                digest.update(part.0);
            }
            ModelId(digest.finalize().into())
        }
    }
}
