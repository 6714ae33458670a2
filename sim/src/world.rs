//! The virtual clock and what happens when: feeds each machine one input at a time, drains it, and
//! carries its outputs through the network.

use crate::engine::{Jobs, Step};
use crate::gossip::Gossip;
use crate::liar::{Liar, Lie};
use crate::network::{End, Network, Site, Weather};
use crate::peer::{Asked, FakeEngine, Peer, PeerIndex};
use crate::relay::{self, Relay};
use crate::traffic::{Kind, Traffic};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use thrum_hive::io::{Found, Input, RelayIndex, Way};
use thrum_hive::{Config, Hive};
use thrum_protocol::SigningKey;
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{AskRequest, Command};

/// count; outputs of one input. Far above what an honest world needs; above it something runs away.
const MAX_OUTPUTS: usize = 20_000;
/// ms; how long a break may go unnoticed.
pub(crate) const LONGEST_SILENCE: u64 = 12_000;
/// ms; from asking for a model to having it.
pub(crate) const LOAD_TIME: Millis = Millis(700);

/// ms since 1970; what every wall clock shows when the world begins.
const DAWN: Millis = Millis(1_800_000_000_000);

/// The world.
pub struct World {
    /// milliseconds since it began
    pub now: Millis,
    /// everybody, dead or alive
    pub peers: Vec<Peer>,
    /// everything between them
    pub network: Network,
    /// the relays that all peers were given
    pub relays: Vec<Relay>,
    /// every event of every peer, one line each
    pub log: String,
    /// whether the log is kept: large crowds have no use for it
    pub keeps_log: bool,
    /// whether the relays vouch for each other: a peer at one is found and dialled from any
    pub federated: bool,
    /// what went over the wire
    pub traffic: Traffic,
    /// what goes to everybody
    pub gossip: Gossip,
    /// inputs handled
    pub steps: u64,
    pub(crate) rng: ChaCha8Rng,
    queue: BTreeMap<(Millis, u64), Happening>,
    next_happening: u64,
    pub(crate) by_id: BTreeMap<NodeId, PeerIndex>,
}

/// What a new peer is like.
#[derive(Clone, Debug)]
pub struct Nature {
    /// the model its engine can load; `None`: loading fails
    pub model: Option<ModelOffer>,
    /// how it lies
    pub lie: Option<Lie>,
    /// ms per step of the engine
    pub step: Millis,
    /// tokens per step
    pub batch: usize,
}

/// Something that happens at a moment.
#[derive(Debug)]
pub enum Happening {
    /// a machine is told
    Tell(PeerIndex, Input),
    /// bytes arrive at an end
    Arrive(End, Vec<u8>),
    /// an end learns that its stream is over
    End {
        /// number of the stream
        pipe: u64,
        /// which of its ends
        side: usize,
        /// why
        reason: &'static str,
    },
    /// a dial succeeds or fails
    Dialled {
        /// who dials
        from: PeerIndex,
        /// whom
        to: PeerIndex,
        /// how
        way: Way,
    },
    /// the answer to a dial of a relay
    RelayDialled(PeerIndex, RelayIndex),
    /// an engine makes its next step
    EngineStep(PeerIndex),
    /// an engine has its model, or has not
    EngineLoaded(PeerIndex),
    /// an engine loses its device
    EngineLost(PeerIndex),
    /// a machine asked to be woken
    Wake(PeerIndex),
    /// a message of gossip arrives
    Gossip {
        /// who passed it on
        from: PeerIndex,
        /// to whom
        to: PeerIndex,
        /// its number
        message: u64,
    },
    /// a circuit has been up for as long as a relay carries one
    CircuitEnds(PeerIndex, PeerIndex, u64),
    /// a peer notices that a relay is out of reach
    LoseRelay(PeerIndex, usize),
    /// a relay notices that a peer is gone
    RelayForgets(usize, PeerIndex),
    /// a tab opens
    Open(PeerIndex),
    /// a tab is killed
    Die(PeerIndex),
    /// the person asks
    Ask(PeerIndex, Box<AskRequest>),
    /// a relay dies
    RelayDies(usize),
    /// a relay returns
    RelayReturns(usize),
    /// two peers lose sight of each other
    Cut(PeerIndex, PeerIndex),
    /// and can reach each other again
    Heal(PeerIndex, PeerIndex),
}

