//! How peers come to their relays and to each other: who can carry the signalling, which NATs meet,
//! what TURN and circuits have left, and what it takes until a dial has failed.

use crate::network::Carrier;
use crate::peer::PeerIndex;
use crate::traffic::{Kind, SIGNALLING};
use crate::world::{Happening, LONGEST_SILENCE, World};
use thrum_hive::io::{Input, RelayIndex, Way};
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::Path;

/// ms; from the first pair of candidates to giving up.
const ICE_TIMEOUT: Millis = Millis(10_000);
/// ms; until a relay gives up on a peer that is gone without a word.
const CIRCUIT_TIMEOUT: Millis = Millis(10_000);

impl World {
    /// A machine wants a connection.
    pub(crate) fn begin_dial(&mut self, from: PeerIndex, peer: NodeId, way: Way) {
        let known = self.by_id.get(&peer).copied();
        let exact = known.is_some_and(|to| self.meeting(from, to).is_some());
        let trips = match way {
            Way::Direct => 8,
            Way::Turn => 10,
            Way::Relayed => 4,
        };
        let trips = if exact { trips } else { 1 };
        let mut at = self.now;
        for _ in 0..trips {
            at = at + self.network.delay(&mut self.rng);
        }
        match known {
            Some(to) => self.at(at, Happening::Dialled { from, to, way }),
            None => {
                self.traffic.add(from, Kind::Signal, 2);
                self.fail_dial(from, peer, at, "nobody of that name is at the relay");
            }
        }
    }

    fn fail_dial(&mut self, from: PeerIndex, peer: NodeId, at: Millis, reason: &str) {
        let reason = reason.to_owned();
        self.at(
            at,
            Happening::Tell(from, Input::DialFailed { peer, reason }),
        );
    }

    /// Whether their NATs let them meet; `None` where a coin decides.
    fn meeting(&self, a: PeerIndex, b: PeerIndex) -> Option<bool> {
        self.network.site(a).nat.meets(self.network.site(b).nat)
    }

    pub(crate) fn dialled(&mut self, from: PeerIndex, to: PeerIndex, way: Way) {
        let is_there = match way {
            Way::Direct | Way::Turn => self.network.linked_directly(from, to),
            Way::Relayed => self.network.linked(from, to),
        };
        if !self.peers[from.0].alive || is_there {
            return;
        }
        let id = self.peers[to.0].id;
        let Some(relay) = self.carrier_for(from, to) else {
            self.traffic.add(from, Kind::Signal, 2);
            self.fail_dial(from, id, self.now, "no relay leads there");
            return;
        };
        if !self.peers[to.0].alive || !self.network.reachable(from, to) {
            self.traffic.add(from, Kind::Signal, 2);
            self.fail_dial(from, id, self.now + CIRCUIT_TIMEOUT, "it does not answer");
            return;
        }
        let (each, wait) = match way {
            Way::Direct | Way::Turn => (SIGNALLING, ICE_TIMEOUT),
            Way::Relayed => (SIGNALLING / 2, Millis(0)),
        };
        self.traffic.add(from, Kind::Signal, each);
        self.traffic.add(to, Kind::Signal, each);
        match self.way_through(from, to, way, relay) {
            Some(carrier) => self.connected(from, to, carrier),
            None => {
                let exact = self.meeting(from, to).is_some();
                let wait = if exact { wait } else { Millis(0) };
                self.fail_dial(from, id, self.now + wait, "not reachable");
            }
        }
    }

    /// A relay at which the one is found and that the other may use.
    fn carrier_for(&self, from: PeerIndex, to: PeerIndex) -> Option<usize> {
        let side = self.network.site(from).side;
        let sound = |relay: usize| self.relays[relay].alive && self.relays[relay].side == side;
        let at = |relay: usize, peer| sound(relay) && self.relays[relay].reserved.contains(&peer);
        let anywhere = self.peers[from.0].relays.iter().any(|&it| at(it, from));
        let mut theirs = self.peers[to.0].relays.iter().copied();
        theirs.find(|&it| at(it, to) && (at(it, from) || (self.federated && anywhere)))
    }

    fn way_through(
        &mut self,
        from: PeerIndex,
        to: PeerIndex,
        way: Way,
        relay: usize,
    ) -> Option<Carrier> {
        let meets = match self.meeting(from, to) {
            Some(meets) => meets,
            None => way == Way::Relayed || self.draw(2) == 1,
        };
        match way {
            Way::Direct => meets.then_some(Carrier::Direct),
            Way::Turn if meets => Some(Carrier::Direct),
            Way::Turn => {
                let nats = [from, to].map(|peer| self.network.site(peer).nat);
                let udp = nats.iter().all(|nat| nat.reaches_turn());
                let exact = self.meeting(from, to).is_some();
                let turn = exact && udp && self.relays[relay].allocate(from);
                turn.then_some(Carrier::Turn(relay, from))
            }
            Way::Relayed => {
                let circuit = self.relays[relay].open_circuit(from, to);
                circuit.then_some(Carrier::Circuit(relay))
            }
        }
    }

