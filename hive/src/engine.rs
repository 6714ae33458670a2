//! What we know of our own engine: whether it holds a model, and when to load it (again).

use crate::backoff::Backoff;
use crate::env::Env;
use crate::io::Output;
use crate::limits::{ENGINE_BACKOFF_MAX, ENGINE_BACKOFF_MIN, ENGINE_STABLE, MAX_ENGINE_FAILURES};
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::time::Millis;
use thrum_protocol::view::{LogLevel, Threads};

/// Our engine, as its edge reports it.
pub(crate) struct Engine {
    state: EngineState,
    backoff: Backoff,
}

/// Whether it holds a model.
#[derive(Clone, Debug)]
pub(crate) enum EngineState {
    NotLoaded,
    Loading,
    Ready(Loaded),
    /// loading failed, for the first time or after the device was lost; `retry_at` is `None` where we gave up
    Failed {
        reason: String,
        retry_at: Option<Millis>,
    },
}

/// The model it holds.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) model: ModelOffer,
    pub(crate) backend: Backend,
    pub(crate) threads: Option<Threads>,
    pub(crate) millitokens_per_second: u64,
    since: Millis,
    /// why the device is gone, while the model is loaded again and jobs wait
    restoring: Option<String>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        Self {
            state: EngineState::NotLoaded,
            backoff: Backoff::new(ENGINE_BACKOFF_MIN, ENGINE_BACKOFF_MAX),
        }
    }

    pub(crate) fn state(&self) -> &EngineState {
        &self.state
    }

    pub(crate) fn loaded(&self) -> Option<&Loaded> {
        match &self.state {
            EngineState::Ready(loaded) => Some(loaded),
            EngineState::NotLoaded | EngineState::Loading | EngineState::Failed { .. } => None,
        }
    }

    /// Why it will hold no model unless a person asks again.
    pub(crate) fn gave_up(&self) -> Option<&str> {
        match &self.state {
            EngineState::Failed {
                reason,
                retry_at: None,
            } => Some(reason),
            EngineState::NotLoaded
            | EngineState::Loading
            | EngineState::Ready(_)
            | EngineState::Failed { .. } => None,
        }
    }

    /// Somebody needs the model: loads it unless it is there, on its way, or waits after a failure.
    pub(crate) fn want(&mut self, env: &mut Env) {
        let due = match &self.state {
            EngineState::NotLoaded => true,
            EngineState::Failed { retry_at, .. } => retry_at.is_some_and(|at| at <= env.now),
            EngineState::Loading | EngineState::Ready(_) => false,
        };
        if due {
            env.push(Output::LoadModel);
            self.state = EngineState::Loading;
            env.changed = true;
        }
    }

    /// A person asks: earlier failures no longer count.
    pub(crate) fn forgive(&mut self, now: Millis) {
        self.backoff.reset();
        if let EngineState::Failed { retry_at, .. } = &mut self.state {
            *retry_at = Some(now);
        }
    }

    /// Returns whether another model was there before, whose jobs are gone.
    pub(crate) fn ready(
        &mut self,
        env: &mut Env,
        model: ModelOffer,
        backend: Backend,
        threads: Option<Threads>,
        millitokens_per_second: u64,
    ) -> bool {
        let replaced = self.loaded().is_some_and(|old| old.model.id != model.id);
        let message = format!("the model {} is ready on {backend}", model.name);
        env.log(LogLevel::Info, message);
        self.state = EngineState::Ready(Loaded {
            model,
            backend,
            threads,
            millitokens_per_second,
            since: env.now,
            restoring: None,
        });
        env.changed = true;
        replaced
    }

    /// The device is gone; the model is being loaded again, and its jobs wait.
    pub(crate) fn restoring(&mut self, env: &mut Env, reason: String) {
        if let EngineState::Ready(loaded) = &mut self.state {
            let message = format!("what computes was lost, loading again: {reason}");
            env.log(LogLevel::Warn, message);
            loaded.restoring = Some(reason);
            env.changed = true;
        }
    }

    /// Why jobs wait, where they do.
    pub(crate) fn waits_because(&self) -> Option<&str> {
        self.loaded()?.restoring.as_deref()
    }

    pub(crate) fn lost(&mut self, env: &mut Env, reason: String) {
        if let EngineState::Ready(loaded) = &self.state
            && env.now.since(loaded.since) >= ENGINE_STABLE
        {
            self.backoff.reset();
        }
        env.log(LogLevel::Error, format!("no model is loaded: {reason}"));
        let retry_at = (self.backoff.failures() < MAX_ENGINE_FAILURES)
            .then(|| env.now + self.backoff.fail(&mut env.rng));
        self.state = EngineState::Failed { reason, retry_at };
        env.changed = true;
    }

    /// When a model that is `wanted` for as long as it takes is tried again.
    pub(crate) fn next_wake(&self, wanted: bool) -> Option<Millis> {
        match &self.state {
            EngineState::Failed { retry_at, .. } if wanted => *retry_at,
            EngineState::NotLoaded
            | EngineState::Loading
            | EngineState::Ready(_)
            | EngineState::Failed { .. } => None,
        }
    }
}