impl World {
    /// An empty world with so many relays.
    #[must_use]
    pub fn new(seed: u64, relays: usize, weather: Weather) -> Self {
        Self {
            now: Millis(0),
            peers: Vec::new(),
            network: Network::new(weather),
            relays: (0..relays).map(Relay::new).collect(),
            log: String::new(),
            keeps_log: true,
            federated: false,
            traffic: Traffic::default(),
            gossip: Gossip::default(),
            steps: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
            queue: BTreeMap::new(),
            next_happening: 0,
            by_id: BTreeMap::new(),
        }
    }

    /// A number below `bound` from the world's seed.
    pub fn draw(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound.max(1)
    }

    /// Opens a tab that was given all relays.
    pub fn add(&mut self, nature: Nature) -> PeerIndex {
        let relays = (0..self.relays.len()).collect();
        let index = self.create(nature, Site::default(), relays, self.now);
        self.open_tab(index);
        index
    }

    /// A tab that opens somewhere at a moment to come and is given these relays.
    pub fn add_later(
        &mut self,
        nature: Nature,
        site: Site,
        relays: Vec<usize>,
        at: Millis,
    ) -> PeerIndex {
        let index = self.create(nature, site, relays, at);
        self.at(at, Happening::Open(index));
        index
    }

    /// A machine begins, and learns what day it is.
    fn open_tab(&mut self, index: PeerIndex) {
        self.drain(index);
        let today = DAWN + self.now;
        self.tell(index, Input::WallClock(today));
    }