    fn connected(&mut self, from: PeerIndex, to: PeerIndex, carrier: Carrier) {
        let (number, before) = self.network.link(from, to, carrier);
        if let Some(before) = before {
            self.release(from, to, before);
        }
        let (path, transport) = match carrier {
            Carrier::Direct | Carrier::Turn(..) => (Path::Direct, "webrtc"),
            Carrier::Circuit(_) => (Path::Relayed, "circuit"),
        };
        if path == Path::Relayed {
            let end = Happening::CircuitEnds(from, to, number);
            self.at(self.now + crate::relay::MAX_CIRCUIT_TIME, end);
        }
        if path == Path::Direct {
            self.gossip_linked(from, to);
        }
        for (here, there) in [(from, to), (to, from)] {
            let peer = self.peers[there.0].id;
            let transport = transport.to_owned();
            let input = Input::Connected {
                peer,
                path,
                transport,
            };
            self.tell(here, input);
            let rtt = self.network.delay_between(here, there, &mut self.rng)
                + self.network.delay_between(here, there, &mut self.rng);
            let ping = Input::RoundTrip { peer, rtt };
            self.at(self.now + rtt, Happening::Tell(here, ping));
        }
    }

    /// What carried a connection is free again.
    pub(crate) fn release(&mut self, a: PeerIndex, b: PeerIndex, carrier: Carrier) {
        match carrier {
            Carrier::Direct => {}
            Carrier::Turn(relay, by) => self.relays[relay].free(by),
            Carrier::Circuit(relay) => self.relays[relay].close_circuit(a, b),
        }
    }

    pub(crate) fn relay_dialled(&mut self, peer: PeerIndex, index: RelayIndex) {
        if !self.peers[peer.0].alive {
            return;
        }
        let side = self.network.site(peer).side;
        let place = self.peers[peer.0].relays[index.0];
        let relay = &mut self.relays[place];
        self.traffic.add(peer, Kind::Relay, 4);
        if !relay.alive || relay.side != side || !relay.reserve(peer) {
            let reason = "connection refused".to_owned();
            let lost = Input::RelayLost {
                relay: index,
                reason,
            };
            self.tell(peer, lost);
            return;
        }
        let id = relay.id;
        self.tell(peer, Input::RelayConnected(index));
        self.tell(peer, Input::RelayIdentified { relay: index, id });
        let soon = self.now + self.network.delay(&mut self.rng);
        self.at(soon, Happening::Tell(peer, Input::RelayReserved(index)));
    }

    pub(crate) fn relay_dies(&mut self, place: usize) {
        for peer in self.relays[place].die() {
            self.lose_relay(peer, place);
        }
        for (a, b) in self.network.carried_by(place) {
            self.unlink(a, b, false);
        }
    }

    fn lose_relay(&mut self, peer: PeerIndex, place: usize) {
        let known = self.peers[peer.0].relays.iter();
        if let Some(index) = known.clone().position(|&it| it == place) {
            let relay = RelayIndex(index);
            let reason = "connection reset".to_owned();
            self.tell(peer, Input::RelayLost { relay, reason });
        }
    }

    /// The network falls into parts: whoever cannot reach each other any more is cut off.
    pub fn part(&mut self, side_of: impl Fn(PeerIndex) -> u8, relay_side: impl Fn(usize) -> u8) {
        for peer in (0..self.peers.len()).map(PeerIndex) {
            self.network.set_side(peer, side_of(peer));
        }
        for place in 0..self.relays.len() {
            self.relays[place].side = relay_side(place);
            let connected: Vec<PeerIndex> = self.relays[place].connected.iter().copied().collect();
            for peer in connected {
                if self.network.site(peer).side != self.relays[place].side {
                    self.relays[place].drop_peer(peer);
                    let at = self.now + Millis(self.draw(LONGEST_SILENCE));
                    self.at(at, Happening::LoseRelay(peer, place));
                }
            }
        }
        for (a, b) in self.network.torn() {
            self.unlink(a, b, true);
        }
    }

    /// A peer notices that a relay is gone, unless it has come back to it.
    pub(crate) fn notices_lost_relay(&mut self, peer: PeerIndex, place: usize) {
        if self.peers[peer.0].alive && !self.relays[place].connected.contains(&peer) {
            self.lose_relay(peer, place);
        }
    }
}
