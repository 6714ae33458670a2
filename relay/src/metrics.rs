//! Owns the numbers that `/metrics` shows, and the small memory needed to count them rightly.

mod federation;
pub(crate) mod turn;

pub(crate) use federation::FederationMetrics;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, relay};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// How a peer reached the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Transport {
    WebRtcDirect,
    WebSocket,
}

impl Transport {
    pub(crate) fn of(address: &Multiaddr) -> Self {
        if address.iter().any(|part| part == Protocol::WebRTCDirect) {
            Self::WebRtcDirect
        } else {
            Self::WebSocket
        }
    }
}

/// How a request for a reservation, a circuit or a registration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Outcome {
    Accepted,
    Denied,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabels {
    transport: Transport,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HttpLabels {
    route: &'static str,
    status: u16,
}

/// Counts HTTP answers; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct HttpMetrics {
    requests: Family<HttpLabels, Counter>,
}

impl HttpMetrics {
    /// `route` is one of the router's own names, never a path that a client chose.
    pub(crate) fn answered(&self, route: &'static str, status: u16) {
        self.requests
            .get_or_create(&HttpLabels { route, status })
            .inc();
    }
}

/// Counts what happens on the libp2p side.
#[derive(Default)]
pub(crate) struct NetworkMetrics {
    connections: Family<TransportLabels, Gauge>,
    connections_refused: Family<ReasonLabels, Counter>,
    connections_failed: Counter,
    reservations: Gauge,
    reservation_requests: Family<OutcomeLabels, Counter>,
    circuits: Gauge,
    circuit_requests: Family<OutcomeLabels, Counter>,
    registrations: Gauge,
    registration_requests: Family<OutcomeLabels, Counter>,

    discoveries: Counter,
    provider_records: Gauge,
    provider_records_refused: Family<ReasonLabels, Counter>,
    provider_lookups: Counter,

    transport_by_connection: BTreeMap<ConnectionId, Transport>,
    /// Kept because libp2p reports the end of a reservation for connections that had none.
    reserved: BTreeSet<PeerId>,
}

impl NetworkMetrics {
    pub(crate) fn connected(&mut self, id: ConnectionId, address: &Multiaddr) {
        let transport = Transport::of(address);
        self.transport_by_connection.insert(id, transport);
        self.connections
            .get_or_create(&TransportLabels { transport })
            .inc();
    }

    pub(crate) fn disconnected(&mut self, id: ConnectionId) {
        if let Some(transport) = self.transport_by_connection.remove(&id) {
            self.connections
                .get_or_create(&TransportLabels { transport })
                .dec();
        }
    }

    pub(crate) fn gone(&mut self, peer: PeerId) {
        self.reserved.remove(&peer);
        self.reservations.set(self.reserved.len() as i64);
    }

    /// `reason` is one of the relay's own names.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.connections_refused
            .get_or_create(&ReasonLabels { reason })
            .inc();
    }

    pub(crate) fn failed(&self) {
        self.connections_failed.inc();
    }

    pub(crate) fn on_relay(&mut self, event: &relay::Event) {
        let count = |family: &Family<OutcomeLabels, Counter>, outcome| {
            family.get_or_create(&OutcomeLabels { outcome }).inc();
        };
        if let relay::Event::ReservationReqAccepted { src_peer_id, .. } = event {
            count(&self.reservation_requests, Outcome::Accepted);
            self.reserved.insert(*src_peer_id);
        } else if let relay::Event::ReservationTimedOut { src_peer_id } = event {
            self.reserved.remove(src_peer_id);
        } else if let relay::Event::ReservationReqDenied { .. } = event {
            count(&self.reservation_requests, Outcome::Denied);
        } else if let relay::Event::CircuitReqAccepted { .. } = event {
            count(&self.circuit_requests, Outcome::Accepted);
            self.circuits.inc();
        } else if let relay::Event::CircuitReqDenied { .. } = event {
            count(&self.circuit_requests, Outcome::Denied);
        } else if let relay::Event::CircuitClosed { .. } = event {
            self.circuits.dec();
        }
        self.reservations.set(self.reserved.len() as i64);
    }

    pub(crate) fn registered(&self, is_accepted: bool) {
        let outcome = match is_accepted {
            true => Outcome::Accepted,
            false => Outcome::Denied,
        };
        self.registration_requests
            .get_or_create(&OutcomeLabels { outcome })
            .inc();
    }

    pub(crate) fn count_registrations(&self, n_registrations: usize) {
        self.registrations.set(n_registrations as i64);
    }

    pub(crate) fn discovered(&self) {
        self.discoveries.inc();
    }

    pub(crate) fn provided(&self, n_records: usize) {
        self.provider_records.set(n_records as i64);
    }

    /// `reason` is one of the relay's own names.
    pub(crate) fn not_provided(&self, reason: &'static str) {
        let labels = ReasonLabels { reason };
        self.provider_records_refused.get_or_create(&labels).inc();
    }

    pub(crate) fn looked_up(&self) {
        self.provider_lookups.inc();
    }

    /// Puts these numbers under the names that `/metrics` shows.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "connections",
            "Open libp2p connections",
            self.connections.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections refused by a limit",
            self.connections_refused.clone(),
        );
        registry.register(
            "connections_failed",
            "Connections that ended in their handshake",
            self.connections_failed.clone(),
        );
        registry.register(
            "reservations",
            "Peers reachable through this relay",
            self.reservations.clone(),
        );
        registry.register(
            "reservation_requests",
            "Requests for a reservation, renewals among them",
            self.reservation_requests.clone(),
        );
        registry.register(
            "circuits",
            "Open circuits between peers",
            self.circuits.clone(),
        );
        registry.register(
            "circuit_requests",
            "Requests for a circuit",
            self.circuit_requests.clone(),
        );
        registry.register(
            "registrations",
            "Rendezvous registrations alive",
            self.registrations.clone(),
        );
        registry.register(
            "registration_requests",
            "Rendezvous registrations asked for",
            self.registration_requests.clone(),
        );
        registry.register(
            "discoveries",
            "Questions who is registered",
            self.discoveries.clone(),
        );
        registry.register(
            "provider_records",
            "Provider records of Kademlia alive",
            self.provider_records.clone(),
        );
        registry.register(
            "provider_records_refused",
            "Provider records not kept",
            self.provider_records_refused.clone(),
        );
        registry.register(
            "provider_lookups",
            "Questions who provides a key",
            self.provider_lookups.clone(),
        );
    }
}

/// An empty registry that already tells which build this is.
pub(crate) fn new_registry() -> Registry {
    let mut registry = Registry::with_prefix("thrum_relay");
    registry.register(
        "build",
        "The version and commit of this relay",
        Info::new([("version", crate::VERSION), ("commit", crate::COMMIT)]),
    );
    registry
}

/// Puts the HTTP numbers under the names that `/metrics` shows.
pub(crate) fn register_http(registry: &mut Registry, http: &HttpMetrics) {
    registry.register(
        "http_requests",
        "HTTP requests answered",
        http.requests.clone(),
    );
}

/// The registry in Prometheus's text format.
pub(crate) fn to_text(registry: &Registry) -> String {
    let mut body = String::new();
    text::encode(&mut body, registry).expect("writing to a string cannot fail");
    body
}
