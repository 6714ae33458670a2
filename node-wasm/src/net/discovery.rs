//! Finding each other: a relay's rendezvous, registered at and asked within bounds.

use libp2p::multiaddr::Protocol;
use libp2p::rendezvous::client::{Behaviour, Event};
use libp2p::rendezvous::{ErrorCode, Namespace, Registration};
use libp2p::{Multiaddr, PeerId};
use std::collections::{BTreeMap, BTreeSet};
use thrum_hive::io::Found;
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::limits::MAX_TEXT_BYTES;
use thrum_protocol::{NAMESPACE, model_namespace};

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

/// The askings under way, by relay and namespace.
#[derive(Default)]
pub(super) struct Discovery {
    askings: BTreeMap<(PeerId, String), Asking>,
    /// models that relays were told of; the machine offers a few
    offered: BTreeSet<(PeerId, ModelId)>,
}

struct Asking {
    subject: Subject,
    found: Vec<Found>,
}

/// Whom an asking is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// every node
    Everybody,
    /// those that answer with a model
    OfModel(ModelId),
}

/// What a relay answered.
pub(super) struct Answer {
    pub(super) relay: PeerId,
    pub(super) subject: Subject,
    /// nobody, too, where it did not answer
    pub(super) found: Vec<Found>,
}

impl Subject {
    pub(super) fn namespace(self) -> Namespace {
        match self {
            Self::Everybody => Namespace::from_static(NAMESPACE),
            Self::OfModel(model) => Namespace::new(model_namespace(model))
                .expect("a short prefix and sixteen digits are within the limit"),
        }
    }
}

impl Discovery {
    /// Asks a relay who is there, unless the same asking is under way.
    pub(super) fn ask(&mut self, rendezvous: &mut Behaviour, relay: PeerId, subject: Subject) {
        let namespace = subject.namespace();
        let asking = (relay, String::from(namespace.clone()));
        if self.askings.contains_key(&asking) {
            return;
        }
        let found = Vec::new();
        self.askings.insert(asking, Asking { subject, found });
        rendezvous.discover(Some(namespace), None, Some(PAGE), relay);
    }

    /// The answer to an asking once it is whole.
    pub(super) fn on_event(
        &mut self,
        rendezvous: &mut Behaviour,
        event: Event,
        own: PeerId,
    ) -> Option<Answer> {
        match event {
            Event::Discovered {
                rendezvous_node,
                registrations,
                cookie,
            } => {
                let namespace = cookie.namespace().cloned()?;
                let asking = (rendezvous_node, String::from(namespace.clone()));
                let found = &mut self.askings.get_mut(&asking)?.found;
                let page_is_full = registrations.len() as u64 >= PAGE;
                found.extend(registrations.iter().filter_map(|it| found_in(it, own)));
                if page_is_full && found.len() < MAX_FOUND {
                    let limit = Some(PAGE);
                    rendezvous.discover(Some(namespace), Some(cookie), limit, rendezvous_node);
                    return None;
                }
                self.answered(asking)
            }
            Event::DiscoverFailed {
                rendezvous_node,
                namespace,
                error,
            } => {
                tracing::warn!(relay = %rendezvous_node, ?error, "the relay does not say who is there");
                self.answered((rendezvous_node, String::from(namespace?)))
            }
            Event::RegisterFailed {
                rendezvous_node,
                namespace,
                error: ErrorCode::InvalidTtl,
            } => {
                register_for(rendezvous, rendezvous_node, namespace, USUAL_TTL_SECS);
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
                namespace,
            } => {
                tracing::debug!(relay = %rendezvous_node, %namespace, ttl, "registered");
                None
            }
            Event::Expired { .. } => None,
        }
    }

    /// Lets a relay know that this node answers with a model.
    pub(super) fn offer(&mut self, rendezvous: &mut Behaviour, relay: PeerId, model: ModelId) {
        self.offered.insert((relay, model));
        register(rendezvous, relay, Subject::OfModel(model));
    }

    /// Takes that back. libp2p then renews no registration at this relay when the node's addresses
    /// change, so it is told of the others once more.
    pub(super) fn withdraw(&mut self, rendezvous: &mut Behaviour, relay: PeerId, model: ModelId) {
        self.offered.remove(&(relay, model));
        unregister(rendezvous, relay, Subject::OfModel(model));
        register(rendezvous, relay, Subject::Everybody);
        for &(_, other) in self.offered.iter().filter(|(at, _)| *at == relay) {
            register(rendezvous, relay, Subject::OfModel(other));
        }
    }

    /// Tells a relay that this node goes away.
    pub(super) fn leave(&mut self, rendezvous: &mut Behaviour, relay: PeerId) {
        unregister(rendezvous, relay, Subject::Everybody);
        for &(_, model) in self.offered.iter().filter(|(at, _)| *at == relay) {
            unregister(rendezvous, relay, Subject::OfModel(model));
        }
    }

    /// What a relay is not asked for or told of any more, since the connection ended.
    pub(super) fn forget(&mut self, relay: PeerId) {
        self.askings.retain(|(of, _), _| *of != relay);
        self.offered.retain(|(at, _)| *at != relay);
    }

    fn answered(&mut self, asking: (PeerId, String)) -> Option<Answer> {
        let Asking { subject, mut found } = self.askings.remove(&asking)?;
        found.truncate(MAX_FOUND);
        let (relay, _) = asking;
        Some(Answer {
            relay,
            subject,
            found,
        })
    }
}

/// Registers this node's circuit addresses.
pub(super) fn register(rendezvous: &mut Behaviour, relay: PeerId, subject: Subject) {
    let namespace = subject.namespace();
    register_for(rendezvous, relay, namespace, REGISTRATION_TTL_SECS);
}

fn register_for(rendezvous: &mut Behaviour, relay: PeerId, namespace: Namespace, ttl_secs: u64) {
    if let Err(error) = rendezvous.register(namespace, relay, Some(ttl_secs)) {
        tracing::warn!(%relay, %error, "cannot register");
    }
}

/// Takes a registration back.
fn unregister(rendezvous: &mut Behaviour, relay: PeerId, subject: Subject) {
    rendezvous.unregister(subject.namespace(), relay);
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