    fn create(&mut self, nature: Nature, site: Site, relays: Vec<usize>, at: Millis) -> PeerIndex {
        let index = PeerIndex(self.peers.len());
        let mut secret = [0; 32];
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut secret);
        self.rng.fill_bytes(&mut seed);
        let key = SigningKey::from_bytes(&secret);
        let id = NodeId::from_public_key(key.verifying_key().to_bytes())
            .expect("a signing key's public half is a point of the curve");
        let addresses = relays.iter().map(|relay| format!("relay-{relay}"));
        let config = Config {
            key: key.clone(),
            seed,
            relays: addresses.collect(),
            agent: "thrum-sim".to_owned(),
            version: "0".to_owned(),
            commit: "sim".to_owned(),
            resume_donation: true,
        };
        let liar_seed = self.rng.next_u64();
        self.peers.push(Peer {
            id,
            relays,
            hive: Hive::new(config, at),
            liar: nature.lie.map(|lie| Liar::new(lie, key, liar_seed)),
            engine: FakeEngine {
                model: nature.model,
                loaded: false,
                jobs: Jobs::default(),
                step: nature.step,
                batch: nature.batch,
                stepping: false,
            },
            alive: true,
            wake_at: None,
            next_stream: 1,
            store: BTreeMap::new(),
            asks: BTreeMap::new(),
            questions: Vec::new(),
            misbehaviours: Vec::new(),
            events: Vec::new(),
        });
        self.by_id.insert(id, index);
        self.network.add(site);
        index
    }

    /// Adds to what will happen, in order where moments are equal.
    pub fn at(&mut self, at: Millis, happening: Happening) {
        let number = self.next_happening;
        self.next_happening += 1;
        self.queue.insert((at.max(self.now), number), happening);
    }

    /// Lets time pass until `end`.
    pub fn run_until(&mut self, end: Millis) {
        while let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= end
        {
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    /// Lets time pass until `enough`, or until `end`; whether it came to that.
    pub fn run_while(&mut self, end: Millis, mut enough: impl FnMut(&Self) -> bool) -> bool {
        while !enough(self) {
            let Some(entry) = self.queue.first_entry() else {
                return false;
            };
            if entry.key().0 > end {
                return false;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
        }
        true
    }

    /// Tells a machine something at once, and carries out what it wants.
    pub fn tell(&mut self, index: PeerIndex, input: Input) {
        if !self.peers[index.0].alive {
            return;
        }
        self.steps += 1;
        self.peers[index.0].hive.handle(self.now, input);
        self.drain(index);
    }

    /// A command of the person.
    pub fn command(&mut self, index: PeerIndex, command: Command) {
        if let Command::Ask(request) = &command {
            let asked = Asked {
                request: request.clone(),
                at: self.now,
                updates: Vec::new(),
            };
            self.peers[index.0].asks.insert(request.ask, asked);
        }
        self.tell(index, Input::Command(command));
    }

    fn drain(&mut self, index: PeerIndex) {
        let mut count = 0;
        while let Some(output) = self.peers[index.0].hive.poll() {
            count += 1;
            assert!(count < MAX_OUTPUTS, "one input causes outputs without end");
            let twisted = match &mut self.peers[index.0].liar {
                Some(liar) => liar.twist(output),
                None => vec![output],
            };
            for output in twisted {
                self.carry_out(index, output);
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Tell(peer, input) => self.tell(peer, input),
            Happening::Arrive(end, bytes) => {
                if self.network.side(end).is_some() {
                    let stream = end.1;
                    self.tell(end.0, Input::Frame { stream, bytes });
                }
            }
            Happening::End { pipe, side, reason } => self.end_side(pipe, side, reason),
            Happening::Dialled { from, to, way } => self.dialled(from, to, way),
            Happening::RelayDialled(peer, relay) => self.relay_dialled(peer, relay),
            Happening::EngineStep(peer) => self.engine_step(peer),
            Happening::EngineLoaded(peer) => self.engine_loaded(peer),
            Happening::EngineLost(peer) => {
                let engine = &mut self.peers[peer.0].engine;
                engine.loaded = false;
                engine.jobs.clear();
                let reason = "the device was lost".to_owned();
                self.tell(peer, Input::EngineLost { reason });
            }
            Happening::Wake(peer) => {
                if self.peers[peer.0].wake_at == Some(self.now) {
                    self.peers[peer.0].wake_at = None;
                    self.tell(peer, Input::Wake);
                }
            }
            Happening::Gossip { from, to, message } => self.gossip_arrives(from, to, message),
            Happening::CircuitEnds(a, b, number) => {
                if self.network.is_link(a, b, number) {
                    self.unlink(a, b, false);
                }
            }
            Happening::LoseRelay(peer, relay) => self.notices_lost_relay(peer, relay),
            Happening::RelayForgets(relay, peer) => self.relays[relay].drop_peer(peer),
            Happening::Open(peer) => self.open_tab(peer),
            Happening::Die(peer) => self.die(peer),
            Happening::Ask(peer, request) => {
                if self.peers[peer.0].alive {
                    self.command(peer, Command::Ask(*request));
                }
            }
            Happening::RelayDies(relay) => self.relay_dies(relay),
            Happening::RelayReturns(relay) => self.relays[relay].alive = true,
            Happening::Cut(a, b) => {
                self.network.set_cut(a, b, true);
                if self.network.linked(a, b) {
                    self.unlink(a, b, true);
                }
            }
            Happening::Heal(a, b) => self.network.set_cut(a, b, false),
        }
    }

    pub(crate) fn discover(&mut self, index: PeerIndex, relay: RelayIndex, soon: Millis) {
        let place = self.peers[index.0].relays[relay.0];
        let asked = &self.relays[place];
        if !asked.alive || !asked.connected.contains(&index) {
            return;
        }
        self.traffic.add(index, Kind::Relay, 2);
        let (side, federated) = (asked.side, self.federated);
        let answers = |(at, it): &(usize, &mut Relay)| {
            *at == place || (federated && it.alive && it.side == side)
        };
        let relays = self.relays.iter_mut().enumerate().filter(answers);
        let mut registers: Vec<_> = relays.map(|(_, it)| &mut it.registered).collect();
        let page = relay::page(&mut registers, self.now, &mut self.rng);
        let found = page.into_iter().map(|peer| self.found(peer)).collect();
        let input = Input::Discovered { relay, found };
        self.at(soon, Happening::Tell(index, input));
    }

    /// What a relay says of a peer.
    pub(crate) fn found(&self, peer: PeerIndex) -> Found {
        let relays = self.peers[peer.0].relays.iter();
        let addresses = relays.map(|relay| format!("/p2p/relay-{relay}/p2p-circuit"));
        Found {
            peer: self.peers[peer.0].id,
            addresses: addresses.collect(),
        }
    }

    /// Ends a connection. `unnoticed`: both sides take a while to see it.
    pub(crate) fn unlink(&mut self, a: PeerIndex, b: PeerIndex, unnoticed: bool) {
        let Some((carrier, pipes)) = self.network.unlink(a, b) else {
            return;
        };
        self.release(a, b, carrier);
        self.gossip_unlinked(a, b);
        for (here, there) in [(a, b), (b, a)] {
            let wait = if unnoticed {
                Millis(self.draw(LONGEST_SILENCE))
            } else {
                self.network.delay(&mut self.rng)
            };
            let at = self.now + wait;
            let peer = self.peers[there.0].id;
            for &pipe in &pipes {
                for side in 0..2 {
                    if let Some(((at_peer, _), _)) = self.network.arrival(pipe, side, Millis(0))
                        && at_peer == here
                    {
                        self.end_other(pipe, side, at, "the connection ended");
                    }
                }
            }
            self.at(at, Happening::Tell(here, Input::Disconnected { peer }));
        }
    }

    fn die(&mut self, peer: PeerIndex) {
        self.peers[peer.0].alive = false;
        self.peers[peer.0].engine.jobs.clear();
        for place in self.peers[peer.0].relays.clone() {
            let at = self.now + Millis(self.draw(LONGEST_SILENCE));
            self.at(at, Happening::RelayForgets(place, peer));
        }
        for other in self.network.neighbours(peer).clone() {
            self.unlink(peer, other, true);
        }
    }

    fn engine_loaded(&mut self, index: PeerIndex) {
        let engine = &mut self.peers[index.0].engine;
        let Some(model) = engine.model.clone() else {
            let reason = "the model does not fit".to_owned();
            self.tell(index, Input::EngineLost { reason });
            return;
        };
        engine.loaded = true;
        let millitokens_per_second = 1_000_000 * engine.batch as u64 / engine.step.0.max(1);
        let input = Input::EngineReady {
            model,
            backend: Backend::Cpu,
            threads: None,
            millitokens_per_second,
        };
        self.tell(index, input);
    }

    pub(crate) fn schedule_step(&mut self, index: PeerIndex) {
        let engine = &mut self.peers[index.0].engine;
        if !engine.stepping && !engine.jobs.is_empty() {
            engine.stepping = true;
            let at = self.now + engine.step;
            self.at(at, Happening::EngineStep(index));
        }
    }

    fn engine_step(&mut self, index: PeerIndex) {
        let engine = &mut self.peers[index.0].engine;
        engine.stepping = false;
        if let Some(step) = engine.jobs.step(engine.batch) {
            let input = match step {
                Step::Tokens(job, tokens) => Input::JobTokens { job, tokens },
                Step::Done(job, finish_reason, prompt_tokens, trimmed_bytes) => Input::JobDone {
                    job,
                    finish_reason,
                    prompt_tokens,
                    trimmed_bytes,
                    discarded: Discarded::default(),
                },
            };
            self.tell(index, input);
        }
        self.schedule_step(index);
    }

    /// The answer that an undisturbed engine gives to a request.
    #[must_use]
    pub fn undisturbed(request: &AskRequest, model: ModelId) -> crate::engine::Whole {
        crate::engine::Whole::answer(&thrum_protocol::task::Prompt {
            model,
            input: request.input.clone(),
            resumed: Vec::new(),
            max_new_tokens: request.max_new_tokens,
            sampling: request.sampling.clone(),
            stop: request.stop.clone(),
            deadline_millis: request.deadline_millis,
            truncation: request.truncation,
        })
    }
}
