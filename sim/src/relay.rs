//! A relay as peers know it: keeps places, knows who registered, and sometimes dies.

use crate::peer::PeerIndex;
use std::collections::BTreeSet;

/// One relay. Registrations survive the peers that made them, as in a real rendezvous.
#[derive(Debug)]
pub struct Relay {
    /// whether it answers
    pub alive: bool,
    /// who holds a connection
    pub connected: BTreeSet<PeerIndex>,
    /// who holds a place
    pub reserved: BTreeSet<PeerIndex>,
    /// who registered, dead or alive
    pub registered: BTreeSet<PeerIndex>,
}

impl Relay {
    /// A relay that answers and knows nobody.
    #[must_use]
    pub fn new() -> Self {
        Self {
            alive: true,
            connected: BTreeSet::new(),
            reserved: BTreeSet::new(),
            registered: BTreeSet::new(),
        }
    }

    /// Everybody loses the connection and has to register again; whom that concerns.
    pub fn die(&mut self) -> BTreeSet<PeerIndex> {
        self.alive = false;
        self.reserved.clear();
        self.registered.clear();
        std::mem::take(&mut self.connected)
    }

    /// A peer is gone.
    pub fn drop_peer(&mut self, peer: PeerIndex) {
        self.connected.remove(&peer);
        self.reserved.remove(&peer);
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}
