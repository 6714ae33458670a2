//! What the swarm says, in the machine's words.

use super::behaviour::BehaviourEvent;
use super::turn::Purpose;
use super::{Net, ONE_AT_A_TIME, Resolved, node_id};
use futures::future::FutureExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionError, ConnectionId, DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, ping, relay};
use thrum_hive::io::{Input, RelayIndex};
use thrum_hive::links::Change;
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{LinkView, Path, Through};
use thrum_rtc::address::is_webrtc;
use thrum_rtc::browser::{CandidateKind, LinkStats};

impl Net {
    pub(super) fn on_resolved(&mut self, resolved: Resolved) {
        let Resolved {
            relay: index,
            attempt,
            endpoint,
        } = resolved;
        let known = endpoint
            .as_ref()
            .ok()
            .and_then(|endpoint| self.relay_of(&endpoint.peer));
        let Some(slot) = self.relays.get_mut(index.0) else {
            return;
        };
        if !slot.is_attempt(attempt) {
            return;
        }
        if let Ok(endpoint) = &endpoint {
            self.ice.advise(index, endpoint.ice_servers.clone());
            let federated = endpoint.federated.clone();
            self.vouched.told(self.clock.now(), index, federated);
        }
        let failed = match endpoint {
            Err(reason) => reason,
            Ok(_) if known.is_some() => "it is the same relay as another in the list".to_owned(),
            Ok(endpoint) => {
                let options = DialOpts::peer_id(endpoint.peer)
                    .condition(PeerCondition::Always)
                    .addresses(endpoint.addresses)
                    .override_dial_concurrency_factor(ONE_AT_A_TIME)
                    .build();
                slot.dialling(endpoint.peer);
                match self.swarm.dial(options) {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                }
            }
        };
        slot.forget();
        self.ready.push_back(Input::RelayLost {
            relay: index,
            reason: failed,
        });
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum grows; the rest is of no interest to the machine"
    )]
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => {
                let last = num_established == 0;
                self.on_disconnected(peer_id, connection_id, last, cause.as_ref());
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id: Some(peer),
                error,
            } => {
                self.on_dial_failed(peer, connection_id, &error);
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                let reason = reason
                    .err()
                    .map_or_else(String::new, |error| error.to_string());
                self.on_reservation_lost(listener_id, &reason);
            }
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        if let Some(index) = self.relay_of(&peer) {
            if self.connected_relay(index).is_none() {
                self.on_relay_connected(index, peer, endpoint.get_remote_address().clone());
            }
            return;
        }
        // libp2p's protocols dial on their own whom they have something to tell. A relay is no peer,
        // and when it is dialled is the machine's to say.
        if self.relays.iter().any(|slot| slot.is_of(&peer)) {
            self.swarm.close_connection(connection);
            return;
        }
        if self.is_vouched(&peer, endpoint) {
            return;
        }
        let Some(node) = node_id(&peer) else {
            tracing::info!(%peer, "dropped a peer whose key is not Ed25519");
            self.swarm.disconnect_peer_id(peer).ok();
            return;
        };
        let (path, transport) = path_of(endpoint);
        let now = self.clock.now();
        let mut change = self.links.up(now, node, connection, path, transport);
        let ours = self.dials.remove(&connection).is_some();
        if ours {
            self.tab_links.set_servers_for(peer, Vec::new());
        }
        if ours && path == Path::Relayed {
            change = self.links.want_relayed(node).or(change);
        }
        self.tell(node, change);
    }

    fn tell(&mut self, peer: NodeId, change: Option<Change>) {
        let input = change.map(|change| changed(peer, change));
        self.ready.extend(input);
    }

    fn on_relay_connected(&mut self, index: RelayIndex, peer: PeerId, address: Multiaddr) {
        let Ok(address) = address.with_p2p(peer) else {
            return;
        };
        let listener = self
            .swarm
            .listen_on(address.clone().with(Protocol::P2pCircuit));
        if let Some(slot) = self.relays.get_mut(index.0) {
            slot.connected(peer, address, listener.as_ref().ok().copied());
        }
        self.ready.push_back(Input::RelayConnected(index));
        let id = node_id(&peer).map(|id| Input::RelayIdentified { relay: index, id });
        self.ready.extend(id);
        if let Err(error) = listener {
            tracing::warn!(%error, "the relay cannot be asked for a reservation");
        }
    }

    fn on_disconnected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        last: bool,
        cause: Option<&ConnectionError>,
    ) {
        let Some(index) = self.relay_of(&peer) else {
            if let Some(peer) = node_id(&peer) {
                let change = self.links.down(peer, connection);
                self.tell(peer, change);
            }
            return;
        };
        if !last {
            return;
        }
        self.discovery.forget(peer);
        if let Some(slot) = self.relays.get_mut(index.0) {
            slot.forget();
        }
        let reason = cause.map_or_else(
            || "the connection to the relay was closed".to_owned(),
            |cause| format!("the connection to the relay ended: {cause}"),
        );
        self.ready.push_back(Input::RelayLost {
            relay: index,
            reason,
        });
    }

    fn on_dial_failed(&mut self, peer: PeerId, connection: ConnectionId, error: &DialError) {
        let reason = dial_reason(error);
        // A circuit that was to carry signalling only is no dial of the machine's.
        if let Some(node) = self.dials.remove(&connection) {
            self.tab_links.set_servers_for(peer, Vec::new());
            let peer = node;
            self.ready.push_back(Input::DialFailed { peer, reason });
        } else if let Some(index) = self
            .relay_of(&peer)
            .filter(|_| !self.swarm.is_connected(&peer))
        {
            if let Some(slot) = self.relays.get_mut(index.0) {
                slot.forget();
            }
            self.ready.push_back(Input::RelayLost {
                relay: index,
                reason,
            });
        }
    }

    /// Without a reservation nobody reaches us through this relay: begin again from the start.
    fn on_reservation_lost(&mut self, listener: ListenerId, reason: &str) {
        let Some(index) = self
            .relays
            .iter()
            .position(|slot| slot.listener() == Some(listener))
        else {
            return;
        };
        self.hang_up_relay(RelayIndex(index));
        let reason = format!("the relay keeps no place for this node {reason}");
        self.ready.push_back(Input::RelayLost {
            relay: RelayIndex(index),
            reason: reason.trim_end().to_owned(),
        });
    }

    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Relay(relay::client::Event::ReservationReqAccepted {
                relay_peer_id,
                renewal: false,
                ..
            }) => {
                let relay = self.relay_of(&relay_peer_id);
                if let Some(index) = relay.filter(|_| self.ice.is_relay_only()) {
                    self.ask_turn(relay_peer_id, Purpose::All(index));
                }
                self.ready.extend(relay.map(Input::RelayReserved));
            }
            BehaviourEvent::Ping(event) => self.on_ping(event),
            BehaviourEvent::Rendezvous(event) => {
                let own = *self.swarm.local_peer_id();
                let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                if let Some(answer) = self.discovery.on_event(rendezvous, event, own) {
                    self.on_discovered(answer);
                }
            }
            BehaviourEvent::Gossip(event) => self.on_gossip(event),
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Identify(_)
            | BehaviourEvent::Limits(_)
            | BehaviourEvent::Relay(_)
            | BehaviourEvent::Rtc(_)
            | BehaviourEvent::Streams(()) => {}
        }
    }

    /// Asks the browser about a direct connection.
    fn measure(&mut self, peer_id: PeerId, peer: NodeId) {
        let stats = self.tab_links.stats(peer_id);
        let measured = async move {
            let link = view_of(&stats.await?);
            Some(Input::LinkMeasured { peer, link })
        };
        self.measuring.push(measured.boxed_local());
    }

    fn on_ping(&mut self, event: ping::Event) {
        if let Some(peer) = node_id(&event.peer)
            && self
                .links
                .is_needless(self.clock.now(), peer, event.connection)
        {
            self.swarm.close_connection(event.connection);
            return;
        }
        if let Some(index) = self.relay_of(&event.peer)
            && self.ice.is_relay_only()
            && self.turn.of(event.peer, self.clock.now()).is_none()
        {
            self.ask_turn(event.peer, Purpose::All(index));
        }
        match event.result {
            Ok(rtt) => {
                if self.relay_of(&event.peer).is_none()
                    && let Some(peer) = node_id(&event.peer)
                {
                    self.measure(event.peer, peer);
                    let rtt = Millis(u64::try_from(rtt.as_millis()).unwrap_or(u64::MAX));
                    self.ready.push_back(Input::RoundTrip { peer, rtt });
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::info!(peer = %event.peer, %error, "closed a connection that is dead");
                self.swarm.close_connection(event.connection);
            }
        }
    }
}

