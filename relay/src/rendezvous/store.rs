//! Owns the registrations: this relay's own and those of federated relays, apart, each until its
//! time is up.
//!
//! Of a peer that registered at several relays one registration is told: this relay's own, else
//! the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::Record;
use super::ring::{N_PLACES, Ring, Stand};
use crate::limits::{
    MAX_FOREIGN_PER_RELAY, MAX_NAMESPACE_BYTES, MAX_REGISTRATION_SECS, MAX_REGISTRATIONS,
    MAX_REGISTRATIONS_PER_PEER, MAX_REMEMBERED_DROPS, MIN_REGISTRATION_SECS,
};

/// Who, under which namespace.
pub(super) type Key = (Arc<str>, PeerId);

/// Why a registration is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the namespace is empty, or longer than {MAX_NAMESPACE_BYTES} bytes")]
    Namespace,
    #[error("the record leads through other relays only")]
    NotThroughIt,
    #[error("the record is another peer's")]
    NotTheirs,
    #[error("there are as many registrations as there may be")]
    TooMany,
    #[error("a peer has {MAX_REGISTRATIONS_PER_PEER} namespaces at most")]
    TooManyOfPeer,
    #[error("it would last too short or too long")]
    Ttl,
    #[error("the record is too large, or its peer did not sign it")]
    Unsigned,
    #[error("a newer record is known")]
    Outdated,
}

impl Refusal {
    /// What it is counted under.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::NotTheirs => "NotTheirs",
            Self::NotThroughIt => "NotThroughIt",
            Self::Outdated => "Outdated",
            Self::TooMany => "TooMany",
            Self::TooManyOfPeer => "TooManyOfPeer",
            Self::Ttl => "Ttl",
            Self::Unsigned => "Unsigned",
        }
    }
}

/// What somebody says about a peer: a registration in a namespace, for so long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) namespace: String,
    /// the peer's record in its signed envelope
    pub(crate) envelope: Arc<[u8]>,
    pub(crate) ttl_secs: u64,
}

/// What changed among this relay's own registrations.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) claims: Vec<Claim>,
    pub(crate) drops: Vec<(String, PeerId)>,
    /// up to which change
    pub(crate) upto: u64,
}

#[derive(Debug)]
struct Entry {
    envelope: Arc<[u8]>,
    sequence: u64,
    ends: Duration,
}

/// A peer in a namespace. Invariant: `own` or one of `foreign` is there.
#[derive(Debug)]
struct Slot {
    place: u64,
    change: u64,
    own: Option<Entry>,
    /// by the relay that told
    foreign: BTreeMap<PeerId, Entry>,
}

impl Slot {
    fn told(&self) -> Option<&Entry> {
        let newest = || self.foreign.values().max_by_key(|entry| entry.sequence);
        self.own.as_ref().or_else(newest)
    }
}

/// What became of an own registration at a change.
#[derive(Debug)]
enum OwnChange {
    Dropped(Key),
    Put(Key),
}

/// All registrations.
#[derive(Debug)]
pub(crate) struct Store {
    slots: BTreeMap<Key, Slot>,
    /// by namespace; `None`: all
    rings: BTreeMap<Option<Arc<str>>, Ring<Key>>,
    places: BTreeSet<u64>,
    /// when what ends; with the relay that told it, unless it is this one
    ends: BTreeSet<(Duration, Key, Option<PeerId>)>,
    n_own_by_peer: BTreeMap<PeerId, usize>,
    n_by_relay: BTreeMap<PeerId, usize>,
    own_changes: BTreeMap<u64, OwnChange>,
    own_change_of: BTreeMap<Key, u64>,
    drops: BTreeSet<u64>,
    newest_change: u64,
    rng: StdRng,
}

impl Store {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            rings: BTreeMap::new(),
            places: BTreeSet::new(),
            ends: BTreeSet::new(),
            n_own_by_peer: BTreeMap::new(),
            n_by_relay: BTreeMap::new(),
            own_changes: BTreeMap::new(),
            own_change_of: BTreeMap::new(),
            drops: BTreeSet::new(),
            newest_change: 0,
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// Registers a peer that is connected here; for how long, in seconds.
    pub(crate) fn register(
        &mut self,
        now: Duration,
        peer: PeerId,
        claim: Claim,
    ) -> Result<u64, Refusal> {
        self.sweep(now);
        if !(MIN_REGISTRATION_SECS..=MAX_REGISTRATION_SECS).contains(&claim.ttl_secs) {
            return Err(Refusal::Ttl);
        }
        let namespace = check_namespace(&claim.namespace)?;
        let record = Record::open(&claim.envelope).ok_or(Refusal::Unsigned)?;
        if record.peer != peer {
            return Err(Refusal::NotTheirs);
        }
        let key = (namespace, peer);
        let is_new = self.slots.get(&key).is_none_or(|slot| slot.own.is_none());
        if is_new {
            let n_own = self.n_own_by_peer.get(&peer).copied().unwrap_or(0);
            if n_own >= MAX_REGISTRATIONS_PER_PEER {
                return Err(Refusal::TooManyOfPeer);
            }
            if self.n_own() >= MAX_REGISTRATIONS {
                return Err(Refusal::TooMany);
            }
        }
        let ttl_secs = claim.ttl_secs;
        self.put(now, key, None, claim, record.sequence);
        Ok(ttl_secs)
    }

