//! Who is connected to whom, the streams between them, and how long bytes take. Streams are
//! reliable and ordered: what loss does to them is to break them.

use crate::nat::Nat;
use crate::peer::PeerIndex;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use thrum_hive::io::{StreamId, StreamKind};
use thrum_protocol::time::Millis;

/// One end of a stream.
pub type End = (PeerIndex, StreamId);

/// A stream.
#[derive(Debug)]
pub struct Pipe {
    /// the opener and the acceptor
    pub ends: [End; 2],
    /// what it is for
    pub kind: StreamKind,
    /// whether each end still hears
    open: [bool; 2],
    /// when the last byte arrives at each end: nothing overtakes it
    arrives: [Millis; 2],
}

/// How the network treats bytes.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// ms; the shortest way
    pub latency: Millis,
    /// ms; on top, drawn anew for each frame
    pub jitter: Millis,
    /// millionths; chance that a frame breaks its stream
    pub loss_ppm: u64,
}

/// Where a peer is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site {
    /// what it is behind
    pub nat: Nat,
    /// ms; two places are as far apart as the sum of their differences, one way
    pub place: (u32, u32),
    /// which part of a network that has fallen apart it is in
    pub side: u8,
}

/// What carries a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// nothing: browser to browser
    Direct,
    /// a relay's TURN, by an allocation of this peer
    Turn(usize, PeerIndex),
    /// a relay's circuit
    Circuit(usize),
}

#[derive(Debug)]
struct Link {
    carrier: Carrier,
    /// tells it from one that was there before
    number: u64,
    pipes: BTreeSet<u64>,
}

/// All connections and streams.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    /// by peer
    sites: Vec<Site>,
    /// by peer: its neighbours
    neighbours: Vec<BTreeSet<PeerIndex>>,
    /// pairs in order
    links: BTreeMap<(PeerIndex, PeerIndex), Link>,
    pipes: BTreeMap<u64, Pipe>,
    by_end: BTreeMap<End, u64>,
    /// pairs that cannot reach each other
    cut: BTreeSet<(PeerIndex, PeerIndex)>,
    next: u64,
}

