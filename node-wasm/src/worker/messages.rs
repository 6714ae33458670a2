//! What page and worker say to each other. An order is a list of its JSON and, for a model in
//! Blobs, those Blobs; a report is its JSON.
//!
//! Both sides are of one build and trust each other. The worker says [`Report::Up`] first; what is
//! posted to it earlier is dropped by browsers, so the page keeps its orders until then.

mod genome;

pub use genome::{Genome, GenomeFiles, GenomeSource};

use serde::{Deserialize, Serialize};
use std::fmt;
use thrum_protocol::id::ModelId;
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::task::{FinishReason, Prompt, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{LogLevel, Threads};

/// count; threads on the CPU. More wait for each other longer than they compute.
pub(crate) const MAX_THREADS: u32 = 16;

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
    /// destroy the GPU device as a driver that resets does, or end a worker that computes as a
    /// browser without memory does: how their loss is tested
    DestroyDevice,
    /// give one vector for each text; `Embedded` follows
    Embed {
        /// its number
        embedding: u64,
        /// at least one
        texts: Vec<String>,
    },
    /// remove a model's file from the cache; [`EngineEvent::Forgotten`] follows
    Forget {
        /// which
        model: ModelId,
    },
    /// say what a model is and whether it fits, reading no more than its header; `Inspected` follows
    Inspect {
        /// its number
        inspection: u64,
        /// where it is
        source: LoadSource,
        /// what shall compute
        backend: BackendChoice,
        /// with how many threads on the CPU; none: as many as suit the machine
        threads: Option<u32>,
    },
    /// keep genomes in the database of the node of this name; before any other order
    KeepGenomes {
        /// the name
        store: String,
    },
    /// say what is kept; `Kept` follows
    List {
        /// its number
        list: u64,
    },
    /// say which genomes there are; `Genomes` follows
    ListGenomes {
        /// its number
        list: u64,
    },
    /// load a model in place of the loaded one; `Ready`, `NotLoaded` or `Lost` follows
    Load {
        /// its number, above those of earlier orders
        load: u64,
        /// where it is
        source: LoadSource,
        /// what shall compute
        backend: BackendChoice,
        /// as in [`Order::Inspect`]
        threads: Option<u32>,
    },
    /// take a genome for the loaded model, and keep it; `GenomeLoaded` follows
    LoadGenome {
        /// its number
        load: u64,
        /// where it is
        source: GenomeSource<SourceFile>,
    },
    /// forget a genome; `GenomeRemoved` follows
    RemoveGenome {
        /// its number
        removal: u64,
        /// which
        genome: ModelId,
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
    /// stop embedding; no more is said of it
    StopEmbed {
        /// its number
        embedding: u64,
    },
    /// stop taking a genome; no more is said of it unless it is in the engine already
    StopGenome {
        /// its number
        load: u64,
    },
    /// stop an inspection; no more is said of it
    StopInspect {
        /// its number
        inspection: u64,
    },
    /// stop loading; `NotLoaded` follows unless it is done already
    StopLoad {
        /// its number
        load: u64,
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
    /// in these files
    Files {
        /// for people
        name: String,
        /// at least one, in order
        files: Vec<SourceFile>,
    },
    /// in the browser's storage, or where that says it came from
    Kept {
        /// as [`KeptModel::id`]
        id: ModelId,
    },
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SourceFile {
    /// the next Blob beside the message
    Blob,
    /// behind HTTP
    Url(UrlFile),
}

/// A file behind HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlFile {
    /// absolute, or relative to the worker's script
    pub url: String,
    /// what it must hash to, where that is known
    pub sha256: Option<ModelId>,
    /// how long it is, where that is known
    pub bytes: Option<u64>,
}

/// What a model is, and what it takes, as its header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// its own name, else the file's
    pub name: String,
    /// `general.architecture`
    pub architecture: String,
    /// weights
    pub parameters: u64,
    /// that of most of its bytes, as GGUF names it
    pub format: String,
    /// bytes of its files, where known
    pub bytes: Option<u64>,
    /// bytes that loading it moves over the network, where known
    pub download_bytes: Option<u64>,
    /// bytes of weights
    pub weight_bytes: u64,
    /// bytes of keys and values for the whole context
    pub kv_bytes: u64,
    /// bytes of memory in all
    pub memory_bytes: u64,
    /// bytes of memory there are; none where it would run on a GPU, which does not say
    pub available_bytes: Option<u64>,
    /// bytes the browser would still keep for this site, where it says
    pub free_storage_bytes: Option<u64>,
    /// tokens that fit, prompt and answer together
    pub context_tokens: u32,
    /// what would compute
    pub backend: Backend,
    /// whether all of it is in the browser's storage
    pub kept: bool,
    /// whether it can be loaded
    pub fits: bool,
    /// why, or why not, for people
    pub reason: String,
}

/// A model in the browser's storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptModel {
    /// the model's, once it is whole; until then a name for removing it
    pub id: ModelId,
    /// for people
    pub name: String,
    /// bytes that are here
    pub bytes: u64,
    /// bytes in all, where known
    pub total_bytes: Option<u64>,
    /// whether all of it is here
    pub complete: bool,
    /// ms since 1970
    pub saved_millis: u64,
    /// where its first file comes from
    pub source: String,
}