    /// Takes a peer's own registration away.
    pub(crate) fn unregister(&mut self, now: Duration, peer: PeerId, namespace: &str) {
        self.sweep(now);
        self.remove(&(namespace.into(), peer), None);
    }

    /// Takes all of a peer's own registrations away: it is connected no more, so nobody reaches it
    /// through this relay.
    pub(crate) fn left(&mut self, peer: PeerId) {
        if !self.n_own_by_peer.contains_key(&peer) {
            return;
        }
        let of_peer =
            |(key, slot): (&Key, &Slot)| (key.1 == peer && slot.own.is_some()).then(|| key.clone());
        let keys: Vec<_> = self.slots.iter().filter_map(of_peer).collect();
        for key in keys {
            self.remove(&key, None);
        }
    }

    /// Takes what a federated relay tells of one of its peers.
    pub(crate) fn learn(
        &mut self,
        now: Duration,
        relay: PeerId,
        claim: Claim,
    ) -> Result<(), Refusal> {
        self.sweep(now);
        if !(1..=MAX_REGISTRATION_SECS).contains(&claim.ttl_secs) {
            return Err(Refusal::Ttl);
        }
        let namespace = check_namespace(&claim.namespace)?;
        let record = Record::open(&claim.envelope).ok_or(Refusal::Unsigned)?;
        if !record.relays.contains(&relay) {
            return Err(Refusal::NotThroughIt);
        }
        let key = (namespace, record.peer);
        let known = self.slots.get(&key).and_then(|it| it.foreign.get(&relay));
        if known.is_some_and(|entry| entry.sequence > record.sequence) {
            return Err(Refusal::Outdated);
        }
        let n_known = self.n_by_relay.get(&relay).copied().unwrap_or(0);
        if known.is_none() && n_known >= MAX_FOREIGN_PER_RELAY {
            return Err(Refusal::TooMany);
        }
        self.put(now, key, Some(relay), claim, record.sequence);
        Ok(())
    }

    /// Forgets what a federated relay takes back.
    pub(crate) fn unlearn(&mut self, relay: PeerId, namespace: &str, peer: PeerId) {
        self.remove(&(namespace.into(), peer), Some(relay));
    }

