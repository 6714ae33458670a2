//! What computes went away, a GPU or one of several workers: jobs wait while the model is loaded
//! again, on another device or else on one thread of the CPU, and go on where they were.

use super::clock::{now_ms, sleep};
use super::error::LoadError;
use super::jobs::Lost;
use super::load::{LoadRequest, Loaded};
use super::messages::{BackendChoice, EngineEvent};
use super::serve::{Loading, Purpose, Stage, Worker, trouble};
use futures::FutureExt as _;
use std::rc::Rc;
use thrum_engine::error::EngineError;
use thrum_engine::recovery::Attempt;
use thrum_protocol::time::Millis;
use thrum_protocol::view::LogLevel;

impl<'a> Worker<'a> {
    /// What the engine computes with is gone. Where another model is on its way, it may take the place.
    pub(super) fn on_lost(&mut self, Lost { reason }: Lost) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        engine.wait();
        (self.tell)(EngineEvent::Restoring { reason });
        if self.loading.is_none() {
            self.mend();
        }
    }

    /// Loads the model of the engine that waits again.
    pub(super) fn mend(&mut self) {
        let Some(request) = &self.request else {
            return;
        };
        let attempt = self.recovery.lost(now_ms());
        let request = self.as_attempted(request, attempt);
        let (loader, wanted) = (self.loader(&request), Rc::clone(&request));
        let progress = async move {
            wait_for(attempt).await;
            Stage::Loaded(loader.load(&wanted).await.map(Box::new))
        };
        self.loading = Some(Loading {
            load: self.last_load,
            request,
            before: None,
            purpose: Purpose::Mends,
            progress: progress.boxed_local(),
        });
    }

    /// A request as it is to be tried now.
    fn as_attempted(&self, request: &Rc<LoadRequest>, attempt: Attempt) -> Rc<LoadRequest> {
        match attempt {
            Attempt::Gpu { .. } => Rc::clone(request),
            Attempt::Cpu => {
                (self.tell)(EngineEvent::Log {
                    level: LogLevel::Warn,
                    message: "computing on one thread of the CPU: nothing else holds".to_owned(),
                });
                Rc::new(LoadRequest {
                    source: request.source.clone(),
                    blobs: request.blobs.clone(),
                    backend: BackendChoice::Cpu,
                    // The simplest there is.
                    threads: Some(1),
                })
            }
        }
    }

    /// The model that jobs wait for is there.
    pub(super) async fn mended(&mut self, loading: &Loading<'a>, loaded: Loaded, speed: u64) {
        let available_bytes = self.surroundings.available_bytes;
        let Some(engine) = &mut self.engine else {
            return;
        };
        match engine.go_on(loaded, available_bytes).await {
            Ok(()) => (self.tell)(engine.ready(loading.load, speed)),
            Err(error) => self.mend_again(loading.request.backend, &error),
        }
    }

    /// The model that jobs wait for did not come. What the GPU is to blame for is tried again; what
    /// is wrong with the file would be wrong again.
    pub(super) fn mend_again(&mut self, backend: BackendChoice, error: &LoadError) {
        let message = format!("the model could not be loaded again: {error}");
        (self.tell)(EngineEvent::Log {
            level: LogLevel::Warn,
            message,
        });
        let is_lost = matches!(error, LoadError::Engine(error) if Lost::of(error).is_some());
        match is_lost || backend != BackendChoice::Cpu && error.is_of_the_gpu() {
            true => self.mend(),
            false => self.give_up_mending(error),
        }
    }

    fn give_up_mending(&mut self, error: &LoadError) {
        let trouble = trouble(error);
        if let Some(engine) = self.engine.take() {
            engine.end(&trouble.reason, self.tell);
        }
        self.lose(trouble.cause, trouble.reason);
    }

    /// The device was lost under a model that was measured already: the same again.
    pub(super) fn load_again(&mut self, loading: Loading<'a>, reason: String) {
        let Loading {
            load,
            request,
            before,
            purpose,
            ..
        } = loading;
        let attempt = self.recovery.lost(now_ms());
        if attempt == Attempt::Cpu && request.backend == BackendChoice::Webgpu {
            let error = LoadError::Engine(EngineError::GpuLost { reason });
            return self.not_loaded(load, before, trouble(&error));
        }
        let message = format!("the GPU was lost ({reason}); loading again");
        (self.tell)(EngineEvent::Log {
            level: LogLevel::Warn,
            message,
        });
        let request = self.as_attempted(&request, attempt);
        let (loader, wanted) = (self.loader(&request), Rc::clone(&request));
        let progress = async move {
            wait_for(attempt).await;
            Stage::Loaded(loader.load(&wanted).await.map(Box::new))
        };
        self.loading = Some(Loading {
            load,
            request,
            before,
            purpose,
            progress: progress.boxed_local(),
        });
    }
}

async fn wait_for(attempt: Attempt) {
    match attempt {
        Attempt::Gpu { after_ms } if after_ms > 0.0 => sleep(Millis(after_ms as u64)).await,
        Attempt::Gpu { .. } | Attempt::Cpu => {}
    }
}
