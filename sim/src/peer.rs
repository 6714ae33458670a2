//! One simulated peer: the real machine, a fake engine, maybe a liar's tongue, and what the person
//! in front of it has seen.

use crate::engine::Jobs;
use crate::liar::Liar;
use std::collections::BTreeMap;
use thrum_hive::Hive;
use thrum_protocol::id::NodeId;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskRequest, AskUpdate, Event};

/// A peer's place in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerIndex(pub usize);

/// One peer.
pub struct Peer {
    /// its id
    pub id: NodeId,
    /// the relays it was given, by their place in the world
    pub relays: Vec<usize>,
    /// its decisions
    pub hive: Hive,
    /// what twists its outputs, if it lies
    pub liar: Option<Liar>,
    /// its engine
    pub engine: FakeEngine,
    /// whether its tab is open
    pub alive: bool,
    /// the last moment it asked to be woken at
    pub wake_at: Option<Millis>,
    /// number of the next stream it accepts
    pub next_stream: u64,
    /// what it keeps across reloads
    pub store: BTreeMap<thrum_hive::io::StoreKey, Vec<u8>>,
    /// what its person asked, by number
    pub asks: BTreeMap<u64, Asked>,
    /// when it asked its relays about other peers, each moment once
    pub questions: Vec<Millis>,
    /// everything it was told about others
    pub misbehaviours: Vec<(NodeId, String)>,
    /// everything else it was told, except asks and log lines
    pub events: Vec<Event>,
}

/// A fake engine and how fast it is.
#[derive(Debug)]
pub struct FakeEngine {
    /// the model it can load, `None` where loading fails
    pub model: Option<ModelOffer>,
    /// whether it is loaded
    pub loaded: bool,
    /// what it computes
    pub jobs: Jobs,
    /// ms for each step of up to [`Self::batch`] tokens
    pub step: Millis,
    /// tokens per step
    pub batch: usize,
    /// whether a step is scheduled
    pub stepping: bool,
}

impl Peer {
    /// How often it asked relays about others from an ask until the ask was routed for good.
    #[must_use]
    pub fn questions_of(&self, ask: u64) -> usize {
        let Some(asked) = self.asks.get(&ask) else {
            return 0;
        };
        let routed = |(at, update): &(Millis, AskUpdate)| {
            matches!(update, AskUpdate::Routed { .. }).then_some(*at)
        };
        let until = asked.updates.iter().filter_map(routed).max();
        let within = |at: &&Millis| asked.at <= **at && until.is_some_and(|until| **at <= until);
        self.questions.iter().filter(within).count()
    }

    pub(crate) fn asks_a_relay(&mut self, now: Millis) {
        if self.questions.last() != Some(&now) {
            self.questions.push(now);
        }
    }
}

/// An ask and what came of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// the request
    pub request: AskRequest,
    /// when
    pub at: Millis,
    /// every update, with its moment
    pub updates: Vec<(Millis, AskUpdate)>,
}

impl Asked {
    /// The `Done`s and `Failed`s among the updates: one when all is well.
    pub fn ends(&self) -> impl Iterator<Item = &(Millis, AskUpdate)> {
        self.updates.iter().filter(|(_, update)| {
            matches!(update, AskUpdate::Done { .. } | AskUpdate::Failed { .. })
        })
    }

    /// The deltas put together.
    #[must_use]
    pub fn streamed(&self) -> String {
        let delta = |(_, update): &(Millis, AskUpdate)| match update {
            AskUpdate::Delta { text, .. } => Some(text.clone()),
            AskUpdate::Done { .. }
            | AskUpdate::Failed { .. }
            | AskUpdate::Retrying { .. }
            | AskUpdate::Routed { .. } => None,
        };
        self.updates.iter().filter_map(delta).collect()
    }
}