fn view_of(stats: &LinkStats) -> LinkView {
    let through = match stats.local.max(stats.remote) {
        CandidateKind::Host => Through::Network,
        CandidateKind::PeerReflexive => Through::Unknown,
        CandidateKind::ServerReflexive => Through::Nat,
        CandidateKind::Relay => Through::Turn,
    };
    LinkView {
        through,
        bytes_in: stats.bytes_in,
        bytes_out: stats.bytes_out,
    }
}

fn path_of(endpoint: &ConnectedPoint) -> (Path, &'static str) {
    let address = endpoint.get_remote_address();
    if is_webrtc(address) {
        return (Path::Direct, "webrtc");
    }
    if endpoint.is_relayed() {
        return (Path::Relayed, "circuit");
    }
    let direct = address
        .iter()
        .any(|it| matches!(it, Protocol::WebRTCDirect));
    (Path::Direct, if direct { "webrtc" } else { "websocket" })
}

/// A change in the machine's words.
pub(super) fn changed(peer: NodeId, change: Change) -> Input {
    match change {
        Change::Connected { path, transport } => Input::Connected {
            peer,
            path,
            transport,
        },
        Change::Disconnected => Input::Disconnected { peer },
    }
}

/// Why a dial failed, in one sentence: of several addresses, why the last one did.
pub(super) fn dial_reason(error: &DialError) -> String {
    let DialError::Transport(attempts) = error else {
        return error.to_string();
    };
    let Some((_, TransportError::Other(cause))) = attempts.last() else {
        return error.to_string();
    };
    let mut cause: &dyn std::error::Error = cause;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
