//! What Thrum peers **decide**: every decision as one machine without clock, randomness or I/O.
//!
//! The contract, from which everything follows: *one mutation, then drain.* The edge calls
//! [`Hive::handle`] with the time and one input, then [`Hive::poll`] until it returns `None`, and
//! only then the next input. The same seed and inputs give the same outputs, byte for byte. A lying
//! peer yields an [`Event::Misbehaviour`], never an error that stops the machine.
//!
//! What is not decided here: whether the tokens of a well-formed answer are the right ones. A
//! provider that computes with another model, or not at all, is not detected.

pub mod io;
pub mod limits;

mod admission;
mod advert;
mod allowance;
mod announce;
mod answer;
mod ask;
mod asker;
mod attempt;
mod backoff;
mod book;
mod course;
mod donation;
mod ear;
mod engine;
mod env;
mod farewell;
mod flood;
mod gossip;
mod ladder;
pub mod links;
mod lookup;
mod mesh;
mod misbehaviour;
mod offers;
mod pace;
mod peer;
mod provider;
mod reachability;
mod roster;
mod route;
mod session;
mod standing;
mod uplink;
mod view;

use crate::admission::Terms;
use crate::advert::Beacon;
use crate::announce::{Announcer, Crowd, Offer};
use crate::asker::Asker;
use crate::donation::Donation;
use crate::ear::Ear;
use crate::engine::Engine;
use crate::env::{Env, earlier};
use crate::farewell::Farewell;
use crate::flood::{Admission, Floodgate};
use crate::gossip::Gossip;
use crate::io::{GossipId, Input, JobId, Output, RelayIndex, StreamId, StreamKind, Topic, Verdict};
use crate::lookup::Lookup;
use crate::misbehaviour::Misbehaviour;
use crate::offers::Offers;
use crate::provider::{Contribution, JobEnd, Provider};
use crate::reachability::Diagnosis;
use crate::roster::Roster;
use crate::uplink::{Reach, Uplink};
use thrum_protocol::SigningKey;
use thrum_protocol::advert::Advert;
use thrum_protocol::capability::SpeedClass;
use thrum_protocol::hint::Hint;
use thrum_protocol::id::NodeId;
use thrum_protocol::task::Token;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{Command, DonationMode, Event, Snapshot, StorageView};

/// What a machine is made of.
pub struct Config {
    /// the identity: messages are signed with it
    pub key: SigningKey,
    /// from the edge's random source: task ids and jitter are drawn from it
    pub seed: [u8; 32],
    /// as the person gave them; the place in this list is the [`RelayIndex`](io::RelayIndex)
    pub relays: Vec<String>,
    /// name and version of the software, as peers see it
    pub agent: String,
    /// version of the software
    pub version: String,
    /// commit it was built from
    pub commit: String,
    /// whether the remembered choice to donate is taken up
    pub resume_donation: bool,
}

/// One peer's decisions.
pub struct Hive {
    env: Env,
    uplink: Uplink,
    diagnosis: Diagnosis,
    roster: Roster,
    beacon: Beacon,
    ear: Ear<Advert>,
    hints: Ear<Hint>,
    farewell: Farewell,
    floodgate: Floodgate,
    announcer: Announcer,
    gossip: Gossip,
    offers: Offers,
    lookup: Lookup,
    asker: Asker,
    provider: Provider,
    donation: Donation,
    engine: Engine,
    storage: StorageView,
    agent: String,
    version: String,
    commit: String,
    /// the moment of the last `WakeAt` that lies ahead
    wake_at: Option<Millis>,
}

