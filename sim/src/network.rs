//! Who is connected to whom, the streams between them, and how long bytes take. Streams are
//! reliable and ordered: what loss does to them is to break them.

use crate::peer::PeerIndex;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use thrum_hive::io::StreamId;
use thrum_protocol::time::Millis;

/// One end of a stream.
pub type End = (PeerIndex, StreamId);

/// A stream.
#[derive(Debug)]
pub struct Pipe {
    /// the opener and the acceptor
    pub ends: [End; 2],
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

/// All connections and streams.
#[derive(Debug)]
pub struct Network {
    weather: Weather,
    /// pairs in order, and the relay that carries them where one does
    links: BTreeMap<(PeerIndex, PeerIndex), Option<usize>>,
    pipes: BTreeMap<u64, Pipe>,
    by_end: BTreeMap<End, u64>,
    /// pairs that cannot reach each other
    cut: BTreeSet<(PeerIndex, PeerIndex)>,
    next_pipe: u64,
}

impl Network {
    /// No connections, in the given weather.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Self {
            weather,
            links: BTreeMap::new(),
            pipes: BTreeMap::new(),
            by_end: BTreeMap::new(),
            cut: BTreeSet::new(),
            next_pipe: 0,
        }
    }

    /// How long a frame takes.
    pub fn delay(&self, rng: &mut ChaCha8Rng) -> Millis {
        self.weather.latency + Millis(rng.next_u64() % (self.weather.jitter.0 + 1))
    }

    /// Whether this frame breaks its stream.
    pub fn breaks(&self, rng: &mut ChaCha8Rng) -> bool {
        rng.next_u64() % 1_000_000 < self.weather.loss_ppm
    }

    /// Whether the two are connected.
    #[must_use]
    pub fn linked(&self, a: PeerIndex, b: PeerIndex) -> bool {
        self.links.contains_key(&pair(a, b))
    }

    /// Whether the two are connected without a relay.
    #[must_use]
    pub fn linked_directly(&self, a: PeerIndex, b: PeerIndex) -> bool {
        self.links.get(&pair(a, b)).is_some_and(Option::is_none)
    }

    /// Whether a connection is possible.
    #[must_use]
    pub fn reachable(&self, a: PeerIndex, b: PeerIndex) -> bool {
        a != b && !self.cut.contains(&pair(a, b))
    }

    /// Connects the two, through a relay or directly.
    pub fn link(&mut self, a: PeerIndex, b: PeerIndex, relay: Option<usize>) {
        self.links.insert(pair(a, b), relay);
    }

    /// Ends the connection; the streams that broke with it.
    pub fn unlink(&mut self, a: PeerIndex, b: PeerIndex) -> Vec<u64> {
        self.links.remove(&pair(a, b));
        let between = |pipe: &Pipe| {
            let peers = pair(pipe.ends[0].0, pipe.ends[1].0);
            peers == pair(a, b)
        };
        let pipes = self.pipes.iter().filter(|(_, pipe)| between(pipe));
        pipes.map(|(&id, _)| id).collect()
    }

    /// Everybody connected to a peer.
    #[must_use]
    pub fn neighbours(&self, peer: PeerIndex) -> Vec<PeerIndex> {
        let other = |&(a, b): &(PeerIndex, PeerIndex)| match peer {
            _ if a == peer => Some(b),
            _ if b == peer => Some(a),
            _ => None,
        };
        self.links.keys().filter_map(other).collect()
    }

    /// Pairs whose connection a relay carries.
    #[must_use]
    pub fn carried_by(&self, relay: usize) -> Vec<(PeerIndex, PeerIndex)> {
        let carried = self.links.iter().filter(|(_, by)| **by == Some(relay));
        carried.map(|(&pair, _)| pair).collect()
    }

    /// The two cannot reach each other, or can again.
    pub fn set_cut(&mut self, a: PeerIndex, b: PeerIndex, cut: bool) {
        if cut {
            self.cut.insert(pair(a, b));
        } else {
            self.cut.remove(&pair(a, b));
        }
    }

    /// A stream between two ends.
    pub fn open(&mut self, opener: End, acceptor: End) -> u64 {
        let id = self.next_pipe;
        self.next_pipe += 1;
        self.by_end.insert(opener, id);
        self.by_end.insert(acceptor, id);
        self.pipes.insert(
            id,
            Pipe {
                ends: [opener, acceptor],
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
            for end in found.ends {
                self.by_end.remove(&end);
            }
            self.pipes.remove(&pipe);
        }
        was_open
    }

    /// Streams with an end that still hears.
    #[must_use]
    pub fn pipe_count(&self) -> usize {
        self.pipes.len()
    }
}

fn pair(a: PeerIndex, b: PeerIndex) -> (PeerIndex, PeerIndex) {
    (a.min(b), a.max(b))
}
