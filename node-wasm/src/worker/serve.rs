//! The worker's one loop: an order, a slice of an answer, a step of loading, or an errand's end,
//! then the event loop's turn.
//!
//! A model is loaded beside the one that answers, which goes on meanwhile. Only where both do not
//! fit is the old one given up first; if the new one then cannot be loaded, the old one is loaded
//! again. What becomes of a lost GPU is in [`restore`](super::restore).

use super::clock::{Hop, sleep};
use super::error::LoadError;
use super::genomes::{self, Genomes, Wish};
use super::jobs::{Engine, Lost};
use super::kept::{Kept, Room};
use super::load::{DeviceCell, LoadRequest, Loaded, Loader};
use super::messages::{EngineEvent, LossCause, Order, Trouble};
use super::{Inbound, inspect, machine, probe};
use futures::channel::mpsc::Receiver;
use futures::future::{AbortHandle, LocalBoxFuture, abortable};
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _, select_biased};
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;
use thrum_engine::cpu::crew::Patience;
use thrum_engine::error::EngineError;
use thrum_engine::pacing::DutyCycle;
use thrum_engine::recovery::Recovery;
use thrum_protocol::id::ModelId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::LogLevel;

/// What the worker finds around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// bytes of memory that models on the CPU may take
    pub(crate) available_bytes: u64,
    /// with workers that compute a part of a model
    pub(crate) patience: Patience,
}

impl Surroundings {
    /// Of the machine that this code runs on.
    #[must_use]
    pub(crate) fn of_this_machine() -> Self {
        Self {
            available_bytes: machine::available_bytes(),
            patience: Patience::DEFAULT,
        }
    }
}

/// Serves orders until their sender is gone.
///
/// # Errors
/// [`LoadError::Browser`] where the browser has no message channels; none is known to.
pub(crate) async fn serve(
    orders: Receiver<Inbound>,
    tell: impl Fn(EngineEvent),
    surroundings: Surroundings,
) -> Result<(), LoadError> {
    let mut worker = Worker {
        orders,
        tell: &tell,
        surroundings,
        hop: Rc::new(Hop::new()?),
        engine: None,
        request: None,
        last_load: 0,
        loading: None,
        under_way: DeviceCell::default(),
        duty: DutyCycle::default(),
        recovery: Recovery::default(),
        errands: FuturesUnordered::new(),
        inspections: BTreeMap::new(),
        genomes: Genomes::new(&tell),
    };
    loop {
        match worker.next().await {
            Happening::Errand => {}
            Happening::Genome(step) => worker.genomes.on(step, &mut worker.engine).await,
            Happening::Loading(stage) => worker.on_loading(stage).await,
            Happening::Lost(lost) => worker.on_lost(lost),
            Happening::Order(Some(inbound)) => worker.take(inbound),
            Happening::Order(None) => return Ok(()),
            Happening::Turn => worker.step().await?,
        }
    }
}

pub(super) struct Worker<'a> {
    orders: Receiver<Inbound>,
    pub(super) tell: &'a dyn Fn(EngineEvent),
    pub(super) surroundings: Surroundings,
    pub(super) hop: Rc<Hop>,
    pub(super) engine: Option<Engine>,
    /// how the engine's model was asked for
    pub(super) request: Option<Rc<LoadRequest>>,
    /// number of the order that brought it
    pub(super) last_load: u64,
    pub(super) loading: Option<Loading<'a>>,
    /// the device that a model is on its way to
    under_way: DeviceCell,
    /// the donor's share
    duty: DutyCycle,
    /// the devices that were lost of late
    pub(super) recovery: Recovery,
    /// what is done beside everything else
    errands: FuturesUnordered<LocalBoxFuture<'a, ()>>,
    /// the errands that can be stopped; those that are done are forgotten with the next
    inspections: BTreeMap<u64, AbortHandle>,
    genomes: Genomes<'a>,
}

/// What happens next.
enum Happening {
    Errand,
    Genome(genomes::Step),
    Loading(Stage),
    Lost(Lost),
    Order(Option<Inbound>),
    /// there is work to do
    Turn,
}