impl Hive {
    /// A machine that starts at `now` with the relays dialled and nothing computed. Drain it before
    /// the first input.
    #[must_use]
    pub fn new(config: Config, now: Millis) -> Self {
        let mut env = Env::new(config.key, config.seed, now);
        let donation = Donation::new(&mut env, config.resume_donation);
        let engine = Engine::new();
        let advert = advert_of(&config.agent, &donation, &engine, 0);
        let roster = Roster::new(&mut env);
        let mut hive = Self {
            env,
            uplink: Uplink::new(now, config.relays),
            diagnosis: Diagnosis::default(),
            roster,
            beacon: Beacon::new(now, advert),
            ear: Ear::new(),
            hints: Ear::new(),
            farewell: Farewell::default(),
            floodgate: Floodgate::default(),
            announcer: Announcer::new(now),
            gossip: Gossip::new(now),
            offers: Offers::default(),
            lookup: Lookup::default(),
            asker: Asker::default(),
            provider: Provider::new(),
            donation,
            engine,
            storage: StorageView {
                persistent: false,
                reason: Some("the store is not open yet".to_owned()),
            },
            agent: config.agent,
            version: config.version,
            commit: config.commit,
            wake_at: None,
        };
        hive.settle();
        hive
    }

    /// One mutation. Drain with [`Self::poll`] before the next.
    pub fn handle(&mut self, now: Millis, input: Input) {
        debug_assert!(self.env.out.is_empty(), "drained before the next mutation");
        self.env.now = now.max(self.env.now);
        if self.wake_at.is_some_and(|at| at <= self.env.now) {
            self.wake_at = None;
        }
        self.apply(input);
        self.settle();
    }

    /// The next thing to do, `None` when the machine waits for an input.
    pub fn poll(&mut self) -> Option<Output> {
        self.env.out.pop_front()
    }

