//! How many streams each peer holds open to us and how fast it opens them.

use crate::allowance::Allowance;
use crate::io::StreamId;
use crate::limits::{MAX_STREAMS_PER_PEER, STREAM_BURST, STREAM_PERIOD};
use std::collections::BTreeMap;
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;

/// The streams that peers opened. Entries go with the connection, so there are no more than
/// connected peers.
#[derive(Default)]
pub(crate) struct Floodgate {
    peers: BTreeMap<NodeId, Gate>,
}

struct Gate {
    open: Vec<StreamId>,
    /// streams it may open
    allowance: Allowance,
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Admitted,
    /// too many are open; the honest may meet this when links are slow
    TooMany,
    /// opened faster than any honest peer does
    Flood,
}

impl Floodgate {
    pub(crate) fn admit(&mut self, now: Millis, peer: NodeId, stream: StreamId) -> Admission {
        let gate = self.peers.entry(peer).or_insert_with(|| Gate {
            open: Vec::new(),
            allowance: Allowance::new(now, STREAM_BURST),
        });
        if !gate.allowance.take(now, STREAM_BURST, STREAM_PERIOD) {
            return Admission::Flood;
        }
        if gate.open.len() >= MAX_STREAMS_PER_PEER {
            return Admission::TooMany;
        }
        gate.open.push(stream);
        Admission::Admitted
    }

    pub(crate) fn closed(&mut self, stream: StreamId) {
        for gate in self.peers.values_mut() {
            gate.open.retain(|&open| open != stream);
        }
    }

    pub(crate) fn disconnected(&mut self, peer: NodeId) {
        self.peers.remove(&peer);
    }
}