    /// Forgets all that a federated relay told.
    pub(crate) fn forget(&mut self, relay: PeerId) {
        let told: Vec<_> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.foreign.contains_key(&relay))
            .map(|(key, _)| key.clone())
            .collect();
        for key in told {
            self.remove(&key, Some(relay));
        }
    }

    /// A page of what is known, for somebody who stands there; then where it stands.
    pub(super) fn page(
        &mut self,
        now: Duration,
        namespace: Option<&str>,
        stand: Option<Stand>,
        limit: usize,
    ) -> (Vec<Claim>, Stand) {
        self.sweep(now);
        let newest = self.newest_change;
        let start = self.rng.random_range(0..N_PLACES);
        let ring = self.rings.get(&namespace.map(Arc::from));
        let (keys, stand) = match (ring, stand) {
            (None, _) => (Vec::new(), Stand::Since(newest)),
            (Some(ring), None) => ring.begin(start, limit, newest),
            (Some(ring), Some(stand)) => ring.go_on(stand, limit, newest),
        };
        let claims = keys.iter().filter_map(|key| {
            let entry = self.slots.get(key)?.told()?;
            Some(claim_of(now, key, entry))
        });
        (claims.collect(), stand)
    }

    /// What changed among this relay's own registrations since a change, at most so much at once.
    pub(crate) fn own_since(&mut self, now: Duration, change: u64, limit: usize) -> Delta {
        self.sweep(now);
        let mut delta = Delta {
            upto: change,
            ..Delta::default()
        };
        for (number, change) in self.own_changes.range(change + 1..).take(limit) {
            delta.upto = *number;
            match change {
                OwnChange::Dropped((namespace, peer)) => {
                    delta.drops.push((namespace.to_string(), *peer));
                }
                OwnChange::Put(key) => {
                    let own = self.slots.get(key).and_then(|slot| slot.own.as_ref());
                    delta.claims.extend(own.map(|it| claim_of(now, key, it)));
                }
            }
        }
        delta
    }

    /// This relay's own registrations.
    pub(crate) fn n_own(&self) -> usize {
        self.own_change_of.len()
    }

    /// Registrations that federated relays told.
    pub(crate) fn n_foreign(&self) -> usize {
        self.n_by_relay.values().sum()
    }

    /// Forgets what has ended.
    pub(crate) fn sweep(&mut self, now: Duration) {
        while let Some((ends, key, relay)) = self.ends.first() {
            if *ends > now {
                return;
            }
            let (key, relay) = (key.clone(), *relay);
            self.remove(&key, relay);
        }
    }

    /// Whether nothing is kept but what was dropped.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.slots.is_empty()
            && self.rings.is_empty()
            && self.places.is_empty()
            && self.ends.is_empty()
            && self.n_own_by_peer.is_empty()
            && self.n_by_relay.is_empty()
            && self.own_change_of.is_empty()
            && self.own_changes.len() == self.drops.len()
    }

    fn put(&mut self, now: Duration, key: Key, relay: Option<PeerId>, claim: Claim, sequence: u64) {
        self.newest_change += 1;
        let change = self.newest_change;
        let ends = now + Duration::from_secs(claim.ttl_secs);
        let entry = Entry {
            envelope: claim.envelope,
            sequence,
            ends,
        };
        let (place, before) = match self.slots.get_mut(&key) {
            Some(slot) => (
                slot.place,
                Some(std::mem::replace(&mut slot.change, change)),
            ),
            None => {
                let place = self.draw_place();
                let slot = Slot {
                    place,
                    change,
                    own: None,
                    foreign: BTreeMap::new(),
                };
                self.slots.insert(key.clone(), slot);
                (place, None)
            }
        };
        for ring in [Some(key.0.clone()), None] {
            let ring = self.rings.entry(ring).or_default();
            ring.put(&key, place, before, change);
        }
        self.ends.insert((ends, key.clone(), relay));
        let slot = self.slots.get_mut(&key).expect("it was put there above");
        let replaced = match relay {
            Some(relay) => slot.foreign.insert(relay, entry),
            None => slot.own.replace(entry),
        };
        match &replaced {
            Some(old) if old.ends != ends => {
                self.ends.remove(&(old.ends, key.clone(), relay));
            }
            Some(_) => {}
            None => match relay {
                Some(relay) => *self.n_by_relay.entry(relay).or_insert(0) += 1,
                None => *self.n_own_by_peer.entry(key.1).or_insert(0) += 1,
            },
        }
        if relay.is_none() {
            self.own_changed(key.clone(), change);
            self.own_changes.insert(change, OwnChange::Put(key));
        }
    }

    fn remove(&mut self, key: &Key, relay: Option<PeerId>) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let removed = match relay {
            Some(relay) => slot.foreign.remove(&relay),
            None => slot.own.take(),
        };
        let Some(removed) = removed else {
            return;
        };
        if slot.told().is_none() {
            let (place, change) = (slot.place, slot.change);
            self.slots.remove(key);
            self.places.remove(&place);
            for name in [Some(key.0.clone()), None] {
                if let Some(ring) = self.rings.get_mut(&name) {
                    ring.remove(place, change);
                    if ring.is_empty() {
                        self.rings.remove(&name);
                    }
                }
            }
        }
        self.ends.remove(&(removed.ends, key.clone(), relay));
        match relay {
            Some(relay) => take_one(&mut self.n_by_relay, &relay),
            None => {
                take_one(&mut self.n_own_by_peer, &key.1);
                self.own_dropped(key);
            }
        }
    }

    fn own_changed(&mut self, key: Key, change: u64) {
        if let Some(before) = self.own_change_of.insert(key, change) {
            self.own_changes.remove(&before);
        }
    }

    /// Remembers the newest drops; of older ones the time runs out elsewhere, too.
    fn own_dropped(&mut self, key: &Key) {
        if let Some(before) = self.own_change_of.remove(key) {
            self.own_changes.remove(&before);
        }
        self.newest_change += 1;
        let change = self.newest_change;
        self.own_changes
            .insert(change, OwnChange::Dropped(key.clone()));
        self.drops.insert(change);
        if self.drops.len() > MAX_REMEMBERED_DROPS
            && let Some(oldest) = self.drops.pop_first()
        {
            self.own_changes.remove(&oldest);
        }
    }

    fn draw_place(&mut self) -> u64 {
        loop {
            let place = self.rng.random_range(0..N_PLACES);
            if self.places.insert(place) {
                return place;
            }
        }
    }
}

fn check_namespace(namespace: &str) -> Result<Arc<str>, Refusal> {
    let holds = (1..=MAX_NAMESPACE_BYTES).contains(&namespace.len());
    holds.then(|| namespace.into()).ok_or(Refusal::Namespace)
}

fn claim_of(now: Duration, key: &Key, entry: &Entry) -> Claim {
    Claim {
        namespace: key.0.to_string(),
        envelope: Arc::clone(&entry.envelope),
        // What ends within this second has ended for whoever hears of it.
        ttl_secs: entry.ends.saturating_sub(now).as_secs().max(1),
    }
}

fn take_one(counts: &mut BTreeMap<PeerId, usize>, peer: &PeerId) {
    if let Some(count) = counts.get_mut(peer) {
        *count -= 1;
        if *count == 0 {
            counts.remove(peer);
        }
    }
}
