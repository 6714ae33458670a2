//! What stands on a federation stream: frames, each of which may tell several things.

use libp2p::{Multiaddr, PeerId};
use prost::Message as _;

use crate::limits::{FEDERATION_BATCH, MAX_FEDERATION_FRAME_BYTES, MAX_RELAY_ADDRESSES};
use crate::rendezvous::{Claim, Delta};

/// One frame, as it is written.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Frame {
    /// where the teller is dialled; empty: as it said before
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) addresses: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) puts: Vec<Put>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) drops: Vec<Drop>,
}

/// A peer is registered with the teller.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Put {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    /// the peer's record in its signed envelope
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) envelope: Vec<u8>,
    /// seconds
    #[prost(uint64, tag = "3")]
    pub(crate) ttl: u64,
}

/// A peer is no longer registered with the teller.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Drop {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) peer: Vec<u8>,
}

impl Frame {
    /// Tells where the teller is.
    pub(crate) fn of_addresses(addresses: &[Multiaddr]) -> Self {
        let addresses = addresses.iter().take(MAX_RELAY_ADDRESSES);
        Self {
            addresses: addresses.map(Multiaddr::to_vec).collect(),
            ..Self::default()
        }
    }

    /// Tells what changed.
    pub(crate) fn of_delta(delta: Delta) -> Self {
        let put = |claim: Claim| Put {
            namespace: claim.namespace,
            envelope: claim.envelope.to_vec(),
            ttl: claim.ttl_secs,
        };
        let drop = |(namespace, peer): (String, PeerId)| Drop {
            namespace,
            peer: peer.to_bytes(),
        };
        Self {
            addresses: Vec::new(),
            puts: delta.claims.into_iter().map(put).collect(),
            drops: delta.drops.into_iter().map(drop).collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The bytes of a frame that tells no more than [`FEDERATION_BATCH`] things.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        debug_assert!(self.puts.len() + self.drops.len() <= FEDERATION_BATCH);
        let bytes = self.encode_to_vec();
        debug_assert!(bytes.len() <= MAX_FEDERATION_FRAME_BYTES);
        bytes
    }
}
