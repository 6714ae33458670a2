//! Owns the numbers of STUN and TURN that `/metrics` shows.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::turn::{Refusal, Server};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: Refusal,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    to: &'static str,
}

/// Shows what the machine counted.
#[derive(Default)]
pub(crate) struct TurnMetrics {
    bindings: Counter,
    allocations: Gauge,
    allocated: Counter,
    bytes: Family<DirectionLabels, Counter>,
    refused: Family<RefusalLabels, Counter>,
}

impl TurnMetrics {
    /// Takes over the machine's own counts.
    pub(crate) fn show(&self, server: &Server) {
        let stats = server.stats();
        let set = |counter: &Counter<u64, AtomicU64>, value| {
            counter.inner().store(value, Ordering::Relaxed);
        };
        set(&self.bindings, stats.n_bindings);
        set(&self.allocated, stats.n_allocated);
        self.allocations.set(server.n_allocations() as i64);
        for (to, value) in [
            ("peers", stats.n_bytes_to_peers),
            ("clients", stats.n_bytes_to_clients),
        ] {
            set(&self.bytes.get_or_create(&DirectionLabels { to }), value);
        }
        for (&reason, &value) in &stats.n_refused {
            set(
                &self.refused.get_or_create(&RefusalLabels { reason }),
                value,
            );
        }
    }

    /// Puts these numbers under the names that `/metrics` shows.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "stun_requests",
            "STUN binding requests answered",
            self.bindings.clone(),
        );
        registry.register(
            "turn_allocations",
            "TURN allocations alive",
            self.allocations.clone(),
        );
        registry.register(
            "turn_allocated",
            "TURN allocations made",
            self.allocated.clone(),
        );
        registry.register(
            "turn_bytes",
            "Bytes that TURN carried, without headers",
            self.bytes.clone(),
        );
        registry.register(
            "turn_refused",
            "STUN and TURN datagrams refused or dropped",
            self.refused.clone(),
        );
    }
}
