//! The page's side of the engine's worker: orders go in, events come out.
//!
//! 1. [`EngineLink::spawn`] starts the worker; orders wait until it says that it is up.
//! 2. Whatever happens to the worker (a panic, a script that does not load) becomes
//!    [`EngineEvent::Lost`], and the worker is ended.
//! 3. The next [`EngineLink::load`] starts another.

mod script;
mod wire;

pub use crate::worker::messages::{
    BackendChoice, Embeddings, EngineEvent, Genome, GenomeFiles, GenomeSource, Inspection,
    KeptModel, LossCause, Stage, Trouble, UrlFile,
};

use crate::worker::messages::{LoadSource, Order, SourceFile};
use thrum_protocol::id::ModelId;
use thrum_protocol::task::Prompt;
use thrum_protocol::time::Millis;
use web_sys::Blob;
use wire::Wire;

/// Why no worker could be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The browser refused the script or knows no module workers.
    #[error("the engine's worker could not be started from {url}: {reason}")]
    Refused {
        /// the worker's script
        url: String,
        /// what the browser said
        reason: String,
    },
}

/// Where a model is, once its name has been looked up.
#[derive(Clone, Debug)]
pub struct ResolvedSource {
    pub(crate) source: LoadSource,
    /// files at hand, in order
    pub(crate) blobs: Vec<Blob>,
}

/// One file of a model, once its name has been looked up.
#[derive(Clone, Debug)]
pub enum ResolvedFile {
    /// a file the person chose
    Blob(Blob),
    /// behind HTTP; the address may be relative to the page
    Url(UrlFile),
}

impl ResolvedSource {
    /// A model in these files.
    #[must_use]
    pub fn files(name: &str, files: Vec<ResolvedFile>) -> Self {
        let mut blobs = Vec::new();
        let files = files.into_iter();
        let files = files.map(|file| source_file(file, &mut blobs)).collect();
        let name = name.to_owned();
        Self {
            source: LoadSource::Files { name, files },
            blobs,
        }
    }

    /// A model that the browser keeps.
    #[must_use]
    pub fn kept(id: ModelId) -> Self {
        Self {
            source: LoadSource::Kept { id },
            blobs: Vec::new(),
        }
    }
}

/// A file as the worker is told of it; what is at hand goes to `blobs`.
fn source_file(file: ResolvedFile, blobs: &mut Vec<Blob>) -> SourceFile {
    match file {
        ResolvedFile::Blob(blob) => {
            blobs.push(blob);
            SourceFile::Blob
        }
        ResolvedFile::Url(file) => SourceFile::Url(UrlFile {
            url: script::absolute(&file.url),
            ..file
        }),
    }
}

/// A dedicated worker with the engine in it. Dropping the link ends the worker.
pub struct EngineLink {
    wire: Wire,
    threads: Option<u32>,
}

impl EngineLink {
    /// Starts the worker from the module script at `worker_url`, absolute or relative to the page.
    ///
    /// `on_event` may use the link.
    ///
    /// # Errors
    /// [`SpawnError`] where the browser starts none. A script that turns out not to load becomes
    /// [`EngineEvent::Lost`].
    pub fn spawn(
        worker_url: &str,
        on_event: impl FnMut(EngineEvent) + 'static,
    ) -> Result<Self, SpawnError> {
        Ok(Self {
            wire: Wire::spawn(worker_url, on_event)?,
            threads: None,
        })
    }

    /// Has models on the CPU computed with so many threads, where the browser allows; none: with as
    /// many as suit the machine.
    #[must_use]
    pub fn with_threads(mut self, threads: Option<u32>) -> Self {
        self.threads = threads;
        self
    }

    /// Loads a model in place of the loaded one, which answers meanwhile.
    /// [`EngineEvent::Ready`], [`EngineEvent::NotLoaded`] or [`EngineEvent::Lost`] follows.
    pub fn load(&self, load: u64, found: ResolvedSource, backend: BackendChoice) {
        let ResolvedSource { source, blobs } = found;
        let order = Order::Load {
            load,
            source,
            backend,
            threads: self.threads,
        };
        self.wire.revive();
        self.wire.send(order, blobs);
    }

    /// Stops loading; [`EngineEvent::NotLoaded`] or [`EngineEvent::Lost`] follows unless it is done.
    pub fn stop_load(&self, load: u64) {
        self.wire.send(Order::StopLoad { load }, Vec::new());
    }