/// Texts as vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Embeddings {
    /// name of the model
    pub model: String,
    /// one for each text, each of length 1, `(texts, dim)`
    pub vectors: Vec<Vec<f32>>,
    /// tokens of all texts
    pub prompt_tokens: u32,
}

/// Why there is no answer to an order, for programs and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// for programs
    pub cause: LossCause,
    /// for people
    pub reason: String,
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
        /// what the context had no room for
        discarded: Discarded,
    },
    /// texts are vectors
    Embedded {
        /// number of the order
        embedding: u64,
        /// or why not
        result: Result<Embeddings, Trouble>,
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
    /// a genome can be worn
    GenomeLoaded {
        /// number of the order
        load: u64,
        /// or why not; all is as it was then
        result: Result<Box<Genome>, Trouble>,
    },
    /// a genome is gone
    GenomeRemoved {
        /// number of the order
        removal: u64,
        /// or why not
        result: Result<Box<Genome>, Trouble>,
    },
    /// which genomes there are
    Genomes {
        /// number of the order
        list: u64,
        /// all of them by name, or why it cannot be said
        genomes: Result<Vec<Genome>, String>,
    },
    /// what a model is
    Inspected {
        /// number of the order
        inspection: u64,
        /// or why it cannot be said
        result: Result<Box<Inspection>, Trouble>,
    },
    /// what is in the browser's storage
    Kept {
        /// number of the order
        list: u64,
        /// everything, or why nothing can be kept
        models: Result<Vec<KeptModel>, String>,
        /// bytes that this site keeps in all, where the browser says
        used_bytes: Option<u64>,
        /// bytes that it may keep, where the browser says
        quota_bytes: Option<u64>,
    },
    /// a line for the log
    Log {
        /// how much it matters
        level: LogLevel,
        /// what happened
        message: String,
    },
    /// there is no model: loading failed, or the worker went away; every job is gone
    Lost {
        /// for programs
        cause: LossCause,
        /// for people
        reason: String,
    },
    /// a model was not loaded; the one before stays, or is being loaded again
    NotLoaded {
        /// number of the order
        load: u64,
        /// why
        trouble: Trouble,
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
        /// number of the order
        load: u64,
        /// which
        model: ModelOffer,
        /// what computes
        backend: Backend,
        /// with how many threads; none on a GPU
        threads: Option<Threads>,
        /// thousandths of a token per second, one answer alone
        millitokens_per_second: u64,
    },
    /// what computes was lost, a GPU or a worker, and the model is being loaded again; jobs wait
    /// meanwhile, and new ones are taken. `Ready` or `Lost` follows
    Restoring {
        /// for people
        reason: String,
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
    /// whoever asked changed their mind, or asked for another model
    Cancelled,
    /// the engine, its device or its worker failed
    EngineFailed,
    /// the adapter is damaged, not the one expected, or for another model
    InvalidGenome,
    /// the file is damaged, not the one expected, or of a kind that the engine does not know
    InvalidModel,
    /// what was asked for cannot be done by this model, or at all
    InvalidRequest,
    /// the file is not there or does not arrive
    ModelUnreachable,
    /// there is not enough memory
    OutOfMemory,
    /// there is no such genome here
    UnknownGenome,
}

/// What is being done to a model that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// bytes come over the network
    Download,
    /// bytes of a genome come
    Genome,
    /// the engine's speed is measured
    Probe,
    /// bytes come from a file or from the cache
    Read,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Download => "download",
            Self::Genome => "genome",
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
