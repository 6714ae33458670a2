//! What is done about rendezvous requests; what they are answered is decided in `rendezvous`.

use libp2p::request_response::{Event, Message};

use super::Network;
use crate::rendezvous::{Outcome, wire};

impl Network {
    pub(super) fn on_rendezvous(&mut self, event: Event<wire::Message, wire::Message>) {
        let Event::Message { peer, message, .. } = event else {
            tracing::trace!(?event, "rendezvous");
            return;
        };
        let Message::Request {
            request, channel, ..
        } = message
        else {
            return;
        };
        let (outcome, answer) = self
            .registrations
            .with(|now, store| store.answer(now, peer, request));
        tracing::trace!(%peer, ?outcome, "rendezvous");
        if let Some(answer) = answer {
            let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
            rendezvous.send_response(channel, answer).ok(); // It may have left by itself.
        }
        match outcome {
            Outcome::Discovered => self.metrics.discovered(),
            Outcome::Malformed | Outcome::Unregistered => {}
            Outcome::Refused(_) => self.metrics.registered(false),
            Outcome::Registered => self.metrics.registered(true),
        }
        if matches!(outcome, Outcome::Registered | Outcome::Refused(_)) {
            self.slow_down(peer);
        }
        self.count_registrations();
    }

    pub(super) fn count_registrations(&mut self) {
        let n_own = self.registrations.with(|now, store| {
            store.sweep(now);
            store.n_own()
        });
        self.metrics.count_registrations(n_own);
        self.federation.count();
    }
}
