//! Where it is written down who answers with which model.

use super::Net;
use super::discovery::{Answer, Subject};
use thrum_hive::io::{Input, Place, RelayIndex};
use thrum_protocol::id::ModelId;

impl Net {
    /// Lets it be written down that this node answers with a model.
    pub(crate) fn offer(&mut self, place: Place, model: ModelId) {
        match place {
            Place::Rendezvous(relay) => {
                if let Some(peer) = self.connected_relay(relay) {
                    let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                    self.discovery.offer(rendezvous, peer, model);
                }
            }
            Place::Kad => self.provide(model),
        }
    }

    /// Takes that back.
    pub(crate) fn withdraw(&mut self, place: Place, model: ModelId) {
        match place {
            Place::Rendezvous(relay) => {
                if let Some(peer) = self.connected_relay(relay) {
                    let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                    self.discovery.withdraw(rendezvous, peer, model);
                }
            }
            Place::Kad => self.stop_providing(model),
        }
    }

    /// Asks who answers with a model.
    pub(crate) fn look_up(&mut self, place: Place, model: ModelId) {
        match place {
            Place::Rendezvous(relay) => self.look_up_at(relay, model),
            Place::Kad => self.find_providers(model),
        }
    }

    fn look_up_at(&mut self, relay: RelayIndex, model: ModelId) {
        let Some(peer) = self.connected_relay(relay) else {
            return self.nobody(Place::Rendezvous(relay), model);
        };
        let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
        self.discovery
            .ask(rendezvous, peer, Subject::OfModel(model));
    }

    fn nobody(&mut self, place: Place, model: ModelId) {
        let found = Vec::new();
        self.ready.push_back(Input::LookedUp {
            place,
            model,
            found,
        });
    }

    /// What a relay's rendezvous answered, in the machine's words.
    pub(super) fn on_discovered(&mut self, answer: Answer) {
        let Some(relay) = self.relay_of(&answer.relay) else {
            return;
        };
        let found = answer.found;
        self.ask_for_ways(relay, &found);
        self.ready.push_back(match answer.subject {
            Subject::Everybody => Input::Discovered { relay, found },
            Subject::OfModel(model) => Input::LookedUp {
                place: Place::Rendezvous(relay),
                model,
                found,
            },
        });
    }
}
