//! A relay as peers know it: keeps places within its limits, knows who registered, carries what
//! goes no other way, and sometimes dies.

use crate::peer::PeerIndex;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use thrum_protocol::SigningKey;
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::time::Millis;

/// ms; how long a registration is kept that is not made again (`node-wasm`'s TTL).
pub const REGISTRATION_TTL: Millis = Millis(11 * 60_000);
/// count; peers in one answer about who is there.
pub const PAGE: usize = 64;
/// count; places (`relay/src/limits.rs`).
pub const MAX_RESERVATIONS: usize = 8_192;
/// count; circuits in all (`relay/src/limits.rs`).
pub const MAX_CIRCUITS: usize = 4_096;
/// count; circuits of one peer (`relay/src/limits.rs`).
pub const MAX_CIRCUITS_PER_PEER: usize = 8;
/// ms; a circuit ends after this (`relay/src/limits.rs`).
pub const MAX_CIRCUIT_TIME: Millis = Millis(10 * 60_000);
/// count; TURN allocations in all (`relay/src/limits.rs`).
pub const MAX_ALLOCATIONS: usize = 256;
/// count; TURN allocations of one peer (`relay/src/limits.rs`).
pub const MAX_ALLOCATIONS_PER_PEER: usize = 4;

/// One relay. Registrations survive the peers that made them, as in a real rendezvous.
#[derive(Debug)]
pub struct Relay {
    /// its name
    pub id: NodeId,
    /// whether it answers
    pub alive: bool,
    /// which part of a network that has fallen apart it is in
    pub side: u8,
    /// who holds a connection
    pub connected: BTreeSet<PeerIndex>,
    /// who holds a place
    pub reserved: BTreeSet<PeerIndex>,
    /// who registered, dead or alive
    pub registered: Register,
    /// circuits, by who they are between
    circuits: Quota,
    /// TURN allocations, by whose they are
    allocations: Quota,
    /// who offers which model in its rendezvous, dead or alive
    pub offers: BTreeSet<(ModelId, PeerIndex)>,
    /// who offers which model in the Kademlia table, as far as this relay keeps it
    pub provided: BTreeSet<(ModelId, PeerIndex)>,
}

impl Relay {
    /// A relay that answers and knows nobody; of the same number, of the same name.
    #[must_use]
    pub fn new(number: usize) -> Self {
        let mut secret = [0xee; 32];
        secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let key = SigningKey::from_bytes(&secret).verifying_key();
        Self {
            id: NodeId::from_public_key(key.to_bytes()).expect("a key's public half"),
            alive: true,
            side: 0,
            connected: BTreeSet::new(),
            reserved: BTreeSet::new(),
            registered: Register::default(),
            circuits: Quota::new(MAX_CIRCUITS, MAX_CIRCUITS_PER_PEER),
            allocations: Quota::new(MAX_ALLOCATIONS, MAX_ALLOCATIONS_PER_PEER),
            offers: BTreeSet::new(),
            provided: BTreeSet::new(),
        }
    }

    /// Everybody loses the connection and has to register again; whom that concerns.
    pub fn die(&mut self) -> BTreeSet<PeerIndex> {
        self.alive = false;
        self.reserved.clear();
        self.registered = Register::default();
        self.offers.clear();
        self.provided.clear();
        std::mem::take(&mut self.connected)
    }

    /// Whether there was a place.
    pub fn reserve(&mut self, peer: PeerIndex) -> bool {
        let place = self.reserved.contains(&peer) || self.reserved.len() < MAX_RESERVATIONS;
        if place {
            self.connected.insert(peer);
            self.reserved.insert(peer);
        }
        place
    }

    /// A peer is gone.
    pub fn drop_peer(&mut self, peer: PeerIndex) {
        self.connected.remove(&peer);
        self.reserved.remove(&peer);
    }

    /// Whether a circuit could be made for both.
    pub fn open_circuit(&mut self, a: PeerIndex, b: PeerIndex) -> bool {
        self.circuits.take(&[a, b])
    }

    /// A circuit ends.
    pub fn close_circuit(&mut self, a: PeerIndex, b: PeerIndex) {
        self.circuits.give(&[a, b]);
    }

    /// Whether TURN had an allocation left for a peer.
    pub fn allocate(&mut self, peer: PeerIndex) -> bool {
        self.allocations.take(&[peer])
    }

    /// An allocation ends.
    pub fn free(&mut self, peer: PeerIndex) {
        self.allocations.give(&[peer]);
    }
}

/// So many in all and for each peer.
#[derive(Debug)]
struct Quota {
    most: usize,
    most_each: usize,
    all: usize,
    each: BTreeMap<PeerIndex, usize>,
}

impl Quota {
    fn new(most: usize, most_each: usize) -> Self {
        Self {
            most,
            most_each,
            all: 0,
            each: BTreeMap::new(),
        }
    }

    fn take(&mut self, peers: &[PeerIndex]) -> bool {
        let each = |peer| self.each.get(peer).is_none_or(|&has| has < self.most_each);
        if self.all >= self.most || !peers.iter().all(each) {
            return false;
        }
        self.all += 1;
        for &peer in peers {
            *self.each.entry(peer).or_default() += 1;
        }
        true
    }

    fn give(&mut self, peers: &[PeerIndex]) {
        self.all = self.all.saturating_sub(1);
        for peer in peers {
            if let Some(has) = self.each.get_mut(peer) {
                *has -= 1;
                if *has == 0 {
                    self.each.remove(peer);
                }
            }
        }
    }
}

/// Who registered and until when, in an order from which a page can be drawn.
#[derive(Debug, Default)]
pub struct Register {
    entries: Vec<(PeerIndex, Millis)>,
    places: BTreeMap<PeerIndex, usize>,
}

impl Register {
    /// Registers a peer, for the first time or again.
    pub fn insert(&mut self, peer: PeerIndex, now: Millis) {
        let until = now + REGISTRATION_TTL;
        if let Some(&place) = self.places.get(&peer) {
            self.entries[place].1 = until;
        } else {
            self.places.insert(peer, self.entries.len());
            self.entries.push((peer, until));
        }
    }

    /// Takes a peer out.
    pub fn remove(&mut self, peer: PeerIndex) {
        if let Some(place) = self.places.remove(&peer) {
            self.entries.swap_remove(place);
            if let Some((moved, _)) = self.entries.get(place) {
                self.places.insert(*moved, place);
            }
        }
    }

    /// How many registered, those that have expired included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn get(&mut self, place: usize, now: Millis) -> Option<PeerIndex> {
        let &(peer, until) = self.entries.get(place)?;
        if until <= now {
            self.remove(peer);
            return None;
        }
        Some(peer)
    }
}

/// A page drawn from all the registers together, nobody twice: all of them where they are few.
pub fn page(registers: &mut [&mut Register], now: Millis, rng: &mut ChaCha8Rng) -> Vec<PeerIndex> {
    let all: usize = registers.iter().map(|it| it.len()).sum();
    let mut found = BTreeSet::new();
    if all <= PAGE {
        for register in registers {
            for place in (0..register.len()).rev() {
                found.extend(register.get(place, now));
            }
        }
        return found.into_iter().collect();
    }
    for _ in 0..2 * PAGE {
        let mut at = (rng.next_u64() % all as u64) as usize;
        for register in registers.iter_mut() {
            if at < register.len() {
                found.extend(register.get(at, now));
                break;
            }
            at -= register.len();
        }
        if found.len() >= PAGE {
            break;
        }
    }
    found.into_iter().collect()
}