/// A model on its way.
pub(super) struct Loading<'a> {
    pub(super) load: u64,
    pub(super) request: Rc<LoadRequest>,
    /// how the model was asked for that was given up for this one
    pub(super) before: Option<Rc<LoadRequest>>,
    pub(super) purpose: Purpose,
    pub(super) progress: LocalBoxFuture<'a, Stage>,
}

/// What a model is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The page waits for it.
    Asked,
    /// It was given up for one that could not be loaded.
    Restores,
    /// The engine's jobs wait for it, whose device was lost.
    Mends,
}

/// How far it is.
pub(super) enum Stage {
    Loaded(Result<Box<Loaded>, LoadError>),
    Probed(Result<(Box<Loaded>, u64), LoadError>),
}

impl<'a> Worker<'a> {
    async fn next(&mut self) -> Happening {
        let rest_ms = self.rest_ms();
        let pause = async {
            match rest_ms {
                Some(0.0) => {}
                Some(rest_ms) => sleep(Millis(rest_ms.ceil() as u64)).await,
                None => std::future::pending().await,
            }
        };
        let engine = self.engine.as_ref();
        let lost = async {
            match engine {
                // Work finds out by itself.
                Some(engine) if rest_ms.is_none() => engine.lost().await,
                _ => std::future::pending().await,
            }
        };
        let loading = async {
            match &mut self.loading {
                Some(loading) => (&mut loading.progress).await,
                None => std::future::pending().await,
            }
        };
        let mut pause = pin!(pause.fuse());
        let mut lost = pin!(lost.fuse());
        let mut loading = pin!(loading.fuse());
        select_biased! {
            inbound = self.orders.next() => Happening::Order(inbound),
            stage = loading => Happening::Loading(stage),
            () = self.errands.select_next_some() => Happening::Errand,
            step = self.genomes.steps().select_next_some() => Happening::Genome(step),
            lost = lost => Happening::Lost(lost),
            () = pause => Happening::Turn,
        }
    }

    /// How long there is work that has to wait, in ms; none where there is no work.
    fn rest_ms(&self) -> Option<f64> {
        let engine = self.engine.as_ref().filter(|engine| engine.has_work())?;
        Some(engine.rest_ms(&self.duty))
    }

    /// One slice of work, if there is any, and the event loop's turn.
    async fn step(&mut self) -> Result<(), LoadError> {
        if let Some(engine) = &mut self.engine
            && let Err(lost) = engine.step(&mut self.duty, self.tell).await
        {
            self.on_lost(lost);
        }
        Ok(self.hop.hop().await?)
    }

    fn take(&mut self, (order, blobs): Inbound) {
        match order {
            Order::Cancel { job } => {
                self.genomes.cancel(job);
                if let Some(engine) = &mut self.engine {
                    engine.cancel(job);
                }
            }
            Order::DestroyDevice => {
                if let Some(engine) = &self.engine {
                    engine.destroy_device();
                }
                if let Some(device) = self.under_way.take() {
                    device.destroy();
                }
            }
            Order::Embed { embedding, texts } => match &mut self.engine {
                Some(engine) => engine.embed(embedding, texts),
                None => (self.tell)(EngineEvent::Embedded {
                    embedding,
                    result: Err(Trouble {
                        cause: LossCause::EngineFailed,
                        reason: "no model is loaded".to_owned(),
                    }),
                }),
            },
            Order::Forget { model } => self.errands.push(forget(model, self.tell).boxed_local()),
            Order::Inspect {
                inspection,
                source,
                backend,
                threads,
            } => self.inspect(
                inspection,
                LoadRequest {
                    source,
                    blobs,
                    backend,
                    threads,
                },
            ),
            Order::KeepGenomes { store } => self.genomes.keep_in(store),
            Order::ListGenomes { list } => self.genomes.wish(Wish::List(list)),
            Order::LoadGenome { load, source } => {
                self.genomes.load(load, source, blobs);
            }
            Order::RemoveGenome { removal, genome } => {
                self.genomes.wish(Wish::Remove(removal, genome));
            }
            Order::StopGenome { load } => self.genomes.stop_load(load),
            Order::List { list } => self.errands.push(say_kept(list, self.tell).boxed_local()),
            Order::Load {
                load,
                source,
                backend,
                threads,
            } => {
                let before = self.replace_loading();
                let request = LoadRequest {
                    source,
                    blobs,
                    backend,
                    threads,
                };
                self.load(load, Rc::new(request), before);
            }
            Order::Run { job, prompt, local } => match &mut self.engine {
                Some(_) if !prompt.sampling.genomes.is_empty() => {
                    self.genomes.run(job, prompt, local);
                }
                Some(engine) => engine.run(job, &prompt, local, self.tell),
                None => refuse(job, self.tell),
            },
            Order::Share { percent } => self.duty.set(percent),
            Order::StopEmbed { embedding } => {
                if let Some(engine) = &mut self.engine {
                    engine.stop_embedding(embedding);
                }
            }
            Order::StopInspect { inspection } => {
                if let Some(handle) = self.inspections.remove(&inspection) {
                    handle.abort();
                }
            }
            Order::StopLoad { load } => {
                let is_it = |it: &Loading<'_>| it.load == load && it.purpose != Purpose::Mends;
                if self.loading.as_ref().is_some_and(is_it) {
                    self.stop_loading();
                }
            }
            // The timer is set where messages arrive.
            Order::WakeAfter { .. } => {}
        }
    }