    /// Everything a page shows, at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Millis) -> Snapshot {
        view::snapshot(self, now)
    }

    fn apply(&mut self, input: Input) {
        let env = &mut self.env;
        match input {
            Input::Command(command) => self.command(command),
            Input::RelayConnected(relay) => self.uplink.connected(env, relay),
            Input::RelayReserved(relay) => {
                self.uplink.reserved(env, relay);
                self.diagnosis.relay_reserved(env.now);
                self.roster.relay_returned(env);
            }
            Input::RelayLost { relay, reason } => self.uplink.lost(env, relay, reason),
            Input::Discovered { relay: _, found } => self.roster.found(env, found),
            Input::RelayIdentified { relay, id } => self.uplink.identified(relay, id),
            Input::LookedUp {
                place,
                model,
                found,
            } => {
                self.lookup
                    .looked_up(env, &mut self.roster, place, model, found);
            }
            Input::WallClock(today) => env.set_wall_clock(today),
            Input::Gossip {
                from,
                topic: Topic::Announce,
                bytes,
                id,
            } => self.heard_of(from, &bytes, id),
            Input::NotPublished(Topic::Announce) => self.announcer.not_published(env.now),
            Input::Connected {
                peer,
                path,
                transport,
            } => {
                let known = self.roster.is_connected(peer);
                let (asker, provider) = (&self.asker, &self.provider);
                let busy = |peer| asker.is_answered_by(peer) || provider.computes_for(peer);
                self.roster.connect(env, peer, path, transport, busy);
                if !known && self.roster.is_connected(peer) {
                    self.beacon.connected(peer);
                }
            }
            Input::Disconnected { peer } => self.disconnected(peer),
            Input::DialFailed { peer, reason } => self.roster.dial_failed(env, peer, reason),
            Input::LinkMeasured { peer, link } => self.roster.measured(env, peer, link),
            Input::RoundTrip { peer, rtt } => self.roster.round_trip(env, peer, rtt),
            Input::Gathered(gathering) => self.diagnosis.gathered(env, &gathering),
            Input::Online(online) => {
                self.uplink.set_online(env, online);
                self.diagnosis.network_changed(env.now);
                self.roster.network_changed(env);
            }
            Input::Resumed => {
                self.diagnosis.network_changed(env.now);
                self.roster.network_changed(env);
                self.uplink.resumed(env);
                self.beacon.resumed(env.now);
            }
            Input::StreamAccepted { stream, peer, kind } => {
                self.stream_accepted(stream, peer, kind);
            }
            Input::StreamOpened(stream) => {
                // A stream that is neither's was given up while it opened.
                let _ours = self.beacon.opened(env, stream)
                    || self.farewell.opened(env, stream)
                    || self.asker.opened(env, stream);
            }
            Input::Frame { stream, bytes } => self.frame(stream, &bytes),
            Input::StreamClosed { stream, reason } => self.stream_closed(stream, &reason),
            Input::EngineReady {
                model,
                backend,
                threads,
                millitokens_per_second,
            } => {
                if self
                    .engine
                    .ready(env, model, backend, threads, millitokens_per_second)
                {
                    self.jobs_lost("another model was loaded");
                }
            }
            Input::EngineRestoring { reason } => self.engine.restoring(env, reason),
            Input::EngineLost { reason } => {
                self.jobs_lost(&reason);
                self.engine.lost(&mut self.env, reason);
            }
            Input::JobTokens { job, tokens } => self.job_tokens(job, &tokens),
            Input::JobDone {
                job,
                finish_reason,
                prompt_tokens,
                trimmed_bytes,
                discarded,
            } => {
                let end = JobEnd {
                    finish_reason,
                    prompt_tokens,
                    trimmed_bytes,
                    discarded,
                };
                if !self.asker.job_done(env, job, &end) {
                    let ended = self.provider.job_done(env, job, &end);
                    self.account(ended);
                }
            }
            Input::JobFailed {
                job,
                invalid_request,
                message,
            } => {
                if !self.asker.job_failed(env, job, invalid_request, &message) {
                    let ended = self
                        .provider
                        .job_failed(env, job, invalid_request, &message);
                    self.account(ended);
                }
            }
            Input::Loaded { key, value } => self.donation.loaded(env, key, value.as_deref()),
            Input::StorageState { persistent, reason } => {
                self.storage = StorageView { persistent, reason };
                env.changed = true;
            }
            Input::Wake => {}
        }
    }

    fn command(&mut self, command: Command) {
        let env = &mut self.env;
        match command {
            Command::Ask(request) => {
                if let Some(model) = &request.model {
                    self.roster.want(env.now, model);
                }
                if self.asker.ask(env, request) {
                    self.uplink.hurry_discovery(env.now);
                    if self.engine.gave_up().is_some() {
                        self.engine.forgive(env.now);
                    }
                }
            }
            Command::CancelAsk { ask } => self.asker.cancel(env, ask),
            Command::Donate(limits) => {
                self.donation.donate(env, limits);
                self.engine.forgive(env.now);
            }
            Command::Finish => self.donation.finish(env, self.provider.busy() > 0),
            Command::Pause => {
                self.donation.pause(env);
                let ended = self.provider.stop(env);
                self.account(ended);
            }
        }
    }

    fn disconnected(&mut self, peer: NodeId) {
        self.roster.disconnected(&mut self.env, peer);
        self.beacon.disconnected(peer);
        self.ear.disconnected(peer);
        self.hints.disconnected(peer);
        self.farewell.disconnected(peer);
        self.floodgate.disconnected(peer);
        self.gossip.disconnected(peer);
        self.asker
            .disconnected(&mut self.env, &mut self.roster, peer);
        let ended = self.provider.disconnected(&mut self.env, peer);
        self.account(ended);
    }

    fn heard_of(&mut self, from: NodeId, bytes: &[u8], id: GossipId) {
        let env = &mut self.env;
        let judged = self.gossip.judge(env, &self.roster, from, bytes);
        let verdict = *judged.as_ref().unwrap_or(&Verdict::Reject);
        env.push(Output::GossipVerdict { id, verdict });
        if let Err(misbehaviour) = judged {
            self.roster.lied(env, from, &misbehaviour);
        }
    }

    fn stream_accepted(&mut self, stream: StreamId, peer: NodeId, kind: StreamKind) {
        let now = self.env.now;
        // A peer that we hung up on, or that was not announced: nothing is said to it.
        if !self.roster.is_connected(peer) {
            self.env.push(Output::Close(stream));
            return;
        }
        match self.floodgate.admit(now, peer, stream) {
            Admission::Admitted => match kind {
                StreamKind::Advert => self.ear.accepted(now, stream, peer),
                StreamKind::Hint => self.hints.accepted(now, stream, peer),
                StreamKind::Task => self.provider.accepted(now, stream, peer),
            },
            Admission::TooMany => self.env.push(Output::Close(stream)),
            Admission::Flood => {
                self.env.push(Output::Close(stream));
                self.roster
                    .lied(&mut self.env, peer, &Misbehaviour::StreamFlood);
            }
        }
    }

    /// Frames of streams that were closed by us a moment ago are nobody's.
    fn frame(&mut self, stream: StreamId, bytes: &[u8]) {
        if self
            .asker
            .frame(&mut self.env, &mut self.roster, stream, bytes)
        {
            return;
        }
        if let Some((peer, heard)) = self.ear.frame(&mut self.env, stream, bytes) {
            match heard {
                Ok(advert) => self.roster.heard(&mut self.env, peer, advert),
                Err(misbehaviour) => self.roster.lied(&mut self.env, peer, &misbehaviour),
            }
            return;
        }
        if let Some((peer, heard)) = self.hints.frame(&mut self.env, stream, bytes) {
            let busy = self.works_with(peer);
            match heard {
                Ok(hint) => self.roster.hinted(&mut self.env, peer, hint, busy),
                Err(misbehaviour) => self.roster.lied(&mut self.env, peer, &misbehaviour),
            }
            return;
        }
        let terms = Terms {
            donation: &self.donation,
            engine: &self.engine,
        };
        if let Some((peer, outcome)) = self.provider.frame(&mut self.env, stream, bytes, &terms) {
            match outcome {
                Ok(ended) => self.account(ended),
                Err(misbehaviour) => self.roster.lied(&mut self.env, peer, &misbehaviour),
            }
        }
    }

    fn stream_closed(&mut self, stream: StreamId, reason: &str) {
        let env = &mut self.env;
        self.floodgate.closed(stream);
        let said = self.beacon.closed(stream) || self.farewell.closed(env.now, stream);
        if said || self.ear.closed(stream) || self.hints.closed(stream) {
            return;
        }
        if let Some(ended) = self.provider.closed(env, stream) {
            self.account(ended);
            return;
        }
        self.asker.closed(env, &mut self.roster, stream, reason);
    }

    /// Whether one of us computes for the other.
    fn works_with(&self, peer: NodeId) -> bool {
        self.asker.is_answered_by(peer) || self.provider.computes_for(peer)
    }

    fn job_tokens(&mut self, job: JobId, tokens: &[Token]) {
        // A job that is neither's was cancelled.
        let _ours = self.asker.job_tokens(&mut self.env, job, tokens)
            || self.provider.job_tokens(&mut self.env, job, tokens);
    }

    fn jobs_lost(&mut self, reason: &str) {
        self.asker.engine_lost(&mut self.env, reason);
        let ended = self.provider.engine_lost(&mut self.env);
        self.account(ended);
    }

    fn account(&mut self, ended: impl IntoIterator<Item = Contribution>) {
        for Contribution { tokens, completed } in ended {
            self.donation.count(&mut self.env, tokens, completed);
        }
        if self.provider.busy() == 0 {
            self.donation.idle(&mut self.env);
        }
    }

    /// Lets every machine do what is due, says what changed, and asks to be woken.
    fn settle(&mut self) {
        let env = &mut self.env;
        let ended = self.provider.tick(env);
        self.account(ended);
        let env = &mut self.env;
        self.ear.tick(env);
        self.hints.tick(env);
        if self.donation.on() {
            self.engine.want(env);
        }
        let expecting = matches!(self.uplink.reach(), Reach::Trying)
            || self.roster.expects_news()
            || (self.roster.connected_count() == 0 && self.uplink.reach() == Reach::Reachable);
        self.asker
            .tick(env, &mut self.roster, &mut self.engine, expecting);
        self.uplink.tick(env, self.roster.connected_count());
        self.diagnosis.tick(env, self.uplink.online());
        let relays = self.uplink.reserved_relays();
        let book = &self.gossip.book;
        self.lookup
            .tick(env, &mut self.roster, &self.asker, book, &relays);
        let (asker, provider) = (&self.asker, &self.provider);
        let busy = |peer| asker.is_answered_by(peer) || provider.computes_for(peer);
        if let Some((peer, hint)) = self.roster.tick(env, self.uplink.online(), busy) {
            self.farewell.begin(env, peer, hint);
        }
        for peer in self.farewell.overdue(env) {
            if busy(peer) {
                self.roster.stays_after_all(peer);
            } else {
                env.push(Output::Disconnect { peer });
            }
        }
        let busy = self.provider.busy();
        let advert = advert_of(&self.agent, &self.donation, &self.engine, busy);
        self.beacon.tick(env, &self.roster, advert);
        self.announce(&relays);
        let env = &mut self.env;
        if std::mem::take(&mut env.changed) {
            env.notify(Event::Changed);
        }
        for output in &self.env.out {
            if let Output::Close(stream) = output {
                self.floodgate.closed(*stream);
            }
        }
        let wake_at = self.next_wake();
        if let Some(at) = wake_at.filter(|_| wake_at != self.wake_at) {
            self.env.push(Output::WakeAt(at));
            self.wake_at = wake_at;
        }
    }

    /// Tells everybody what we offer. `relays`: those that keep a place for us.
    fn announce(&mut self, relays: &[RelayIndex]) {
        let env = &mut self.env;
        let offer = offer_of(&self.uplink, &self.donation, &self.engine);
        self.offers.tick(env, relays, &offer.models);
        env.changed |= self.gossip.book.tick(env.now);
        let crowd = crowd(&self.roster);
        self.announcer.tick(env, offer, &self.gossip.book, crowd);
    }

    fn next_wake(&self) -> Option<Millis> {
        [
            self.uplink.next_wake(),
            self.diagnosis.next_wake(self.uplink.online()),
            self.roster.next_wake(self.uplink.online()),
            self.beacon.next_wake(),
            self.ear.next_wake(),
            self.hints.next_wake(),
            self.farewell.next_wake(),
            self.announcer.next_wake(crowd(&self.roster)),
            self.gossip.book.next_wake(),
            self.offers.next_wake(),
            self.lookup.next_wake(),
            self.asker.next_wake(),
            self.provider.next_wake(),
            self.engine.next_wake(self.donation.on()),
        ]
        .into_iter()
        .fold(None, earlier)
    }
}

