//! The rendezvous server: who registered under which namespace, here or at a federated relay, told
//! to whoever asks, page by page.
//!
//! It is libp2p's protocol, as its clients speak it. libp2p's own server takes no registrations
//! from elsewhere and remembers what each asker was told; here an asker's cookie says that.

mod answer;
mod ring;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub(crate) use answer::Outcome;
pub(crate) use store::{Claim, Delta, Refusal, Store};

use std::collections::BTreeSet;

use libp2p::PeerId;
use libp2p::core::{PeerRecord, SignedEnvelope};
use libp2p::multiaddr::Protocol;

use crate::limits::MAX_RECORD_BYTES;

/// A peer's record, whose signature holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) peer: PeerId,
    /// of two records of one peer the higher is newer
    pub(crate) sequence: u64,
    /// those through which its addresses lead
    pub(crate) relays: BTreeSet<PeerId>,
}

impl Record {
    /// The record in an envelope; `None` where it is too large, or its peer did not sign it.
    pub(crate) fn open(envelope: &[u8]) -> Option<Self> {
        if envelope.len() > MAX_RECORD_BYTES {
            return None;
        }
        let envelope = SignedEnvelope::from_protobuf_encoding(envelope).ok()?;
        let record = PeerRecord::from_signed_envelope(envelope).ok()?;
        let relays = record.addresses().iter().filter_map(|address| {
            let mut relay = None;
            for part in address {
                if let Protocol::P2p(peer) = part {
                    relay = Some(peer);
                } else if part == Protocol::P2pCircuit {
                    return relay;
                }
            }
            None
        });
        Some(Self {
            peer: record.peer_id(),
            sequence: record.seq(),
            relays: relays.collect(),
        })
    }
}
