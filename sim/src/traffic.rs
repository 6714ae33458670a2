//! What goes over the wire, counted by kind and by peer.

use crate::peer::PeerIndex;
use std::collections::BTreeSet;
use thrum_hive::io::StreamKind;
use thrum_protocol::time::Millis;

/// count; messages of both that a dial costs each side: two to the relay, a description, and some
/// candidates.
pub const SIGNALLING: u64 = 8;
/// ms; how often each side of a connection pings the other (`node-wasm/src/net/behaviour.rs`).
pub const PING_PERIOD: Millis = Millis(15_000);

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// what a peer can do, to a neighbour
    Advert,
    /// where else to look
    Hint,
    /// a prompt, its answer, and what keeps them alive
    Task,
    /// an announcement, to a neighbour in gossip's mesh
    Gossip,
    /// what announcements there are, to a neighbour outside it
    GossipControl,
    /// a request to a relay, or its answer
    Relay,
    /// to find a way to a peer
    Signal,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 7] = [
        Self::Advert,
        Self::Hint,
        Self::Task,
        Self::Gossip,
        Self::GossipControl,
        Self::Relay,
        Self::Signal,
    ];

    /// For tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Advert => "adverts",
            Self::Hint => "hints",
            Self::Task => "prompts and answers",
            Self::Gossip => "announcements",
            Self::GossipControl => "gossip's control",
            Self::Relay => "to and from relays",
            Self::Signal => "signalling",
        }
    }

    /// The kind of what goes over a stream.
    #[must_use]
    pub fn of(stream: StreamKind) -> Self {
        match stream {
            StreamKind::Advert => Self::Advert,
            StreamKind::Hint => Self::Hint,
            StreamKind::Task => Self::Task,
        }
    }
}

/// Messages that peers sent, and those that relays sent to them.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    by_kind: [u64; Kind::ALL.len()],
    by_peer: Vec<u64>,
    /// those whose messages are not counted
    left_out: BTreeSet<PeerIndex>,
}

impl Traffic {
    pub(crate) fn add(&mut self, peer: PeerIndex, kind: Kind, count: u64) {
        if self.left_out.contains(&peer) {
            return;
        }
        self.by_kind[kind as usize] += count;
        if self.by_peer.len() <= peer.0 {
            self.by_peer.resize(peer.0 + 1, 0);
        }
        self.by_peer[peer.0] += count;
    }

    /// How many of a kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.by_kind[kind as usize]
    }

    /// How many of all kinds.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.by_kind.iter().sum()
    }

    /// The most that one peer sent.
    #[must_use]
    pub fn most_of_one(&self) -> u64 {
        self.by_peer.iter().copied().max().unwrap_or(0)
    }

    /// Counting begins anew, of all but some.
    pub fn reset(&mut self, left_out: BTreeSet<PeerIndex>) {
        *self = Self {
            left_out,
            ..Self::default()
        };
    }
}
