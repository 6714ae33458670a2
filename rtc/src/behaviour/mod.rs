//! Finds the connection that carries signalling, keeps two dials that cross apart, and closes what
//! a direct connection has made needless.
//!
//! The transport asks for a stream to a peer and gets one; streams that peers open are given to
//! it. Both sides of [`link`] are the only thing they share.

mod handler;
#[cfg(test)]
mod tests;

pub use handler::Handler;

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll};

use futures::StreamExt as _;
use futures::channel::{mpsc, oneshot};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{
    ConnectionClosed, ConnectionEstablished, DialFailure, ExternalAddrConfirmed,
    ExternalAddrExpired,
};
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler,
    Stream, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::address::{is_relayed, is_webrtc};
use crate::error::{ConnectError, Stage};

/// count; dials and ends of dials on their way from the transport.
const MAX_REQUESTS: usize = 64;

/// count; streams of peers on their way to the transport. More are refused.
const MAX_INCOMING: usize = 16;

/// count; streams of one peer that wait for the end of our own dial to it.
const MAX_HELD: usize = 2;

/// Where a stream, or why there is none, is told.
pub type Reply = oneshot::Sender<Result<Stream, ConnectError>>;

/// A stream that a peer opened to make a connection.
#[derive(Debug)]
pub struct Incoming {
    /// Who opened it.
    pub peer: PeerId,
    /// Nothing has been read of it.
    pub stream: Stream,
}

/// What the transport wants and tells.
#[derive(Debug)]
pub enum Request {
    /// A stream to a peer for a dial. The dial gives way when `give_way` comes.
    Open {
        /// To whom.
        peer: PeerId,
        /// Where a connection that carries it is made, if none stands.
        circuit: Option<Multiaddr>,
        /// Where the stream is wanted.
        reply: Reply,
        /// Where the dial listens.
        give_way: oneshot::Sender<Superseded>,
    },
    /// A dial has ended.
    Ended {
        /// To whom it was.
        peer: PeerId,
        /// Whether it led to a connection.
        connected: bool,
    },
    /// An [`Incoming`] stream has led to a connection, or to nothing.
    Answered {
        /// Whose it was.
        peer: PeerId,
        /// Whether it led to a connection.
        connected: bool,
    },
    /// Both sides have ended the signalling to a peer: the connection under it has done its work.
    Parted {
        /// With whom.
        peer: PeerId,
    },
}

/// Told, or dropped, when the peer's own dial has led to something.
pub type Superseded = oneshot::Receiver<()>;

/// What the transport holds of the link.
#[derive(Debug)]
pub struct Link {
    /// What the behaviour is asked and told.
    pub requests: mpsc::Sender<Request>,
    /// Streams of peers that want a connection.
    pub incoming: mpsc::Receiver<Incoming>,
}

/// What has become of a connection to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer is reached directly, and what carried the signalling is being closed.
    Upgraded {
        /// Who.
        peer: PeerId,
        /// The relayed connections that are closed now.
        relayed: Vec<ConnectionId>,
    },
}

/// The part of the crate that a swarm's behaviour includes.
#[derive(Debug)]
pub struct Behaviour {
    local: PeerId,
    requests: mpsc::Receiver<Request>,
    incoming: mpsc::Sender<Incoming>,
    peers: BTreeMap<PeerId, Peer>,
    /// circuits that are being dialled, and who waits for them
    dials: BTreeMap<ConnectionId, (PeerId, Reply)>,
    actions: VecDeque<ToSwarm<Event, Reply>>,
}

/// What is known of a peer.
#[derive(Debug, Default)]
struct Peer {
    relayed: Vec<ConnectionId>,
    direct: Vec<Direct>,
    /// signalling has been ended by both sides, and none has begun since
    parted: bool,
    /// our dials to it that are under way
    dials: usize,
    /// its dials to us that are being answered
    answers: usize,
    give_way: Vec<oneshot::Sender<Superseded>>,
    superseded: Vec<oneshot::Sender<()>>,
    held: Vec<Incoming>,
}

#[derive(Clone, Copy, Debug)]
struct Direct {
    connection: ConnectionId,
    /// who dialled
    dialler: PeerId,
}

impl Peer {
    /// Has dials of ours wait for what the peer's own leads to.
    fn yield_to_peer(&mut self, dials: Vec<oneshot::Sender<Superseded>>) {
        for give_way in dials {
            let (tell, superseded) = oneshot::channel();
            if give_way.send(superseded).is_ok() {
                self.superseded.push(tell);
            }
        }
    }

