//! What a peer says that has too many connections when it asks another to leave: where else to
//! look. Whoever hears it hangs up.

use crate::id::NodeId;
use crate::limits::{MAX_HINTED_ADDRESSES, MAX_HINTED_PEERS, MAX_TEXT_BYTES};
use crate::signed::{self, OpenError, within};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

/// Version and purpose of the signature.
const DOMAIN: &str = "thrum/hint/1";

/// Other peers that may have room. Hearsay: they may be gone, or never have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// at most [`MAX_HINTED_PEERS`]
    pub peers: Vec<HintedPeer>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HintedPeer {
    /// who
    pub peer_id: NodeId,
    /// multiaddrs, as text; at most [`MAX_HINTED_ADDRESSES`]
    pub addresses: Vec<String>,
}

impl Hint {
    /// The bytes that go over the wire.
    #[must_use]
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        signed::seal(DOMAIN, self, key)
    }

    /// The sender and the hint in `bytes`.
    ///
    /// # Errors
    /// [`OpenError`] where they are no hint that its sender signed, or over a limit.
    pub fn open(bytes: &[u8]) -> Result<(NodeId, Self), OpenError> {
        let (sender, hint): (_, Self) = signed::open(DOMAIN, bytes)?;
        within("peers", hint.peers.len(), MAX_HINTED_PEERS)?;
        for peer in &hint.peers {
            within("addresses", peer.addresses.len(), MAX_HINTED_ADDRESSES)?;
            for address in &peer.addresses {
                within("addresses", address.len(), MAX_TEXT_BYTES)?;
            }
        }
        Ok((sender, hint))
    }
}
