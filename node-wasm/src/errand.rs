//! What a page asks of its node beside answers: models and genomes to be loaded, inspected, listed
//! and removed. One request, one reply; it may be stopped at any time.

use crate::engine_link::{Embeddings, Genome, Inspection, KeptModel};
use crate::fault::LoadFailure;
use crate::options::{FileSource, GenomeSource, ModelSource};
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
    /// take a genome for the loaded model
    LoadGenome(GenomeSource<FileSource>),
    /// load the model that the node was made with
    LoadOwn,
    /// say which genomes there are
    ListGenomes,
    /// say what is kept
    ListKept,
    /// remove a model's files from what is kept
    Remove(ModelId),
    /// forget a genome
    RemoveGenome(ModelId),
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reply {
    Embedded(Result<Embeddings, LoadFailure>),
    GenomeLoaded(Result<Box<Genome>, LoadFailure>),
    GenomeRemoved(Result<(), LoadFailure>),
    Genomes(Result<Vec<Genome>, LoadFailure>),
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
    LoadGenome(GenomeSource<FileText>),
    LoadOwn,
    ListGenomes,
    ListKept,
    Remove(ModelId),
    RemoveGenome(ModelId),
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
            Self::LoadGenome(source) => {
                let mut blobs = Vec::new();
                let text = source.map(|file| file_text(file, &mut blobs));
                (ErrandText::LoadGenome(text), blobs)
            }
            Self::LoadOwn => (ErrandText::LoadOwn, Vec::new()),
            Self::ListGenomes => (ErrandText::ListGenomes, Vec::new()),
            Self::ListKept => (ErrandText::ListKept, Vec::new()),
            Self::Remove(id) => (ErrandText::Remove(*id), Vec::new()),
            Self::RemoveGenome(id) => (ErrandText::RemoveGenome(*id), Vec::new()),
        }
    }

    /// The reply where there is none to be had.
    pub(crate) fn failed(&self, failure: LoadFailure) -> Reply {
        match self {
            Self::Embed(_) => Reply::Embedded(Err(failure)),
            Self::Inspect(_) => Reply::Inspected(Err(failure)),
            Self::Load(_) | Self::LoadOwn => Reply::Loaded(Err(failure)),
            Self::ListGenomes => Reply::Genomes(Err(failure)),
            Self::LoadGenome(_) => Reply::GenomeLoaded(Err(failure)),
            Self::Remove(_) => Reply::Removed(Err(failure)),
            Self::RemoveGenome(_) => Reply::GenomeRemoved(Err(failure)),
            Self::ListKept => Reply::Kept(KeptModels {
                trouble: Some(failure.to_string()),
                ..KeptModels::default()
            }),
        }
    }
}

impl ErrandText {
    /// None where a file is missing beside it.
    pub(crate) fn into_errand(self, blobs: Vec<Blob>) -> Option<Errand> {
        Some(match self {
            Self::Embed(texts) => Errand::Embed(texts),
            Self::Inspect(source) => Errand::Inspect(source.into_source(blobs)),
            Self::Load(source) => Errand::Load(source.into_source(blobs)),
            Self::LoadGenome(source) => Errand::LoadGenome(genome_source(&source, blobs)?),
            Self::LoadOwn => Errand::LoadOwn,
            Self::ListGenomes => Errand::ListGenomes,
            Self::ListKept => Errand::ListKept,
            Self::Remove(id) => Errand::Remove(id),
            Self::RemoveGenome(id) => Errand::RemoveGenome(id),
        })
    }
}

impl FileText {
    fn into_file(self, blobs: &mut impl Iterator<Item = Blob>) -> Option<FileSource> {
        match self {
            Self::Blob => blobs.next().map(FileSource::Blob),
            Self::Url { url, sha256 } => Some(FileSource::Url { url, sha256 }),
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
                let file = |file: FileText| file.into_file(&mut blobs);
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
            let files = files.iter();
            SourceText::Files(files.map(|file| file_text(file, &mut blobs)).collect())
        }
    };
    (text, blobs)
}

fn file_text(file: &FileSource, blobs: &mut Vec<Blob>) -> FileText {
    match file {
        FileSource::Blob(blob) => {
            blobs.push(blob.clone());
            FileText::Blob
        }
        FileSource::Url { url, sha256 } => FileText::Url {
            url: url.clone(),
            sha256: *sha256,
        },
    }
}

/// The genome that was meant; none where a file is missing beside the text.
pub(crate) fn genome_source(
    text: &GenomeSource<FileText>,
    blobs: Vec<Blob>,
) -> Option<GenomeSource<FileSource>> {
    let mut blobs = blobs.into_iter();
    let found = text.map(|file| file.clone().into_file(&mut blobs));
    let all_there = found.files.all().into_iter().all(Option::is_some);
    all_there.then(|| found.map(|file| file.clone().expect("all were just looked at")))
}
