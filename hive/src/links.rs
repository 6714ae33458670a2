//! Which of a peer's connections count.
//!
//! A peer may be connected several times: through a relay that carries the signalling of a direct
//! connection, directly, and by two dials that crossed. The machine is told of one path, the best;
//! of a relayed one only when somebody means to use it, since most are there to be replaced.

use std::collections::BTreeMap;
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::Path;

/// ms; a relayed connection that nobody uses is closed after this: signalling takes less.
pub const UNUSED_RELAYED: Millis = Millis(60_000);

/// The connections of all peers; `C` is what the edge calls one.
#[derive(Debug)]
pub struct Links<C> {
    peers: BTreeMap<NodeId, Peer<C>>,
}

#[derive(Debug)]
struct Peer<C> {
    connections: BTreeMap<C, Connection>,
    /// somebody means to use a relayed path
    relayed_wanted: bool,
    told: Option<(Path, String)>,
}

#[derive(Debug)]
struct Connection {
    path: Path,
    transport: String,
    since: Millis,
}

/// What the machine is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The peer is connected, or its best path is another.
    Connected {
        /// The best.
        path: Path,
        /// What is under it.
        transport: String,
    },
    /// No connection that counts is left.
    Disconnected,
}

impl<C> Default for Links<C> {
    fn default() -> Self {
        Self {
            peers: BTreeMap::new(),
        }
    }
}

impl<C: Ord + Copy> Links<C> {
    /// A connection is up.
    pub fn up(
        &mut self,
        now: Millis,
        peer: NodeId,
        connection: C,
        path: Path,
        transport: &str,
    ) -> Option<Change> {
        let known = self.peers.entry(peer).or_insert_with(Peer::new);
        let connection_is = Connection {
            path,
            transport: transport.to_owned(),
            since: now,
        };
        known.connections.insert(connection, connection_is);
        known.change()
    }

    /// A relayed path to a peer is as good as any: it was asked for, or the peer uses it.
    pub fn want_relayed(&mut self, peer: NodeId) -> Option<Change> {
        let known = self.peers.get_mut(&peer)?;
        known.relayed_wanted = true;
        known.change()
    }

    /// A connection has ended.
    pub fn down(&mut self, peer: NodeId, connection: C) -> Option<Change> {
        let known = self.peers.get_mut(&peer)?;
        known.connections.remove(&connection);
        if !known.has(Path::Relayed) {
            known.relayed_wanted = false;
        }
        let change = known.change();
        if known.connections.is_empty() {
            self.peers.remove(&peer);
        }
        change
    }

    /// Whether a connection is relayed, unused and old.
    pub fn is_needless(&self, now: Millis, peer: NodeId, connection: C) -> bool {
        let Some(known) = self.peers.get(&peer) else {
            return false;
        };
        let found = known.connections.get(&connection);
        found.is_some_and(|it| {
            it.path == Path::Relayed
                && !known.relayed_wanted
                && now.since(it.since) >= UNUSED_RELAYED
        })
    }
}

impl<C: Ord + Copy> Peer<C> {
    fn new() -> Self {
        Self {
            connections: BTreeMap::new(),
            relayed_wanted: false,
            told: None,
        }
    }

    fn has(&self, path: Path) -> bool {
        self.connections.values().any(|it| it.path == path)
    }

    /// The best path. A direct one that is new counts when the relayed one is gone, so that nothing
    /// is begun on the one that is about to go.
    fn best(&self) -> Option<(Path, String)> {
        let relayed_counts = self.relayed_wanted && self.has(Path::Relayed);
        let direct_counts = relayed_counts || self.told.is_some() || !self.has(Path::Relayed);
        let of = |path| {
            let mut found = self.connections.values().filter(|it| it.path == path);
            found.next().map(|it| (path, it.transport.clone()))
        };
        let direct = of(Path::Direct).filter(|_| direct_counts);
        direct.or_else(|| of(Path::Relayed).filter(|_| relayed_counts))
    }

    fn change(&mut self) -> Option<Change> {
        let best = self.best();
        if best == self.told {
            return None;
        }
        self.told = best.clone();
        Some(match best {
            Some((path, transport)) => Change::Connected { path, transport },
            None => Change::Disconnected,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_000);

    fn peer() -> NodeId {
        let id = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq";
        id.parse().unwrap()
    }

    fn direct() -> Option<Change> {
        Some(Change::Connected {
            path: Path::Direct,
            transport: "webrtc".into(),
        })
    }

    fn relayed() -> Option<Change> {
        Some(Change::Connected {
            path: Path::Relayed,
            transport: "circuit".into(),
        })
    }

    #[test]
    fn what_carries_the_signalling_is_not_told_of() {
        let mut links = Links::default();
        assert_eq!(links.up(NOW, peer(), 1, Path::Relayed, "circuit"), None);
        assert_eq!(links.up(NOW, peer(), 2, Path::Direct, "webrtc"), None);
        assert_eq!(links.down(peer(), 1), direct(), "the relayed one is gone");
        assert_eq!(links.down(peer(), 2), Some(Change::Disconnected));
        assert!(links.peers.is_empty());
    }

    #[test]
    fn a_relayed_path_that_is_wanted_counts_until_there_is_a_direct_one() {
        let mut links = Links::default();
        assert_eq!(links.want_relayed(peer()), None);
        assert_eq!(links.up(NOW, peer(), 1, Path::Relayed, "circuit"), None);
        assert_eq!(links.want_relayed(peer()), relayed());
        assert_eq!(links.up(NOW, peer(), 2, Path::Direct, "webrtc"), direct());
        assert_eq!(links.down(peer(), 1), None);
        assert_eq!(links.down(peer(), 2), Some(Change::Disconnected));
    }

    #[test]
    fn when_the_direct_one_ends_a_relayed_one_in_use_is_left() {
        let mut links = Links::default();
        links.up(NOW, peer(), 1, Path::Relayed, "circuit");
        links.want_relayed(peer());
        links.up(NOW, peer(), 2, Path::Direct, "webrtc");
        assert_eq!(links.down(peer(), 2), relayed());
        assert_eq!(links.down(peer(), 1), Some(Change::Disconnected));
    }

    #[test]
    fn two_direct_ones_are_one_path() {
        let mut links = Links::default();
        assert_eq!(links.up(NOW, peer(), 1, Path::Direct, "webrtc"), direct());
        assert_eq!(links.up(NOW, peer(), 2, Path::Direct, "webrtc"), None);
        assert_eq!(links.down(peer(), 1), None);
        assert_eq!(links.down(peer(), 2), Some(Change::Disconnected));
        assert_eq!(links.down(peer(), 2), None);
    }

    #[test]
    fn a_relayed_one_that_nobody_uses_becomes_needless() {
        let mut links = Links::default();
        links.up(NOW, peer(), 1, Path::Relayed, "circuit");
        assert!(!links.is_needless(NOW, peer(), 1));
        let later = NOW + UNUSED_RELAYED;
        assert!(links.is_needless(later, peer(), 1));
        links.want_relayed(peer());
        assert!(!links.is_needless(later, peer(), 1));
    }
}
