//! What federated relays tell each other: who registered with them, so that a peer of one is found
//! at the others.
//!
//! A relay tells its own registrations only, never what it was told; it tells them to the relays
//! of its settings, and believes those only. What it is told goes with the link, or when its time
//! is up.

pub(crate) mod intake;
pub(crate) mod redial;
pub(crate) mod wire;

use libp2p::StreamProtocol;

/// What the stream is called on which its opener tells.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/thrum/federation/1");
