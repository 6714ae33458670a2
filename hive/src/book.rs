//! What peers have announced: who answers with which model, and through whom it is reached.

use crate::allowance::Allowance;
use crate::io::Found;
use crate::limits::{ANNOUNCE_WINDOW, AUTHOR_BURST, AUTHOR_PERIOD, MAX_ANNOUNCED};
use std::collections::BTreeMap;
use thrum_protocol::capability::CapabilityRecord;
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::model::ModelOffer;
use thrum_protocol::time::Millis;

/// The newest record of each peer, until it ends. No more than [`MAX_ANNOUNCED`].
#[derive(Default)]
pub(crate) struct Book {
    entries: BTreeMap<NodeId, Entry>,
    /// none of them ends before that
    ends_from: Millis,
}

/// A record and when it came.
pub(crate) struct Entry {
    pub(crate) record: CapabilityRecord,
    /// when it ends, by the machine's clock
    pub(crate) ends: Millis,
    heard: Millis,
    allowance: Allowance,
}

/// How many were heard of late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeardOf {
    pub(crate) all: usize,
    /// with one of our models
    pub(crate) alike: usize,
}

impl Book {
    /// Peers that offer something, by id.
    pub(crate) fn offering(&self) -> impl Iterator<Item = (NodeId, &Entry)> {
        let offers = self.entries.iter();
        let offers = offers.filter(|(_, entry)| !entry.record.models.is_empty());
        offers.map(|(&peer, entry)| (peer, entry))
    }

    /// When the newest record of a peer was signed.
    pub(crate) fn sequence(&self, peer: NodeId) -> Option<u64> {
        self.entries.get(&peer).map(|entry| entry.record.sequence)
    }

    /// Whether a peer of which something is known may be heard again.
    pub(crate) fn may_speak(&mut self, now: Millis, peer: NodeId) -> bool {
        self.entries
            .get_mut(&peer)
            .is_none_or(|entry| entry.allowance.take(now, AUTHOR_BURST, AUTHOR_PERIOD))
    }

    /// Writes a record down; somebody else's makes room where there is none.
    pub(crate) fn write(&mut self, now: Millis, peer: NodeId, ends: Millis, it: CapabilityRecord) {
        if !self.entries.contains_key(&peer) && self.entries.len() >= MAX_ANNOUNCED {
            self.make_room();
        }
        let entry = self.entries.entry(peer).or_insert_with(|| {
            let mut allowance = Allowance::new(now, AUTHOR_BURST);
            allowance.take(now, AUTHOR_BURST, AUTHOR_PERIOD);
            Entry {
                record: it.clone(),
                ends,
                heard: now,
                allowance,
            }
        });
        entry.record = it;
        entry.ends = ends;
        entry.heard = now;
        let alone = self.entries.len() == 1;
        self.ends_from = if alone {
            ends
        } else {
            ends.min(self.ends_from)
        };
    }

    /// Of the model that most offer, the one that ends first goes: the rare ones stay. What was
    /// taken back goes before all.
    fn make_room(&mut self) {
        let mut counts: BTreeMap<Option<ModelId>, usize> = BTreeMap::new();
        for entry in self.entries.values() {
            *counts.entry(entry.model()).or_default() += 1;
        }
        let weight = |entry: &Entry| match entry.model() {
            None => usize::MAX,
            model => counts[&model],
        };
        let worst = self.entries.iter();
        let worst = worst.max_by_key(|(_, entry)| (weight(entry), u64::MAX - entry.ends.0));
        if let Some((&peer, _)) = worst {
            self.entries.remove(&peer);
        }
    }

    /// What was heard of late, all and with one of `models`.
    pub(crate) fn heard_of(&self, now: Millis, models: &[ModelOffer]) -> HeardOf {
        let mut count = HeardOf::default();
        let late = |entry: &&Entry| now.since(entry.heard) < ANNOUNCE_WINDOW;
        for entry in self.entries.values().filter(late) {
            count.all += 1;
            let mut theirs = entry.record.models.iter();
            let alike = theirs.any(|it| models.iter().any(|model| model.id == it.id));
            count.alike += usize::from(alike);
        }
        count
    }

    /// Records that have ended are forgotten; whether there were any.
    pub(crate) fn tick(&mut self, now: Millis) -> bool {
        if self.entries.is_empty() || now < self.ends_from {
            return false;
        }
        let before = self.entries.len();
        self.entries.retain(|_, entry| now < entry.ends);
        let ends = self.entries.values().map(|entry| entry.ends);
        self.ends_from = ends.min().unwrap_or_default();
        self.entries.len() < before
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        (!self.entries.is_empty()).then_some(self.ends_from)
    }
}

impl Entry {
    fn model(&self) -> Option<ModelId> {
        self.record.models.first().map(|model| model.id)
    }

    /// Ways to the peer: each names a relay and leaves open where that is, for a node dials through
    /// relays of its own choice only.
    pub(crate) fn found(&self, peer: NodeId) -> Found {
        let relays = self.record.relays.iter();
        let addresses = relays.map(|relay| format!("/p2p/{relay}/p2p-circuit/p2p/{peer}"));
        let addresses = addresses.collect();
        Found { peer, addresses }
    }
}