fn crowd(roster: &Roster) -> Crowd {
    Crowd {
        listeners: roster.direct_count(),
        known: roster.known_count(),
    }
}

/// What strangers may rely on for some minutes.
fn offer_of(uplink: &Uplink, donation: &Donation, engine: &Engine) -> Offer {
    let Some(loaded) = engine.loaded().filter(|_| donation.on()) else {
        return Offer::default();
    };
    Offer {
        relays: uplink.homes(),
        models: vec![loaded.model.clone()],
        backend: Some(loaded.backend),
        speed: SpeedClass::of(loaded.millitokens_per_second),
        slots: donation.limits().slots,
    }
}

/// What we can do at the moment. Nothing is offered while nothing is given.
fn advert_of(agent: &str, donation: &Donation, engine: &Engine, busy: u32) -> Advert {
    let loaded = engine.loaded();
    let limits = donation.limits();
    Advert {
        sequence: 0,
        agent: agent.to_owned(),
        donating: donation.mode() == DonationMode::On && loaded.is_some(),
        models: loaded
            .map(|loaded| loaded.model.clone())
            .into_iter()
            .collect(),
        backend: loaded.map(|loaded| loaded.backend),
        millitokens_per_second: loaded.map_or(0, |loaded| loaded.millitokens_per_second),
        slots: limits.slots,
        busy,
        max_new_tokens: limits.max_new_tokens,
    }
}
