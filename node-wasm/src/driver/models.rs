//! Which model the engine holds: what the machine asks for, and what a person puts in its place.

use super::{Done, Driver};
use crate::catalogue;
use crate::engine_link::{EngineEvent, LossCause, ResolvedSource};
use crate::fault::LoadFailure;
use crate::node::LoadWaiter;
use crate::options::ModelSource;
use crate::tabs::{TabId, TabMessage};
use thrum_protocol::id::ModelId;
use thrum_protocol::model::ModelOffer;

/// Who wanted a model to be loaded.
pub(super) enum Waiter {
    Here(LoadWaiter),
    Tab(TabId),
}

/// A model that somebody wants in place of the one the node was made with.
pub(super) struct Wanted {
    pub(super) source: Option<ModelSource>,
    pub(super) waiter: Option<Waiter>,
}

impl Driver {
    pub(super) fn resolve(&self, source: Option<ModelSource>, wanted: Option<Wanted>) {
        let relays = self.life.options.relays.clone();
        self.work(async move {
            Done::Resolved(catalogue::resolve(source.as_ref(), &relays).await, wanted)
        });
    }

    pub(super) fn load(&mut self, found: ResolvedSource) {
        match &self.engine {
            Ok(engine) => engine.load(found, self.life.options.backend),
            Err(reason) => {
                let reason = reason.clone();
                let cause = LossCause::EngineFailed;
                self.on_engine(EngineEvent::Lost { cause, reason });
            }
        }
    }

    pub(super) fn answer_load(&self, waiter: Waiter, result: Result<ModelOffer, LoadFailure>) {
        match waiter {
            // Whoever asked may have stopped waiting.
            Waiter::Here(waiter) => drop(waiter.send(result)),
            Waiter::Tab(to) => self.say(&TabMessage::Loaded { to, result }),
        }
    }

    pub(super) fn forget(&self, model: ModelId) {
        if let Ok(engine) = &self.engine {
            engine.forget(model);
        }
    }
}
