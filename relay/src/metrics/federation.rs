//! The numbers of the federation.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::ReasonLabels;

/// Counts what federated relays tell; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct FederationMetrics {
    relays: Gauge,
    registrations: Gauge,
    refused: Family<ReasonLabels, Counter>,
    cut: Counter,
}

impl FederationMetrics {
    pub(crate) fn count(&self, n_relays: usize, n_registrations: usize) {
        self.relays.set(n_relays as i64);
        self.registrations.set(n_registrations as i64);
    }

    /// `reason` is one of the relay's own names.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    pub(crate) fn cut(&self) {
        self.cut.inc();
    }

    /// Puts these numbers under the names that `/metrics` shows.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "federated_relays",
            "Relays that tell this one who registered with them",
            self.relays.clone(),
        );
        registry.register(
            "federated_registrations",
            "Registrations that federated relays told",
            self.registrations.clone(),
        );
        registry.register(
            "federated_refused",
            "Registrations of federated relays that were not believed",
            self.refused.clone(),
        );
        registry.register(
            "federated_cut",
            "Federated relays cut off for what they told",
            self.cut.clone(),
        );
    }
}