    fn inspect(&mut self, inspection: u64, request: LoadRequest) {
        let tell = self.tell;
        let available_bytes = self.surroundings.available_bytes;
        let (errand, handle) = abortable(async move {
            let result = inspect::inspect(&request, available_bytes).await;
            tell(EngineEvent::Inspected {
                inspection,
                result: result.map(Box::new).map_err(|error| trouble(&error)),
            });
        });
        self.inspections.retain(|_, handle| !handle.is_aborted());
        self.inspections.insert(inspection, handle);
        // An errand that was stopped says nothing.
        self.errands.push(errand.map(drop).boxed_local());
    }

    /// Begins to load a model, in the memory that the one before leaves.
    fn load(&mut self, load: u64, request: Rc<LoadRequest>, before: Option<Rc<LoadRequest>>) {
        let loader = self.loader(&request);
        let wanted = Rc::clone(&request);
        let progress = async move {
            let loaded = loader.load(&wanted).await;
            Stage::Loaded(loaded.map(Box::new))
        };
        self.loading = Some(Loading {
            load,
            request,
            before,
            purpose: Purpose::Asked,
            progress: progress.boxed_local(),
        });
    }

    pub(super) fn loader(&self, request: &LoadRequest) -> Loader<'a> {
        let held_bytes = self.engine.as_ref().map_or(0, Engine::held_bytes);
        Loader {
            available_bytes: self.surroundings.available_bytes.saturating_sub(held_bytes),
            threads: request.threads,
            patience: self.surroundings.patience,
            tell: self.tell,
            under_way: Rc::clone(&self.under_way),
        }
    }

    async fn on_loading(&mut self, stage: Stage) {
        let Some(loading) = self.loading.take() else {
            return;
        };
        let mends = loading.purpose == Purpose::Mends;
        match stage {
            Stage::Loaded(Ok(loaded)) => self.probe(loading, loaded),
            Stage::Loaded(Err(error)) | Stage::Probed(Err(error)) if mends => {
                self.mend_again(loading.request.backend, &error);
            }
            Stage::Probed(Ok((loaded, speed))) if mends => {
                self.mended(&loading, *loaded, speed).await;
            }
            Stage::Loaded(Err(error)) if self.engine.is_some() && self.makes_room(&error) => {
                let before = self
                    .give_up("another model needs the memory")
                    .or(loading.before);
                self.load(loading.load, loading.request, before);
            }
            Stage::Probed(Ok((loaded, speed))) => {
                let engine = Engine::new(*loaded, self.surroundings.available_bytes);
                (self.tell)(engine.ready(loading.load, speed));
                self.engine = Some(engine);
                self.request = Some(loading.request);
                self.last_load = loading.load;
            }
            Stage::Probed(Err(LoadError::Engine(EngineError::GpuLost { reason }))) => {
                self.load_again(loading, reason);
            }
            Stage::Loaded(Err(error)) | Stage::Probed(Err(error)) => {
                self.not_loaded(loading.load, loading.before, trouble(&error));
            }
        }
    }

    /// Measures the model's speed, alone: the one before has to go, unless it waits for this one.
    fn probe(&mut self, loading: Loading<'a>, mut loaded: Box<Loaded>) {
        let before = match loading.purpose {
            Purpose::Mends => None,
            Purpose::Asked | Purpose::Restores => {
                self.give_up("another model was loaded").or(loading.before)
            }
        };
        let (hop, tell) = (Rc::clone(&self.hop), self.tell);
        let progress = async move {
            let speed = probe::speed(&mut loaded, &hop, tell).await;
            Stage::Probed(speed.map(|speed| (loaded, speed)))
        };
        self.loading = Some(Loading {
            before,
            progress: progress.boxed_local(),
            ..loading
        });
    }

    /// Whether a model that failed with `error` would fit if the one before were gone.
    fn makes_room(&self, error: &LoadError) -> bool {
        let available_bytes = self.surroundings.available_bytes;
        if let LoadError::DoesNotFit { needed_bytes, .. }
        | LoadError::Engine(EngineError::DoesNotFit { needed_bytes, .. }) = error
        {
            return *needed_bytes <= available_bytes;
        }
        error.cause() == LossCause::OutOfMemory
    }

    /// Ends the engine and its jobs; gives how its model was asked for.
    fn give_up(&mut self, why: &str) -> Option<Rc<LoadRequest>> {
        self.genomes.end(why);
        self.engine.take()?.end(why, self.tell);
        self.request.take()
    }

    fn stop_loading(&mut self) {
        if let Some(loading) = self.loading.take() {
            self.not_loaded(loading.load, loading.before, cancelled("it was stopped"));
        }
    }

    /// Makes way for another model; gives how the one was asked for that was given up already.
    fn replace_loading(&mut self) -> Option<Rc<LoadRequest>> {
        let Loading {
            load,
            request,
            before,
            purpose,
            ..
        } = self.loading.take()?;
        match purpose {
            Purpose::Asked => {}
            // The engine is there, and waits on.
            Purpose::Mends => return None,
            // Nobody waits for it, and it is still what was there before.
            Purpose::Restores => return Some(request),
        }
        let trouble = cancelled("another model was asked for");
        (self.tell)(EngineEvent::NotLoaded { load, trouble });
        before
    }

    /// Things are to be as before: the model that was given up is loaded again.
    pub(super) fn not_loaded(
        &mut self,
        load: u64,
        before: Option<Rc<LoadRequest>>,
        trouble: Trouble,
    ) {
        if self.engine.is_none() && before.is_none() {
            let Trouble { cause, reason } = trouble;
            return self.lose(cause, reason);
        }
        (self.tell)(EngineEvent::NotLoaded { load, trouble });
        if let Some(before) = before.filter(|_| self.engine.is_none()) {
            self.load(load, before, None);
            if let Some(loading) = &mut self.loading {
                loading.purpose = Purpose::Restores;
            }
        }
        if self.engine.as_ref().is_some_and(Engine::waits) {
            self.mend();
        }
    }

    /// Ends the engine and all its jobs.
    pub(super) fn lose(&mut self, cause: LossCause, reason: String) {
        self.engine = None;
        self.request = None;
        self.genomes.end(&reason);
        (self.tell)(EngineEvent::Lost { cause, reason });
    }
}

fn cancelled(why: &str) -> Trouble {
    Trouble {
        cause: LossCause::Cancelled,
        reason: why.to_owned(),
    }
}

pub(super) fn trouble(error: &LoadError) -> Trouble {
    Trouble {
        cause: error.cause(),
        reason: error.to_string(),
    }
}

fn refuse(job: u64, tell: &dyn Fn(EngineEvent)) {
    let message = "no model is loaded".to_owned();
    tell(EngineEvent::Failed {
        job,
        invalid_request: false,
        message,
    });
}

async fn say_kept(list: u64, tell: &dyn Fn(EngineEvent)) {
    let models = inspect::list().await;
    let Room {
        used_bytes,
        quota_bytes,
    } = Room::estimate().await;
    tell(EngineEvent::Kept {
        list,
        models,
        used_bytes,
        quota_bytes,
    });
}

async fn forget(model: ModelId, tell: &dyn Fn(EngineEvent)) {
    match Kept::open().await {
        Ok(kept) => kept.remove_model(model).await,
        Err(error) => {
            tell(EngineEvent::Log {
                level: LogLevel::Warn,
                message: error.to_string(),
            });
        }
    }
    tell(EngineEvent::Forgotten { model });
}
