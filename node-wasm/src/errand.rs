//! What a page asks of its node beside answers: models to be loaded, inspected and listed. One
//! request, one reply; it may be stopped at any time.

use crate::engine_link::{Embeddings, Inspection, KeptModel};
use crate::fault::LoadFailure;
use crate::options::{FileSource, ModelSource};
use futures::channel::oneshot;
use serde::{Deserialize, Serialize};
use thrum_protocol::id::ModelId;
use thrum_protocol::model::ModelOffer;
use web_sys::Blob;

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// give a vector for each text
    Embed(Vec<String>),
    /// say what a model is and whether it fits
    Inspect(Option<ModelSource>),
    /// load a model in place of the loaded one
    Load(Option<ModelSource>),
    /// load the model that the node was made with
    LoadOwn,
    /// say what is kept
    ListKept,
    /// remove a model's files from what is kept
    Remove(ModelId),
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reply {
    Embedded(Result<Embeddings, LoadFailure>),
    Inspected(Result<Box<Inspection>, LoadFailure>),
    Kept(KeptModels),
    Loaded(Result<ModelOffer, LoadFailure>),
    Removed(Result<(), LoadFailure>),
}

/// What the browser keeps for this site.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptModels {
    /// models, whole or on their way
    pub models: Vec<KeptModel>,
    /// why nothing can be kept
    pub trouble: Option<String>,
    /// bytes in use, by everything this site keeps, where the browser says
    pub used_bytes: Option<u64>,
    /// bytes it may keep, where the browser says
    pub quota_bytes: Option<u64>,
}

/// Learns the reply.
pub(crate) type ReplySender = oneshot::Sender<Reply>;

/// An errand as text; its files travel beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ErrandText {
    Embed(Vec<String>),
    Inspect(SourceText),
    Load(SourceText),
    LoadOwn,
    ListKept,
    Remove(ModelId),
}

/// A model source as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SourceText {
    /// the relay's default
    Default,
    Files(Vec<FileText>),
    /// an address, or a name in the catalogue
    Named(String),
}

/// One file of a model, as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum FileText {
    /// the next file beside the text
    Blob,
    Url {
        url: String,
        #[serde(default)]
        sha256: Option<ModelId>,
    },
}

impl Errand {
    /// The errand as text, and its files.
    pub(crate) fn to_text(&self) -> (ErrandText, Vec<Blob>) {
        match self {
            Self::Embed(texts) => (ErrandText::Embed(texts.clone()), Vec::new()),
            Self::Inspect(source) => {
                let (text, blobs) = source_text(source.as_ref());
                (ErrandText::Inspect(text), blobs)
            }
            Self::Load(source) => {
                let (text, blobs) = source_text(source.as_ref());
                (ErrandText::Load(text), blobs)
            }
            Self::LoadOwn => (ErrandText::LoadOwn, Vec::new()),
            Self::ListKept => (ErrandText::ListKept, Vec::new()),
            Self::Remove(id) => (ErrandText::Remove(*id), Vec::new()),
        }
    }

    /// The reply where there is none to be had.
    pub(crate) fn failed(&self, failure: LoadFailure) -> Reply {
        match self {
            Self::Embed(_) => Reply::Embedded(Err(failure)),
            Self::Inspect(_) => Reply::Inspected(Err(failure)),
            Self::Load(_) | Self::LoadOwn => Reply::Loaded(Err(failure)),
            Self::Remove(_) => Reply::Removed(Err(failure)),
            Self::ListKept => Reply::Kept(KeptModels {
                trouble: Some(failure.to_string()),
                ..KeptModels::default()
            }),
        }
    }
}

impl ErrandText {
    pub(crate) fn into_errand(self, blobs: Vec<Blob>) -> Errand {
        match self {
            Self::Embed(texts) => Errand::Embed(texts),
            Self::Inspect(source) => Errand::Inspect(source.into_source(blobs)),
            Self::Load(source) => Errand::Load(source.into_source(blobs)),
            Self::LoadOwn => Errand::LoadOwn,
            Self::ListKept => Errand::ListKept,
            Self::Remove(id) => Errand::Remove(id),
        }
    }
}

impl SourceText {
    /// The source that was meant: `None` is the relay's default.
    pub(crate) fn into_source(self, blobs: Vec<Blob>) -> Option<ModelSource> {
        let mut blobs = blobs.into_iter();
        match self {
            Self::Default => None,
            Self::Named(text) => Some(ModelSource::from_text(&text)),
            Self::Files(files) => {
                let file = |file| match file {
                    FileText::Blob => blobs.next().map(FileSource::Blob),
                    FileText::Url { url, sha256 } => Some(FileSource::Url { url, sha256 }),
                };
                // One that is missing leaves fewer files than the model needs, which is told then.
                Some(ModelSource::Files(
                    files.into_iter().filter_map(file).collect(),
                ))
            }
        }
    }
}

fn source_text(source: Option<&ModelSource>) -> (SourceText, Vec<Blob>) {
    let mut blobs = Vec::new();
    let text = match source {
        None => SourceText::Default,
        Some(ModelSource::Catalogue(name)) => SourceText::Named(name.clone()),
        Some(ModelSource::Files(files)) => {
            let text = |file: &FileSource| match file {
                FileSource::Blob(blob) => {
                    blobs.push(blob.clone());
                    FileText::Blob
                }
                FileSource::Url { url, sha256 } => FileText::Url {
                    url: url.clone(),
                    sha256: *sha256,
                },
            };
            SourceText::Files(files.iter().map(text).collect())
        }
    };
    (text, blobs)
}
