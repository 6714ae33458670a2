//! How far the connection to one relay is.

use libp2p::core::transport::ListenerId;
use libp2p::{Multiaddr, PeerId};

/// One relay of the list the node was made with.
pub(super) struct RelaySlot {
    /// as the person gave it
    pub(super) text: String,
    stage: Stage,
    /// number of the last attempt, so that the answer to an earlier one is known as such
    attempt: u64,
    /// whom its address led to when it was last dialled
    last: Option<PeerId>,
}

/// How far it is.
enum Stage {
    Idle,
    /// its addresses are being asked for
    Resolving,
    Dialling {
        peer: PeerId,
    },
    Connected {
        peer: PeerId,
        /// ends in `/p2p/<peer>`
        address: Multiaddr,
        /// holds the reservation
        listener: Option<ListenerId>,
    },
}

impl RelaySlot {
    pub(super) fn new(text: String) -> Self {
        Self {
            text,
            stage: Stage::Idle,
            attempt: 0,
            last: None,
        }
    }

    /// Begins an attempt and gives its number; `None` where one is under way.
    pub(super) fn begin(&mut self) -> Option<u64> {
        if !matches!(self.stage, Stage::Idle) {
            return None;
        }
        self.stage = Stage::Resolving;
        self.attempt += 1;
        Some(self.attempt)
    }

    /// Whether the answer with this number is waited for.
    pub(super) fn is_attempt(&self, attempt: u64) -> bool {
        matches!(self.stage, Stage::Resolving) && self.attempt == attempt
    }

    pub(super) fn dialling(&mut self, peer: PeerId) {
        self.stage = Stage::Dialling { peer };
        self.last = Some(peer);
    }

    pub(super) fn connected(
        &mut self,
        peer: PeerId,
        address: Multiaddr,
        listener: Option<ListenerId>,
    ) {
        self.stage = Stage::Connected {
            peer,
            address,
            listener,
        };
    }

    /// Goes back to the start; the peer it had been dialling or connected to.
    pub(super) fn forget(&mut self) -> Option<PeerId> {
        let peer = self.peer();
        self.stage = Stage::Idle;
        peer
    }

    /// Whether this is the relay's peer id, be it connected or not.
    pub(super) fn is_of(&self, peer: &PeerId) -> bool {
        self.last.as_ref() == Some(peer)
    }

    pub(super) fn peer(&self) -> Option<PeerId> {
        match self.stage {
            Stage::Idle | Stage::Resolving => None,
            Stage::Dialling { peer } | Stage::Connected { peer, .. } => Some(peer),
        }
    }

    pub(super) fn connected_peer(&self) -> Option<PeerId> {
        self.connected_address().map(|(peer, _)| peer)
    }

    pub(super) fn connected_address(&self) -> Option<(PeerId, &Multiaddr)> {
        match &self.stage {
            Stage::Connected { peer, address, .. } => Some((*peer, address)),
            Stage::Dialling { .. } | Stage::Idle | Stage::Resolving => None,
        }
    }

    pub(super) fn listener(&self) -> Option<ListenerId> {
        match self.stage {
            Stage::Connected { listener, .. } => listener,
            Stage::Dialling { .. } | Stage::Idle | Stage::Resolving => None,
        }
    }
}
