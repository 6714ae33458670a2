//! The owner's loop: one thing happens, the machine is told, and what it wants is carried out.
//!
//! *One mutation, then drain.* Nothing here waits: what takes time (a fetch, a database) is a future
//! in [`Driver::working`] whose result comes back as a happening.

mod answers;
mod errands;

use crate::asks::Asks;
use crate::browser::{self, PageEvent};
use crate::clock::{self, Clock, PageTimer, Slice};
use crate::engine_link::{EngineEvent, EngineLink, LossCause, ResolvedSource};
use crate::errand::Reply;
use crate::fault::LoadFailure;
use crate::follower::cancelled_update;
use crate::identity;
use crate::log;
use crate::net::Net;
use crate::node::{Life, Order, Stage};
use crate::options::ModelSource;
use crate::store::{Shelf, StoreError};
use crate::tabs::{Heard, TabId, TabMessage};
use crate::web_lock::HeldLock;
use ed25519_dalek::SigningKey;
use errands::{Errands, Waiter};
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, FutureExt as _, LocalBoxFuture, select};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, select_biased};
use std::collections::BTreeSet;
use std::pin::pin;
use thrum_hive::io::{Input, JobId, Output, StoreKey};
use thrum_hive::{Config, Hive};
use thrum_protocol::time::Millis;
use thrum_protocol::view::{Event, LogLine};

/// count; events of the engine that wait for the loop: 4,000 tokens are a minute of a fast engine,
/// and the loop sees to them within a few milliseconds.
const MAX_ENGINE_EVENTS: usize = 4_096;

/// count; followers that are served. More tabs than anyone keeps open.
const MAX_FOLLOWERS: usize = 64;

/// ms; the wall clock was set, or the other stood still while the machine slept: more than either
/// errs by, and little beside a record's life.
const MAX_CLOCK_DRIFT: Millis = Millis(5_000);

/// ms; how long taking leave may take before the connections are dropped.
const LEAVE_MILLIS: Millis = Millis(300);

/// The owner's half of a node.
pub(crate) struct Driver {
    life: Life,
    clock: Clock,
    net: Net,
    /// or why there is none
    engine: Result<EngineLink, String>,
    engine_events: mpsc::Receiver<EngineEvent>,
    /// what the wall clock showed at the clock's zero, as the machine was told
    dawn: Millis,
    timer: PageTimer,
    timer_rings: mpsc::Receiver<()>,
    working: FuturesUnordered<LocalBoxFuture<'static, Done>>,
    asks: Asks,
    followers: BTreeSet<TabId>,
    /// what the machine's `LoadModel` loads
    model: Option<ModelSource>,
    errands: Errands,
}

/// What happened.
enum Happening {
    Done(Done),
    Engine(EngineEvent),
    Heard(Heard),
    Input(Input),
    Line(LogLine),
    Order(Order),
    Page(PageEvent),
}

/// The result of something that took time.
enum Done {
    Loaded(StoreKey, Result<Option<Vec<u8>>, StoreError>),
    /// where the model of an errand is
    Resolved(u64, Result<ResolvedSource, LoadFailure>),
    Stored(Result<(), StoreError>),
}

