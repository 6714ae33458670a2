//! The worker's one loop: an order, or a slice of an answer, then the event loop's turn.

use super::cache::ModelCache;
use super::clock::{Hop, sleep};
use super::error::LoadError;
use super::jobs::{Engine, Lost};
use super::load::{LoadRequest, Loaded, Loader};
use super::messages::{EngineEvent, LossCause, Order};
use super::pace::Pacer;
use super::{Inbound, machine, probe};
use futures::channel::mpsc::Receiver;
use futures::{FutureExt as _, StreamExt as _, pin_mut, select_biased};
use thrum_protocol::id::ModelId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::LogLevel;

/// What the worker finds around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// bytes of memory that models on the CPU may take
    pub(crate) available_bytes: u64,
}

impl Surroundings {
    /// Of the machine that this code runs on.
    #[must_use]
    pub(crate) fn of_this_machine() -> Self {
        Self {
            available_bytes: machine::available_bytes(),
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
        hop: Hop::new()?,
        engine: None,
        pacer: Pacer::new(),
    };
    loop {
        let inbound = match worker.rest_ms() {
            Some(0.0) => worker.orders.next().now_or_never(),
            Some(rest_ms) => worker.rest(rest_ms).await,
            None => worker.idle().await,
        };
        match inbound {
            Some(Some(inbound)) => worker.take(inbound).await,
            Some(None) => return Ok(()),
            None => worker.step().await?,
        }
    }
}

struct Worker<'a> {
    orders: Receiver<Inbound>,
    tell: &'a dyn Fn(EngineEvent),
    surroundings: Surroundings,
    hop: Hop,
    engine: Option<Engine>,
    pacer: Pacer,
}

/// How an attempt to load a model ended.
enum Attempt {
    /// nobody listens any more
    Deserted,
    Failed(LoadError),
    Loaded(Box<Loaded>, u64),
    /// another order to load came
    Replaced(LoadRequest),
}

impl Worker<'_> {
    /// How long there is work that has to wait, in ms; none where there is no work.
    fn rest_ms(&self) -> Option<f64> {
        let engine = self.engine.as_ref().filter(|engine| engine.has_work())?;
        Some(engine.rest_ms(&self.pacer))
    }

    /// Waits for an order, for this long at most.
    async fn rest(&mut self, rest_ms: f64) -> Option<Option<Inbound>> {
        let over = sleep(Millis(rest_ms.ceil() as u64)).fuse();
        pin_mut!(over);
        select_biased! {
            inbound = self.orders.next() => Some(inbound),
            () = over => None,
        }
    }

    /// The next order, or `Some(None)` when none will come, or `None` when the device was lost.
    async fn idle(&mut self) -> Option<Option<Inbound>> {
        let Some(engine) = &self.engine else {
            return Some(self.orders.next().await);
        };
        let Lost { reason } = {
            let lost = engine.lost().fuse();
            pin_mut!(lost);
            select_biased! {
                inbound = self.orders.next() => return Some(inbound),
                lost = lost => lost,
            }
        };
        self.lose(LossCause::EngineFailed, reason);
        None
    }

    async fn take(&mut self, (order, blob): Inbound) {
        match order {
            Order::Cancel { job } => {
                if let Some(engine) = &mut self.engine {
                    engine.cancel(job);
                }
            }
            Order::DestroyDevice => {
                if let Some(engine) = &self.engine {
                    engine.destroy_device();
                }
            }
            Order::Forget { model } => forget(model, self.tell).await,
            Order::Load { source, backend } => {
                self.load(LoadRequest {
                    source,
                    blob,
                    backend,
                })
                .await;
            }
            Order::Run { job, prompt, local } => match &mut self.engine {
                Some(engine) => engine.run(job, &prompt, local, self.tell),
                None => refuse(job, self.tell),
            },
            Order::Share { percent } => self.pacer.set(percent),
            // The timer is set where messages arrive.
            Order::WakeAfter { .. } => {}
        }
    }

    /// One slice of work, if there is any, and the event loop's turn.
    async fn step(&mut self) -> Result<(), LoadError> {
        if let Some(engine) = &mut self.engine
            && let Err(Lost { reason }) = engine.step(&mut self.pacer, self.tell).await
        {
            self.lose(LossCause::EngineFailed, reason);
        }
        Ok(self.hop.hop().await?)
    }

    /// Loads a model; a later order to load replaces this one.
    async fn load(&mut self, mut request: LoadRequest) {
        if let Some(engine) = self.engine.take() {
            engine.end("another model is being loaded", self.tell);
        }
        loop {
            match self.attempt(&request).await {
                Attempt::Deserted => return,
                Attempt::Failed(error) => return self.lose(error.cause(), error.to_string()),
                Attempt::Loaded(loaded, speed) => {
                    let engine = Engine::new(*loaded, self.surroundings.available_bytes);
                    (self.tell)(engine.ready(speed));
                    self.engine = Some(engine);
                    return;
                }
                Attempt::Replaced(later) => request = later,
            }
        }
    }

    /// Loads a model and serves other orders meanwhile.
    async fn attempt(&mut self, request: &LoadRequest) -> Attempt {
        let tell = self.tell;
        let hop = &self.hop;
        let pacer = &mut self.pacer;
        let loader = Loader {
            available_bytes: self.surroundings.available_bytes,
            tell,
        };
        let loading = async {
            let mut loaded = loader.load(request).await?;
            let speed = probe::millitokens_per_second(&mut loaded, hop, tell).await?;
            Ok((loaded, speed))
        };
        let loading = loading.fuse();
        pin_mut!(loading);
        loop {
            let inbound = select_biased! {
                inbound = self.orders.next() => inbound,
                result = loading => return match result {
                    Ok((loaded, speed)) => Attempt::Loaded(Box::new(loaded), speed),
                    Err(error) => Attempt::Failed(error),
                },
            };
            match inbound {
                None => return Attempt::Deserted,
                Some((Order::Load { source, backend }, blob)) => {
                    return Attempt::Replaced(LoadRequest {
                        source,
                        blob,
                        backend,
                    });
                }
                Some((Order::Run { job, .. }, _)) => refuse(job, tell),
                Some((Order::Share { percent }, _)) => pacer.set(percent),
                Some((Order::Forget { model }, _)) => forget(model, tell).await,
                // There is no job and no device, and the timer is set where messages arrive.
                Some((
                    Order::Cancel { .. } | Order::DestroyDevice | Order::WakeAfter { .. },
                    _,
                )) => {}
            }
        }
    }

    /// Ends the engine and all its jobs.
    fn lose(&mut self, cause: LossCause, reason: String) {
        self.engine = None;
        (self.tell)(EngineEvent::Lost { cause, reason });
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

async fn forget(model: ModelId, tell: &dyn Fn(EngineEvent)) {
    match ModelCache::open().await {
        Ok(cache) => cache.remove(model).await,
        Err(error) => {
            tell(EngineEvent::Log {
                level: LogLevel::Warn,
                message: error.to_string(),
            });
        }
    }
    tell(EngineEvent::Forgotten { model });
}
