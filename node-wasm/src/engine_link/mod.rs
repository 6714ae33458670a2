//! The page's side of the engine's worker: orders go in, events come out.
//!
//! 1. [`EngineLink::spawn`] starts the worker; orders wait until it says that it is up.
//! 2. Whatever happens to the worker (a panic, a script that does not load) becomes
//!    [`EngineEvent::Lost`], and the worker is ended.
//! 3. The next [`EngineLink::load`] starts another.

mod script;
mod wire;

pub use crate::worker::messages::{BackendChoice, EngineEvent, LossCause, Stage};

use crate::worker::messages::{LoadSource, Order};
use thrum_protocol::id::ModelId;
use thrum_protocol::task::Prompt;
use thrum_protocol::time::Millis;
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
pub enum ResolvedSource {
    /// a file the person chose
    Blob {
        /// the file
        blob: web_sys::Blob,
        /// for people
        name: String,
    },
    /// behind HTTP
    Url {
        /// absolute
        url: String,
        /// for people
        name: String,
        /// what the file must hash to, where it is known; only then is it kept for next time
        sha256: Option<ModelId>,
        /// how long the file is, where it is known
        bytes: Option<u64>,
    },
}

/// A dedicated worker with the engine in it. Dropping the link ends the worker.
pub struct EngineLink {
    wire: Wire,
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
        })
    }

    /// Loads a model in place of the loaded one. [`EngineEvent::Ready`] or [`EngineEvent::Lost`]
    /// follows; jobs of the model before fail.
    pub fn load(&self, source: ResolvedSource, backend: BackendChoice) {
        let (source, blob) = match source {
            ResolvedSource::Blob { blob, name } => (LoadSource::Blob { name }, Some(blob)),
            ResolvedSource::Url {
                url,
                name,
                sha256,
                bytes,
            } => (
                LoadSource::Url {
                    url: script::absolute(&url),
                    name,
                    sha256,
                    bytes,
                },
                None,
            ),
        };
        self.wire.revive();
        self.wire.send(Order::Load { source, backend }, blob);
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
            None,
        );
    }

    /// Computes jobs that are not `local` this much of the time; also in workers started later.
    pub fn share(&self, percent: u32) {
        self.wire.share(percent);
    }

    /// Stops a job. Events of it that are already on their way still arrive.
    pub fn cancel(&self, job: u64) {
        self.wire.send(Order::Cancel { job }, None);
    }

    /// Gives [`EngineEvent::Wake`] after `delay`; a later call replaces an earlier one.
    pub fn wake_after(&self, delay: Millis) {
        self.wire.wake_after(delay);
    }

    /// Removes a model's file from the cache; [`EngineEvent::Forgotten`] follows.
    pub fn forget(&self, model: ModelId) {
        self.wire.send(Order::Forget { model }, None);
    }

    /// Destroys the GPU device, as a driver that resets does: for tests of what follows.
    pub fn destroy_device(&self) {
        self.wire.send(Order::DestroyDevice, None);
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