    fn is_forgotten(&self) -> bool {
        self.relayed.is_empty() && self.direct.is_empty() && self.dials == 0 && self.answers == 0
    }
}

/// A behaviour, and what a transport needs to work with it.
pub fn link(local: PeerId) -> (Behaviour, Link) {
    let (ask, requests) = mpsc::channel(MAX_REQUESTS);
    let (hand, incoming) = mpsc::channel(MAX_INCOMING);
    let behaviour = Behaviour {
        local,
        requests,
        incoming: hand,
        peers: BTreeMap::new(),
        dials: BTreeMap::new(),
        actions: VecDeque::new(),
    };
    let link = Link {
        requests: ask,
        incoming,
    };
    (behaviour, link)
}

impl Behaviour {
    fn on_request(&mut self, request: Request) {
        match request {
            Request::Open {
                peer,
                circuit,
                reply,
                give_way,
            } => {
                let known = self.peers.entry(peer).or_default();
                known.dials += 1;
                known.parted = false;
                if known.answers > 0 {
                    // The peer was first: what it makes is as good.
                    return known.yield_to_peer(vec![give_way]);
                }
                known.give_way.push(give_way);
                self.open(peer, circuit, reply);
            }
            Request::Ended { peer, connected } => self.on_dial_ended(peer, connected),
            Request::Answered { peer, connected } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.answers = known.answers.saturating_sub(1);
                    if !connected && known.answers == 0 {
                        known.superseded.clear();
                    }
                    self.forget(peer);
                }
            }
            Request::Parted { peer } => {
                if let Some(known) = self.peers.get_mut(&peer) {
                    known.parted = true;
                    self.close_needless(peer);
                }
            }
        }
    }

    /// A stream over a connection that stands, or over the circuit that the address says.
    fn open(&mut self, peer: PeerId, circuit: Option<Multiaddr>, reply: Reply) {
        let carrier = self.peers.get(&peer).and_then(|it| it.relayed.last());
        if let Some(carrier) = carrier {
            let handler = NotifyHandler::One(*carrier);
            return self.actions.push_back(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler,
                event: reply,
            });
        }
        let Some(circuit) = circuit else {
            let reason = "no relayed connection to the peer stands, and the address names no relay";
            reply
                .send(Err(ConnectError::new(Stage::Carrier, reason)))
                .ok();
            return;
        };
        // The dial that asks for it is itself a dial to this peer.
        let opts = DialOpts::peer_id(peer)
            .addresses(vec![circuit])
            .condition(PeerCondition::Always)
            .build();
        self.dials.insert(opts.connection_id(), (peer, reply));
        self.actions.push_back(ToSwarm::Dial { opts });
    }

    fn on_dial_ended(&mut self, peer: PeerId, connected: bool) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.dials = known.dials.saturating_sub(1);
        if known.dials > 0 {
            return;
        }
        known.give_way.clear();
        let held = std::mem::take(&mut known.held);
        self.forget(peer);
        if !connected {
            // Our dial came to nothing: the peer's may do better.
            for incoming in held {
                self.hand_on(incoming);
            }
        }
    }

    /// A peer wants a connection, perhaps while we make one to it: of two dials that cross, the
    /// one of the smaller peer id goes on.
    fn on_stream(&mut self, incoming: Incoming) {
        let known = self.peers.entry(incoming.peer).or_default();
        if known.dials == 0 {
            return self.hand_on(incoming);
        }
        if self.local < incoming.peer {
            // One that is not held is dropped, which resets it.
            if known.held.len() < MAX_HELD {
                known.held.push(incoming);
            }
            return;
        }
        let dials = std::mem::take(&mut known.give_way);
        known.yield_to_peer(dials);
        self.hand_on(incoming);
    }

    fn hand_on(&mut self, incoming: Incoming) {
        let peer = incoming.peer;
        if self.incoming.try_send(incoming).is_ok() {
            self.peers.entry(peer).or_default().answers += 1;
        } else {
            tracing::info!(%peer, "refused a direct connection: too many are being made");
        }
    }

    /// Closes what carried the signalling once nobody needs it any more.
    fn close_needless(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get(&peer) else {
            return;
        };
        if !known.parted || known.direct.is_empty() || known.relayed.is_empty() {
            return;
        }
        let relayed = known.relayed.clone();
        for connection in &relayed {
            self.close(peer, *connection);
        }
        let event = Event::Upgraded { peer, relayed };
        self.actions.push_back(ToSwarm::GenerateEvent(event));
    }

    fn close(&mut self, peer_id: PeerId, connection: ConnectionId) {
        let connection = CloseConnection::One(connection);
        self.actions.push_back(ToSwarm::CloseConnection {
            peer_id,
            connection,
        });
    }

    fn on_established(&mut self, established: ConnectionEstablished<'_>) {
        let ConnectionEstablished {
            peer_id: peer,
            connection_id: connection,
            endpoint,
            ..
        } = established;
        let address = endpoint.get_remote_address();
        let known = self.peers.entry(peer).or_default();
        if is_webrtc(address) {
            let dialler = if endpoint.is_dialer() {
                self.local
            } else {
                peer
            };
            known.direct.push(Direct {
                connection,
                dialler,
            });
            for tell in std::mem::take(&mut known.superseded) {
                tell.send(()).ok();
            }
            self.close_duplicates(peer);
            self.close_needless(peer);
        } else if endpoint.is_relayed() || is_relayed(address) {
            known.relayed.push(connection);
        } else {
            self.forget(peer);
        }
        if let Some((_, reply)) = self.dials.remove(&connection) {
            let handler = NotifyHandler::One(connection);
            self.actions.push_back(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler,
                event: reply,
            });
        }
    }

    /// Both sides keep the same one of several: that which the smaller peer id dialled.
    fn close_duplicates(&mut self, peer: PeerId) {
        let Some(known) = self.peers.get(&peer) else {
            return;
        };
        let smaller = self.local.min(peer);
        let (of_smaller, of_larger): (Vec<Direct>, Vec<Direct>) =
            known.direct.iter().partition(|it| it.dialler == smaller);
        if of_smaller.is_empty() {
            return;
        }
        for Direct { connection, .. } in of_larger {
            self.close(peer, connection);
        }
    }

    fn on_closed(&mut self, closed: ConnectionClosed<'_>) {
        if let Some(known) = self.peers.get_mut(&closed.peer_id) {
            known.relayed.retain(|it| *it != closed.connection_id);
            known
                .direct
                .retain(|it| it.connection != closed.connection_id);
            self.forget(closed.peer_id);
        }
    }

    /// Who is reached through a circuit is reached from browser to browser through it.
    fn browser_form(&self, circuit: &Multiaddr) -> Option<Multiaddr> {
        let mut address = circuit.clone();
        if matches!(address.iter().last(), Some(Protocol::P2p(peer)) if peer == self.local) {
            address.pop();
        }
        let is_circuit = matches!(address.iter().last(), Some(Protocol::P2pCircuit));
        let webrtc = address.with(Protocol::WebRTC);
        is_circuit.then(|| webrtc.with(Protocol::P2p(self.local)))
    }

    fn forget(&mut self, peer: PeerId) {
        if self.peers.get(&peer).is_some_and(Peer::is_forgotten) {
            self.peers.remove(&peer);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Handler, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // libp2p's enum grows; the rest says nothing about connections.
        if let FromSwarm::ConnectionEstablished(established) = event {
            self.on_established(established);
        } else if let FromSwarm::ConnectionClosed(closed) = event {
            self.on_closed(closed);
        } else if let FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr }) = event {
            let address = self.browser_form(addr);
            self.actions
                .extend(address.map(ToSwarm::ExternalAddrConfirmed));
        } else if let FromSwarm::ExternalAddrExpired(ExternalAddrExpired { addr }) = event {
            let address = self.browser_form(addr);
            self.actions
                .extend(address.map(ToSwarm::ExternalAddrExpired));
        } else if let FromSwarm::DialFailure(DialFailure {
            connection_id,
            error,
            ..
        }) = event
            && let Some((_, reply)) = self.dials.remove(&connection_id)
        {
            reply
                .send(Err(ConnectError::new(Stage::Carrier, error)))
                .ok();
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, stream: Stream) {
        self.on_stream(Incoming { peer, stream });
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<Event, Reply>> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            match self.requests.poll_next_unpin(context) {
                Poll::Ready(Some(request)) => self.on_request(request),
                // Without the transport nothing is asked any more.
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
