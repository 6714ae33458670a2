//! Owns which connection of a peer counts: the newest, once it holds a place.
//!
//! A page whose address has changed connects anew, and leaves a connection behind that looks alive
//! until a ping is missed. Circuits to the page would be tried there, and fail.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;
use libp2p::swarm::ConnectionId;

/// The connections of all peers. Ids grow with time.
#[derive(Debug, Default)]
pub(super) struct Newest {
    connections: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
}

impl Newest {
    pub(super) fn connected(&mut self, peer: PeerId, connection: ConnectionId) {
        self.connections.entry(peer).or_default().insert(connection);
    }

    pub(super) fn disconnected(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(all) = self.connections.get_mut(&peer) {
            all.remove(&connection);
            if all.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }

    /// What a peer's new place makes needless.
    pub(super) fn replaced(&self, peer: &PeerId) -> Vec<ConnectionId> {
        let all = self.connections.get(peer).into_iter().flatten();
        let mut older: Vec<_> = all.copied().collect();
        older.pop();
        older
    }
}
