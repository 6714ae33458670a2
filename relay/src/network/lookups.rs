//! What is done about Kademlia's requests: providers are kept within bounds, values not at all.

use std::time::Instant;

use libp2p::kad::{self, InboundRequest};

use super::Network;

impl Network {
    pub(super) fn on_kad(&mut self, event: kad::Event) {
        let kad::Event::InboundRequest { request } = event else {
            tracing::trace!(?event, "kademlia");
            return;
        };
        match request {
            InboundRequest::AddProvider {
                record: Some(record),
            } => {
                let providers = self.swarm.behaviour_mut().kad.store_mut();
                let peer = record.provider;
                if let Err(refusal) = providers.admit(Instant::now(), record) {
                    tracing::debug!(%peer, %refusal, "provider record not kept");
                    self.metrics.not_provided(refusal.name());
                }
                self.count_providers();
            }
            InboundRequest::GetProvider { .. } => self.metrics.looked_up(),
            InboundRequest::PutRecord { .. } => self.metrics.not_provided("Value"),
            InboundRequest::AddProvider { record: None }
            | InboundRequest::FindNode { .. }
            | InboundRequest::GetRecord { .. } => {}
        }
    }

    /// Forgets what has ended.
    pub(super) fn sweep(&mut self) {
        let providers = self.swarm.behaviour_mut().kad.store_mut();
        providers.sweep(Instant::now());
        self.count_providers();
        self.count_registrations();
    }

    fn count_providers(&mut self) {
        let n_records = self.swarm.behaviour_mut().kad.store_mut().len();
        self.metrics.provided(n_records);
    }
}