    /// Says what a model is and whether it fits; [`EngineEvent::Inspected`] follows.
    pub fn inspect(&self, inspection: u64, found: ResolvedSource, backend: BackendChoice) {
        let ResolvedSource { source, blobs } = found;
        let order = Order::Inspect {
            inspection,
            source,
            backend,
            threads: self.threads,
        };
        self.wire.revive();
        self.wire.send(order, blobs);
    }

    /// Stops an inspection; no event follows.
    pub fn stop_inspect(&self, inspection: u64) {
        self.wire
            .send(Order::StopInspect { inspection }, Vec::new());
    }

    /// Gives a vector for each text, by the loaded model; [`EngineEvent::Embedded`] follows.
    pub fn embed(&self, embedding: u64, texts: &[String]) {
        let texts = texts.to_vec();
        self.wire
            .send(Order::Embed { embedding, texts }, Vec::new());
    }

    /// Stops embedding; no event follows.
    pub fn stop_embed(&self, embedding: u64) {
        self.wire.send(Order::StopEmbed { embedding }, Vec::new());
    }

    /// Keeps genomes in the database of the node of this name; also in workers started later.
    pub fn keep_genomes(&self, store: &str) {
        self.wire.keep_genomes(store);
    }

    /// Takes a genome for the loaded model, and keeps it; [`EngineEvent::GenomeLoaded`] follows.
    pub fn load_genome(&self, load: u64, source: &GenomeSource<ResolvedFile>) {
        let mut blobs = Vec::new();
        let source = source.map(|file| source_file(file.clone(), &mut blobs));
        self.wire.revive();
        self.wire.send(Order::LoadGenome { load, source }, blobs);
    }

    /// Stops taking a genome; no event follows unless it is in the engine already.
    pub fn stop_genome(&self, load: u64) {
        self.wire.send(Order::StopGenome { load }, Vec::new());
    }

    /// Says which genomes there are; [`EngineEvent::Genomes`] follows.
    pub fn list_genomes(&self, list: u64) {
        self.wire.revive();
        self.wire.send(Order::ListGenomes { list }, Vec::new());
    }

    /// Forgets a genome; [`EngineEvent::GenomeRemoved`] follows.
    pub fn remove_genome(&self, removal: u64, genome: ModelId) {
        self.wire.revive();
        let order = Order::RemoveGenome { removal, genome };
        self.wire.send(order, Vec::new());
    }

    /// Says what the browser keeps; [`EngineEvent::Kept`] follows.
    pub fn list_kept(&self, list: u64) {
        self.wire.revive();
        self.wire.send(Order::List { list }, Vec::new());
    }

    /// Answers a prompt. [`EngineEvent::Done`] or [`EngineEvent::Failed`] follows, unless the job
    /// is cancelled or the engine lost. A `local` job is the person's own and is served first.
    pub fn run(&self, job: u64, prompt: &Prompt, local: bool) {
        self.wire.send(
            Order::Run {
                job,
                prompt: Box::new(prompt.clone()),
                local,
            },
            Vec::new(),
        );
    }

    /// Computes jobs that are not `local` this much of the time; also in workers started later.
    pub fn share(&self, percent: u32) {
        self.wire.share(percent);
    }

    /// Stops a job. Events of it that are already on their way still arrive.
    pub fn cancel(&self, job: u64) {
        self.wire.send(Order::Cancel { job }, Vec::new());
    }

    /// Gives [`EngineEvent::Wake`] after `delay`; a later call replaces an earlier one.
    pub fn wake_after(&self, delay: Millis) {
        self.wire.wake_after(delay);
    }

    /// Removes a model's file from the cache; [`EngineEvent::Forgotten`] follows.
    pub fn forget(&self, model: ModelId) {
        self.wire.revive();
        self.wire.send(Order::Forget { model }, Vec::new());
    }

    /// Destroys the GPU device, as a driver that resets does: for tests of what follows.
    pub fn destroy_device(&self) {
        self.wire.send(Order::DestroyDevice, Vec::new());
    }

    /// Ends the worker at once. No event follows; a later [`EngineLink::load`] starts another.
    pub fn terminate(&self) {
        self.wire.terminate();
    }
}

impl Drop for EngineLink {
    fn drop(&mut self) {
        self.wire.terminate();
    }
}