impl Driver {
    /// A node of this identity; nothing has happened yet.
    pub(crate) fn new(life: Life, key: &SigningKey) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let commit = option_env!("THRUM_COMMIT").unwrap_or("unknown");
        let agent = format!("thrum/{version}+{commit}");
        let clock = Clock::start();
        let config = Config {
            key: key.clone(),
            seed: identity::random_bytes(),
            relays: life.options.relays.clone(),
            agent: agent.clone(),
            version: version.to_owned(),
            commit: commit.to_owned(),
            resume_donation: life.options.resume_donation,
        };
        let hive = Hive::new(config, clock.now());
        *life.shared.stage.borrow_mut() = Stage::Owner(Box::new(hive), clock);
        let (mut ring, timer_rings) = mpsc::channel(1);
        // Full: a ring is waiting already, and one is as good as two.
        let timer = PageTimer::new(move || drop(ring.try_send(())));
        let (engine, engine_events) = spawn_engine(&life.options.worker_url, life.options.threads);
        if let Ok(engine) = &engine {
            engine.keep_genomes(&life.options.store);
        }
        Self {
            clock,
            net: Net::new(key.to_bytes(), agent, &life.options, clock),
            engine,
            engine_events,
            dawn: Millis(0),
            timer,
            timer_rings,
            working: FuturesUnordered::new(),
            asks: Asks::default(),
            followers: BTreeSet::new(),
            model: life.options.model.clone(),
            errands: Errands::default(),
            life,
        }
    }

    /// Runs until the node is closed. `took_over`: another tab of this origin ran it before.
    pub(crate) async fn run(mut self, lock: HeldLock, took_over: bool) {
        let slice = Slice::new();
        self.begin(took_over);
        let done = loop {
            let happening = {
                let mut next = pin!(self.next());
                match futures::poll!(&mut next) {
                    std::task::Poll::Ready(happening) => happening,
                    std::task::Poll::Pending => {
                        let happening = next.await;
                        slice.begin();
                        happening
                    }
                }
            };
            if let Happening::Order(Order::Close(done)) = happening {
                break done;
            }
            self.on(happening);
            if slice.is_over() {
                slice.breathe().await;
            }
        };
        self.leave().await;
        self.life.shared.close("closed");
        drop(self);
        drop(lock);
        // Nobody may be waiting any more.
        done.send(()).ok();
    }

    fn begin(&mut self, took_over: bool) {
        self.drain();
        let trouble = self.life.keeper.trouble();
        self.on_store(trouble.as_ref());
        if !browser::is_online() {
            self.tell(Input::Online(false));
        }
        self.say(&TabMessage::Owner {});
        if took_over {
            tracing::info!("this tab took the node over");
            let (again, cancelled) = self.life.pending.anew();
            for ask in cancelled {
                self.life.shared.emit(&Event::Ask {
                    ask,
                    update: cancelled_update(),
                });
            }
            for request in again {
                self.ask(None, request);
            }
        }
        self.life.shared.emit(&Event::Changed);
    }

    async fn next(&mut self) -> Happening {
        select_biased! {
            event = self.life.pages.select_next_some() => Happening::Page(event),
            order = self.life.orders.select_next_some() => Happening::Order(order),
            event = self.engine_events.select_next_some() => Happening::Engine(event),
            done = self.working.select_next_some() => Happening::Done(done),
            input = self.net.select_next_some() => Happening::Input(input),
            heard = self.life.heard.select_next_some() => Happening::Heard(heard),
            () = self.timer_rings.select_next_some() => Happening::Input(Input::Wake),
            line = self.life.lines.select_next_some() => Happening::Line(line),
        }
    }

    fn on(&mut self, happening: Happening) {
        match happening {
            Happening::Done(done) => self.on_done(done),
            Happening::Engine(event) => self.on_engine(event),
            Happening::Heard(heard) => self.on_heard(heard),
            Happening::Input(input) => self.tell(input),
            Happening::Line(line) => self.emit(&Event::Log(line)),
            Happening::Order(order) => self.on_order(order),
            Happening::Page(PageEvent::Leaving) => {
                self.say(&TabMessage::Event {
                    event: Event::Changed,
                });
                self.net.leave();
            }
            Happening::Page(PageEvent::Online(online)) => self.tell(Input::Online(online)),
            Happening::Page(PageEvent::Resumed) => self.tell(Input::Resumed),
        }
    }

    fn tell(&mut self, input: Input) {
        let now = self.clock.now();
        let dawn = clock::today() - now;
        if self.dawn.since(dawn).max(dawn.since(self.dawn)) > MAX_CLOCK_DRIFT {
            self.dawn = dawn;
            self.tell(Input::WallClock(dawn + now));
        }
        if let Stage::Owner(hive, _) = &mut *self.life.shared.stage.borrow_mut() {
            hive.handle(now, input);
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.output() {
            self.perform(output);
        }
    }

    fn output(&self) -> Option<Output> {
        match &mut *self.life.shared.stage.borrow_mut() {
            Stage::Owner(hive, _) => hive.poll(),
            Stage::Closed(_) | Stage::Follower(_) => None,
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::DialRelay(relay) => self.net.dial_relay(relay),
            Output::HangUpRelay(relay) => self.net.hang_up_relay(relay),
            Output::Register(relay) => self.net.register(relay),
            Output::Discover(relay) => self.net.discover(relay),
            Output::Gather => self.net.gather(),
            Output::Offer { place, model } => self.net.offer(place, model),
            Output::Withdraw { place, model } => self.net.withdraw(place, model),
            Output::LookUp { place, model } => self.net.look_up(place, model),
            Output::Publish { topic, bytes } => self.net.publish(topic, bytes),
            Output::GossipVerdict { id, verdict } => self.net.judged(id, verdict),
            Output::Dial {
                peer,
                addresses,
                way,
            } => self.net.dial(peer, &addresses, way),
            Output::Disconnect { peer } => self.net.disconnect(peer),
            Output::Open { stream, peer, kind } => self.net.open(stream, peer, kind),
            Output::Send { stream, frame } => self.net.send(stream, frame),
            Output::Close(stream) => self.net.close(stream),
            Output::LoadModel => self.load_own_model(),
            Output::Run { job, prompt, local } => {
                if let Ok(engine) = &self.engine {
                    engine.run(job.0, &prompt, local);
                }
            }
            Output::Share { percent } => {
                if let Ok(engine) = &self.engine {
                    engine.share(percent);
                }
            }
            Output::Cancel(job) => {
                if let Ok(engine) = &self.engine {
                    engine.cancel(job.0);
                }
            }
            Output::Store { key, value } => {
                let keeper = self.life.keeper.clone();
                self.work(async move {
                    Done::Stored(keeper.put(Shelf::Choices, store_key(key), &value).await)
                });
            }
            Output::Load(key) => {
                let keeper = self.life.keeper.clone();
                self.work(async move {
                    Done::Loaded(key, keeper.get(Shelf::Choices, store_key(key)).await)
                });
            }
            Output::Notify(event) => self.notify(event),
            Output::WakeAt(at) => self.wake_after(at.since(self.clock.now())),
        }
    }

    /// Both timers: the worker's is not throttled, the page's does not depend on the worker. The
    /// machine does not mind a second ring.
    fn wake_after(&self, delay: Millis) {
        self.timer.set(delay);
        if let Ok(engine) = &self.engine {
            engine.wake_after(delay);
        }
    }

    fn work(&self, future: impl Future<Output = Done> + 'static) {
        self.working.push(future.boxed_local());
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Loaded(key, loaded) => {
                let value = loaded.unwrap_or_else(|error| {
                    self.on_store(Some(&error));
                    None
                });
                self.tell(Input::Loaded { key, value });
            }
            Done::Stored(stored) => self.on_store(stored.err().as_ref()),
            Done::Resolved(number, found) => self.resolved(number, found),
        }
    }

    /// What the machine must know of the store: `None` is that all is well.
    fn on_store(&mut self, trouble: Option<&StoreError>) {
        let reason = trouble.map(ToString::to_string);
        self.tell(Input::StorageState {
            persistent: reason.is_none(),
            reason,
        });
    }

    fn on_engine(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Ready {
                load,
                model,
                backend,
                threads,
                millitokens_per_second,
            } => {
                self.errand_done(load, Reply::Loaded(Ok(model.clone())));
                self.tell(Input::EngineReady {
                    model,
                    backend,
                    threads,
                    millitokens_per_second,
                });
            }
            EngineEvent::NotLoaded { load, trouble } => {
                tracing::warn!(reason = trouble.reason, "the model stays as it was");
                self.fail(load, trouble.into());
            }
            EngineEvent::Lost { cause, reason } => {
                self.errands_lost(cause, &reason);
                self.tell(Input::EngineLost { reason });
            }
            EngineEvent::Restoring { reason } => self.tell(Input::EngineRestoring { reason }),
            EngineEvent::Embedded { embedding, result } => {
                let result = result.map_err(LoadFailure::from);
                self.errand_done(embedding, Reply::Embedded(result));
            }
            EngineEvent::GenomeLoaded { load, result } => self.genome_loaded(load, result),
            EngineEvent::GenomeRemoved { removal, result } => {
                self.genome_removed(removal, result);
            }
            EngineEvent::Genomes { list, genomes } => {
                let genomes = genomes.map_err(|reason| LoadFailure::Engine {
                    cause: LossCause::EngineFailed,
                    reason,
                });
                self.errand_done(list, Reply::Genomes(genomes));
            }
            EngineEvent::Inspected { inspection, result } => {
                let result = result.map_err(LoadFailure::from);
                self.errand_done(inspection, Reply::Inspected(result));
            }
            EngineEvent::Kept {
                list,
                models,
                used_bytes,
                quota_bytes,
            } => self.kept(list, models, used_bytes, quota_bytes),
            EngineEvent::Tokens { job, tokens } => {
                self.tell(Input::JobTokens {
                    job: JobId(job),
                    tokens,
                });
            }
            EngineEvent::Done {
                job,
                finish_reason,
                prompt_tokens,
                trimmed_bytes,
                discarded,
            } => {
                let job = JobId(job);
                self.tell(Input::JobDone {
                    job,
                    finish_reason,
                    prompt_tokens,
                    trimmed_bytes,
                    discarded,
                });
            }
            EngineEvent::Failed {
                job,
                invalid_request,
                message,
            } => {
                self.tell(Input::JobFailed {
                    job: JobId(job),
                    invalid_request,
                    message,
                });
            }
            EngineEvent::Wake => self.tell(Input::Wake),
            EngineEvent::Progress {
                stage,
                loaded,
                total,
            } => {
                self.emit(&Event::Progress {
                    stage: stage.to_string(),
                    loaded,
                    total,
                });
            }
            EngineEvent::Log { level, message } => log::add(level, message),
            EngineEvent::Forgotten { model } => {
                tracing::info!(%model, "a model's files were removed");
                self.removed(model);
            }
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            // Taken by the loop.
            Order::Close(_) => {}
            Order::Command(command) => self.command(None, command),
            Order::Errand {
                ticket,
                errand,
                waiter,
            } => self.run_errand(errand, Waiter::Here(ticket, waiter)),
            Order::StopErrand { ticket } => self.stop_errand(None, ticket),
        }
    }

    /// Lets the swarm say good-bye, for a moment at most.
    async fn leave(&mut self) {
        self.net.leave();
        let (sender, receiver) = oneshot::channel::<()>();
        let mut sender = Some(sender);
        let timer = PageTimer::new(move || {
            if let Some(sender) = sender.take() {
                // The receiver is gone where everybody left earlier.
                sender.send(()).ok();
            }
        });
        timer.set(LEAVE_MILLIS);
        let mut receiver = receiver;
        while !self.net.is_alone() {
            if let Either::Left(_) = select(&mut receiver, self.net.next()).await {
                break;
            }
        }
    }
}

fn spawn_engine(
    url: &str,
    threads: Option<u32>,
) -> (Result<EngineLink, String>, mpsc::Receiver<EngineEvent>) {
    let (mut sender, receiver) = mpsc::channel(MAX_ENGINE_EVENTS);
    // A clone has a place of its own in the channel: the last word always fits.
    let mut last_word = sender.clone();
    let link = EngineLink::spawn(url, move |event| {
        if sender.try_send(event).is_err() {
            let cause = LossCause::EngineFailed;
            let reason = "the page fell behind its engine".to_owned();
            // Said before where even this does not fit.
            last_word.try_send(EngineEvent::Lost { cause, reason }).ok();
        }
    });
    if let Err(error) = &link {
        tracing::warn!(%error, "this node will not compute");
    }
    let link = link.map(|link| link.with_threads(threads));
    (link.map_err(|error| error.to_string()), receiver)
}

fn store_key(key: StoreKey) -> &'static str {
    match key {
        StoreKey::Contribution => "contribution",
        StoreKey::Donation => "donation",
    }
}