impl Network {
    /// No connections, in the given weather.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Self {
            weather,
            sites: Vec::new(),
            neighbours: Vec::new(),
            links: BTreeMap::new(),
            pipes: BTreeMap::new(),
            by_end: BTreeMap::new(),
            cut: BTreeSet::new(),
            next: 0,
        }
    }

    /// Makes room for another peer.
    pub fn add(&mut self, site: Site) {
        self.sites.push(site);
        self.neighbours.push(BTreeSet::new());
    }

    /// Where a peer is.
    #[must_use]
    pub fn site(&self, peer: PeerIndex) -> Site {
        self.sites[peer.0]
    }

    /// Moves a peer to another part of the network.
    pub fn set_side(&mut self, peer: PeerIndex, side: u8) {
        self.sites[peer.0].side = side;
    }

    /// How long a frame takes to a relay, or anywhere in a world without places.
    pub fn delay(&self, rng: &mut ChaCha8Rng) -> Millis {
        self.weather.latency + Millis(rng.next_u64() % (self.weather.jitter.0 + 1))
    }

    /// How long a frame takes from one peer to another.
    pub fn delay_between(&self, a: PeerIndex, b: PeerIndex, rng: &mut ChaCha8Rng) -> Millis {
        let ((ax, ay), (bx, by)) = (self.sites[a.0].place, self.sites[b.0].place);
        let far = ax.abs_diff(bx) + ay.abs_diff(by);
        self.delay(rng) + Millis(u64::from(far))
    }

    /// Whether this frame breaks its stream.
    pub fn breaks(&self, rng: &mut ChaCha8Rng) -> bool {
        rng.next_u64() % 1_000_000 < self.weather.loss_ppm
    }

    /// What carries the connection of the two, if they are connected.
    #[must_use]
    pub fn carrier(&self, a: PeerIndex, b: PeerIndex) -> Option<Carrier> {
        self.links.get(&pair(a, b)).map(|link| link.carrier)
    }

    /// Whether the two are connected.
    #[must_use]
    pub fn linked(&self, a: PeerIndex, b: PeerIndex) -> bool {
        self.links.contains_key(&pair(a, b))
    }

    /// Whether the two are connected without a relay's circuit.
    #[must_use]
    pub fn linked_directly(&self, a: PeerIndex, b: PeerIndex) -> bool {
        let carrier = self.carrier(a, b);
        matches!(carrier, Some(Carrier::Direct | Carrier::Turn(..)))
    }

    /// Whether a connection is possible.
    #[must_use]
    pub fn reachable(&self, a: PeerIndex, b: PeerIndex) -> bool {
        let same_side = self.sites[a.0].side == self.sites[b.0].side;
        a != b && same_side && !self.cut.contains(&pair(a, b))
    }

    /// Connects the two; the number of the connection, and what carried it before.
    pub fn link(&mut self, a: PeerIndex, b: PeerIndex, carrier: Carrier) -> (u64, Option<Carrier>) {
        let number = self.next;
        self.next += 1;
        let link = self.links.entry(pair(a, b)).or_insert_with(|| Link {
            carrier,
            number,
            pipes: BTreeSet::new(),
        });
        let before = (link.number != number).then_some(link.carrier);
        link.carrier = carrier;
        link.number = number;
        self.neighbours[a.0].insert(b);
        self.neighbours[b.0].insert(a);
        (number, before)
    }

    /// Whether this very connection is still there.
    #[must_use]
    pub fn is_link(&self, a: PeerIndex, b: PeerIndex, number: u64) -> bool {
        self.links
            .get(&pair(a, b))
            .is_some_and(|link| link.number == number)
    }

    /// Ends the connection; what carried it and the streams that broke with it.
    pub fn unlink(&mut self, a: PeerIndex, b: PeerIndex) -> Option<(Carrier, BTreeSet<u64>)> {
        let link = self.links.remove(&pair(a, b))?;
        self.neighbours[a.0].remove(&b);
        self.neighbours[b.0].remove(&a);
        Some((link.carrier, link.pipes))
    }

    /// Everybody connected to a peer.
    #[must_use]
    pub fn neighbours(&self, peer: PeerIndex) -> &BTreeSet<PeerIndex> {
        &self.neighbours[peer.0]
    }

    /// Pairs whose connection a relay carries.
    #[must_use]
    pub fn carried_by(&self, relay: usize) -> Vec<(PeerIndex, PeerIndex)> {
        let by = |link: &Link| match link.carrier {
            Carrier::Direct => None,
            Carrier::Turn(relay, _) | Carrier::Circuit(relay) => Some(relay),
        };
        let carried = self
            .links
            .iter()
            .filter(|(_, link)| by(link) == Some(relay));
        carried.map(|(&pair, _)| pair).collect()
    }

    /// Pairs of which one can no longer reach the other.
    #[must_use]
    pub fn torn(&self) -> Vec<(PeerIndex, PeerIndex)> {
        let torn = |&&(a, b): &&(PeerIndex, PeerIndex)| !self.reachable(a, b);
        self.links.keys().filter(torn).copied().collect()
    }

    /// The two cannot reach each other, or can again.
    pub fn set_cut(&mut self, a: PeerIndex, b: PeerIndex, cut: bool) {
        if cut {
            self.cut.insert(pair(a, b));
        } else {
            self.cut.remove(&pair(a, b));
        }
    }

    /// A stream between two ends that are connected.
    pub fn open(&mut self, opener: End, acceptor: End, kind: StreamKind) -> u64 {
        let id = self.next;
        self.next += 1;
        self.by_end.insert(opener, id);
        self.by_end.insert(acceptor, id);
        if let Some(link) = self.links.get_mut(&pair(opener.0, acceptor.0)) {
            link.pipes.insert(id);
        }
        self.pipes.insert(
            id,
            Pipe {
                ends: [opener, acceptor],
                kind,
                open: [true; 2],
                arrives: [Millis(0); 2],
            },
        );
        id
    }

    /// The stream of an end that still hears, and which side it is.
    #[must_use]
    pub fn side(&self, end: End) -> Option<(u64, usize)> {
        let id = *self.by_end.get(&end)?;
        let side = self.pipes.get(&id)?.ends.iter().position(|e| *e == end)?;
        self.pipes[&id].open[side].then_some((id, side))
    }

    /// A stream.
    #[must_use]
    pub fn pipe(&self, pipe: u64) -> Option<&Pipe> {
        self.pipes.get(&pipe)
    }

    /// The end on the given side and the moment at which bytes sent at `at` earliest arrive there.
    pub fn arrival(&mut self, pipe: u64, side: usize, at: Millis) -> Option<(End, Millis)> {
        let pipe = self.pipes.get_mut(&pipe)?;
        let arrives = pipe.arrives[side].max(at);
        pipe.arrives[side] = arrives;
        Some((pipe.ends[side], arrives))
    }

    /// Ends one side; whether it was open. The stream is forgotten with its second side.
    pub fn close(&mut self, pipe: u64, side: usize) -> bool {
        let Some(found) = self.pipes.get_mut(&pipe) else {
            return false;
        };
        let was_open = std::mem::replace(&mut found.open[side], false);
        if found.open == [false; 2] {
            let ends = found.ends;
            for end in ends {
                self.by_end.remove(&end);
            }
            self.pipes.remove(&pipe);
            if let Some(link) = self.links.get_mut(&pair(ends[0].0, ends[1].0)) {
                link.pipes.remove(&pipe);
            }
        }
        was_open
    }

    /// Streams with an end that still hears.
    #[must_use]
    pub fn pipe_count(&self) -> usize {
        self.pipes.len()
    }

    /// Connections, by what carries them: direct, by TURN, through a relay.
    #[must_use]
    pub fn count_by_carrier(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for link in self.links.values() {
            counts[match link.carrier {
                Carrier::Direct => 0,
                Carrier::Turn(..) => 1,
                Carrier::Circuit(_) => 2,
            }] += 1;
        }
        counts
    }
}

fn pair(a: PeerIndex, b: PeerIndex) -> (PeerIndex, PeerIndex) {
    (a.min(b), a.max(b))
}
