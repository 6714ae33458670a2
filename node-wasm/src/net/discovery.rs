//! Finding each other: a relay's rendezvous, registered at and asked within bounds.

use libp2p::multiaddr::Protocol;
use libp2p::rendezvous::client::{Behaviour, Event};
use libp2p::rendezvous::{ErrorCode, Namespace, Registration};
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;
use thrum_hive::io::Found;
use thrum_protocol::NAMESPACE;
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::MAX_TEXT_BYTES;

/// s; how long a relay remembers a node that does not come back: a little over twice the five
/// minutes after which the machine registers again.
const REGISTRATION_TTL_SECS: u64 = 11 * 60;

/// s; the shortest that rendezvous servers of libp2p take unless they are told otherwise.
const USUAL_TTL_SECS: u64 = 2 * 3_600;

/// count; peers in one answer.
const PAGE: u64 = 64;

/// count; peers that are taken from one asking. More than any roster holds.
const MAX_FOUND: usize = 256;

/// count; addresses that are kept of one peer: one for each relay it may have.
const MAX_ADDRESSES: usize = 8;

/// The askings under way, by relay.
#[derive(Default)]
pub(super) struct Discovery {
    pages: BTreeMap<PeerId, Vec<Found>>,
}

impl Discovery {
    /// Asks a relay who is there, unless an asking is under way.
    pub(super) fn ask(&mut self, rendezvous: &mut Behaviour, relay: PeerId) {
        if self.pages.contains_key(&relay) {
            return;
        }
        self.pages.insert(relay, Vec::new());
        rendezvous.discover(Some(namespace()), None, Some(PAGE), relay);
    }

    /// The answer to an asking once it is whole: the relay and who is there.
    pub(super) fn on_event(
        &mut self,
        rendezvous: &mut Behaviour,
        event: Event,
        own: PeerId,
    ) -> Option<(PeerId, Vec<Found>)> {
        match event {
            Event::Discovered {
                rendezvous_node,
                registrations,
                cookie,
            } => {
                let found = self.pages.get_mut(&rendezvous_node)?;
                let page_is_full = registrations.len() as u64 >= PAGE;
                found.extend(registrations.iter().filter_map(|it| found_in(it, own)));
                if page_is_full && found.len() < MAX_FOUND {
                    let (namespace, limit) = (Some(namespace()), Some(PAGE));
                    rendezvous.discover(namespace, Some(cookie), limit, rendezvous_node);
                    return None;
                }
                let mut found = self.pages.remove(&rendezvous_node)?;
                found.truncate(MAX_FOUND);
                Some((rendezvous_node, found))
            }
            Event::DiscoverFailed {
                rendezvous_node,
                error,
                ..
            } => {
                tracing::warn!(relay = %rendezvous_node, ?error, "the relay does not say who is there");
                self.pages.remove(&rendezvous_node);
                None
            }
            Event::RegisterFailed {
                rendezvous_node,
                error: ErrorCode::InvalidTtl,
                ..
            } => {
                register_for(rendezvous, rendezvous_node, USUAL_TTL_SECS);
                None
            }
            Event::RegisterFailed {
                rendezvous_node,
                error,
                ..
            } => {
                tracing::warn!(relay = %rendezvous_node, ?error, "the relay refused to register this node");
                None
            }
            Event::Registered {
                rendezvous_node,
                ttl,
                ..
            } => {
                tracing::debug!(relay = %rendezvous_node, ttl, "registered");
                None
            }
            Event::Expired { .. } => None,
        }
    }
}

/// Registers this node's circuit addresses.
pub(super) fn register(rendezvous: &mut Behaviour, relay: PeerId) {
    register_for(rendezvous, relay, REGISTRATION_TTL_SECS);
}

fn register_for(rendezvous: &mut Behaviour, relay: PeerId, ttl_secs: u64) {
    if let Err(error) = rendezvous.register(namespace(), relay, Some(ttl_secs)) {
        tracing::warn!(%relay, %error, "cannot register");
    }
}

/// Tells a relay that this node goes away.
pub(super) fn unregister(rendezvous: &mut Behaviour, relay: PeerId) {
    rendezvous.unregister(namespace(), relay);
}

/// The relay in an address of the form `…/p2p/<relay>/p2p-circuit/…`.
pub(super) fn relay_in(address: &Multiaddr) -> Option<PeerId> {
    let mut relay = None;
    for part in address {
        if let Protocol::P2p(peer) = part {
            relay = Some(peer);
        } else if part == Protocol::P2pCircuit {
            return relay;
        }
    }
    None
}

fn found_in(registration: &Registration, own: PeerId) -> Option<Found> {
    let peer = registration.record.peer_id();
    if peer == own {
        return None;
    }
    let addresses = registration.record.addresses().iter().take(MAX_ADDRESSES);
    let addresses: Vec<_> = addresses
        .filter(|address| relay_in(address).is_some())
        .map(ToString::to_string)
        .filter(|text| text.len() <= MAX_TEXT_BYTES)
        .collect();
    let peer = NodeId::from_peer_id_bytes(&peer.to_bytes()).ok()?;
    (!addresses.is_empty()).then_some(Found { peer, addresses })
}

fn namespace() -> Namespace {
    Namespace::from_static(NAMESPACE)
}
