//! Where it is written down who answers with which model: the relays' rendezvous, and the table that
//! they keep together.

use crate::peer::PeerIndex;
use crate::relay::Relay;
use crate::traffic::Kind;
use crate::world::{Happening, World};
use std::collections::BTreeSet;
use thrum_hive::io::{Input, Place};
use thrum_protocol::id::ModelId;
use thrum_protocol::time::Millis;

impl World {
    pub(crate) fn write_down(
        &mut self,
        index: PeerIndex,
        place: Place,
        model: ModelId,
        offered: bool,
    ) {
        self.traffic.add(index, Kind::Relay, 2);
        for number in self.relays_at(index, place) {
            let kept = kept(&mut self.relays[number], place);
            if offered {
                kept.insert((model, index));
            } else {
                kept.remove(&(model, index));
            }
        }
    }

    pub(crate) fn look_up(&mut self, index: PeerIndex, place: Place, model: ModelId, soon: Millis) {
        self.traffic.add(index, Kind::Relay, 2);
        self.peers[index.0].asks_a_relay(self.now);
        let mut offering = BTreeSet::new();
        for number in self.relays_at(index, place) {
            let of_model = (model, PeerIndex(0))..=(model, PeerIndex(usize::MAX));
            let offers = kept(&mut self.relays[number], place).range(of_model);
            offering.extend(offers.map(|&(_, peer)| peer));
        }
        offering.remove(&index);
        let found = offering.into_iter().map(|peer| self.found(peer)).collect();
        let input = Input::LookedUp {
            place,
            model,
            found,
        };
        self.at(soon, Happening::Tell(index, input));
    }

    /// Relays that a peer's word reaches.
    fn relays_at(&self, index: PeerIndex, place: Place) -> Vec<usize> {
        let own = &self.peers[index.0].relays;
        let meant = match place {
            Place::Rendezvous(one) => own.get(one.0..=one.0).unwrap_or_default(),
            Place::Kad => own,
        };
        let reached = |number: &usize| {
            let relay = &self.relays[*number];
            relay.alive && relay.connected.contains(&index)
        };
        let asked: Vec<usize> = meant.iter().copied().filter(reached).collect();
        if !self.federated || asked.is_empty() {
            return asked;
        }
        // What one relay is told, it tells the others that it reaches.
        let side = self.network.site(index).side;
        let answers = |relay: &Relay| relay.alive && relay.side == side;
        let all = self.relays.iter().enumerate();
        all.filter(|(_, relay)| answers(relay))
            .map(|(at, _)| at)
            .collect()
    }
}

fn kept(relay: &mut Relay, place: Place) -> &mut BTreeSet<(ModelId, PeerIndex)> {
    match place {
        Place::Rendezvous(_) => &mut relay.offers,
        Place::Kad => &mut relay.provided,
    }
}
