//! The swarm: carries out what the machine wants of the network and says what happened there.
//!
//! A relay and a peer are told apart by the peer id that the relay announced. Peers are dialled
//! through relays that this node is connected to, or that these vouch for, never at addresses that
//! a peer made up: a tab must not knock at hosts of a stranger's choice.

mod addresses;
mod behaviour;
mod discovery;
mod events;
mod fenced;
mod frames;
mod gossip;
pub(crate) mod ice;
mod places;
mod relay_slot;
mod relays;
mod streams;
mod table;
mod turn;
mod vouched;

use crate::clock::Clock;
use crate::options::NodeOptions;
use behaviour::Behaviour;
use discovery::{Discovery, Subject};
use futures::future::{FutureExt as _, LocalBoxFuture};
use futures::stream::{FusedStream, FuturesUnordered, Stream, StreamExt as _};
use gossip::Unjudged;
use ice::Ice;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm};
use libp2p_stream::IncomingStreams;
use relay_slot::RelaySlot;
use relays::Endpoint;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU8;
use std::pin::Pin;
use std::task::{Context, Poll};
use streams::Streams;
use table::Questions;
use thrum_hive::io::{Input, RelayIndex, StreamId, StreamKind, Way};
use thrum_hive::links::Links;
use thrum_protocol::id::NodeId;
use thrum_protocol::{ADVERT_STREAM, HINT_STREAM, TASK_STREAM};
use thrum_rtc::browser::Control;
use turn::{Kept, Purpose, Told};
use vouched::Vouched;

/// count; one address after the other, the best first.
const ONE_AT_A_TIME: NonZeroU8 = NonZeroU8::MIN;

/// What the swarm does for the machine. As a stream it gives what the machine must be told.
pub(crate) struct Net {
    swarm: Swarm<Behaviour>,
    relays: Vec<RelaySlot>,
    resolving: FuturesUnordered<LocalBoxFuture<'static, Resolved>>,
    vouched: Vouched,
    vouching: FuturesUnordered<LocalBoxFuture<'static, vouched::Told>>,
    discovery: Discovery,
    questions: Questions,
    unjudged: Unjudged,
    streams: Streams,
    accepting: [(StreamKind, IncomingStreams); 3],
    links: Links<ConnectionId>,
    tab_links: Control,
    measuring: FuturesUnordered<LocalBoxFuture<'static, Option<Input>>>,
    /// dials of peers that are under way
    dials: BTreeMap<ConnectionId, NodeId>,
    asking_turn: FuturesUnordered<LocalBoxFuture<'static, Told>>,
    turn: Kept,
    ice: Ice,
    clock: Clock,
    /// what is known before the swarm is asked
    ready: VecDeque<Input>,
}

/// What became of the question for a relay's addresses.
struct Resolved {
    relay: RelayIndex,
    /// which question
    attempt: u64,
    endpoint: Result<Endpoint, String>,
}

impl Net {
    /// A swarm of the peer with this secret key; nothing is connected yet.
    pub(crate) fn new(
        mut secret_key: [u8; 32],
        agent: String,
        options: &NodeOptions,
        clock: Clock,
    ) -> Self {
        let keypair = Keypair::ed25519_from_bytes(&mut secret_key)
            .expect("any 32 bytes are an Ed25519 secret key");
        let (swarm, tab_links) = behaviour::swarm(&keypair, agent);
        let mut control = swarm.behaviour().streams.new_control();
        let accepting = [StreamKind::Advert, StreamKind::Hint, StreamKind::Task].map(|kind| {
            let incoming = control
                .accept(protocol(kind))
                .expect("each protocol is accepted once");
            (kind, incoming)
        });
        Self {
            swarm,
            relays: options.relays.iter().cloned().map(RelaySlot::new).collect(),
            resolving: FuturesUnordered::new(),
            vouched: Vouched::default(),
            vouching: FuturesUnordered::new(),
            discovery: Discovery::default(),
            questions: Questions::default(),
            unjudged: Unjudged::default(),
            streams: Streams::new(),
            accepting,
            links: Links::default(),
            tab_links: tab_links.clone(),
            measuring: FuturesUnordered::new(),
            dials: BTreeMap::new(),
            asking_turn: FuturesUnordered::new(),
            turn: Kept::default(),
            ice: Ice::new(tab_links, options.ice_servers.clone(), options.relay_only),
            clock,
            ready: VecDeque::new(),
        }
    }

    /// Connects to a relay and asks it for a reservation.
    pub(crate) fn dial_relay(&mut self, index: RelayIndex) {
        let Some(slot) = self.relays.get_mut(index.0) else {
            return;
        };
        let Some(attempt) = slot.begin() else {
            return;
        };
        let text = slot.text.clone();
        self.resolving.push(
            async move {
                let endpoint = relays::resolve(&text).await;
                Resolved {
                    relay: index,
                    attempt,
                    endpoint,
                }
            }
            .boxed_local(),
        );
    }

    /// Drops the connection to a relay.
    pub(crate) fn hang_up_relay(&mut self, index: RelayIndex) {
        let Some(slot) = self.relays.get_mut(index.0) else {
            return;
        };
        if let Some(peer) = slot.forget() {
            // Not connected is as good.
            self.swarm.disconnect_peer_id(peer).ok();
        }
    }

    /// Registers at a relay's rendezvous.
    pub(crate) fn register(&mut self, index: RelayIndex) {
        if let Some(peer) = self.connected_relay(index) {
            let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
            discovery::register(rendezvous, peer, Subject::Everybody);
        }
    }

    /// Asks a relay's rendezvous who is there.
    pub(crate) fn discover(&mut self, index: RelayIndex) {
        if let Some(peer) = self.connected_relay(index) {
            let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
            self.discovery.ask(rendezvous, peer, Subject::Everybody);
        }
    }

    /// Connects to a peer through those of its relays that are ours too: these carry the signalling
    /// only, or everything.
    pub(crate) fn dial(&mut self, peer: NodeId, addresses: &[String], way: Way) {
        match way {
            Way::Turn => self.dial_by_turn(peer, addresses),
            Way::Direct | Way::Relayed => self.dial_now(peer, addresses, way),
        }
    }

    /// Asks a relay for credentials first, unless there are some.
    fn dial_by_turn(&mut self, peer: NodeId, addresses: &[String]) {
        let relays = self.relays.iter().filter_map(RelaySlot::connected_peer);
        let relays: Vec<PeerId> = relays.collect();
        let now = self.clock.now();
        let kept = relays.iter().find_map(|it| self.turn.of(*it, now));
        if let Some(server) = kept {
            self.tab_links.set_servers_for(peer_id(peer), vec![server]);
            return self.dial_now(peer, addresses, Way::Turn);
        }
        let Some(relay) = relays.first() else {
            let reason = "no relay is connected that could offer TURN".to_owned();
            self.ready.push_back(Input::DialFailed { peer, reason });
            return;
        };
        let addresses = addresses.to_vec();
        self.ask_turn(*relay, Purpose::Dial { peer, addresses });
    }

    fn ask_turn(&mut self, relay: PeerId, purpose: Purpose) {
        let control = self.swarm.behaviour().streams.new_control();
        let asking = turn::ask(control, relay, purpose);
        self.asking_turn.push(asking.boxed_local());
    }

    fn on_turn(&mut self, told: Told) {
        let now = self.clock.now();
        let server = told
            .credentials
            .map(|credentials| self.turn.keep(told.relay, credentials, now));
        match (told.purpose, server) {
            (Purpose::Dial { peer, addresses }, Ok(server)) => {
                self.tab_links.set_servers_for(peer_id(peer), vec![server]);
                self.dial_now(peer, &addresses, Way::Turn);
            }
            (Purpose::Dial { peer, .. }, Err(reason)) => {
                self.ready.push_back(Input::DialFailed { peer, reason });
            }
            (Purpose::All(relay), Ok(server)) => self.ice.use_turn(relay, server),
            (Purpose::All(_), Err(reason)) => tracing::warn!(reason, "no TURN for this page"),
        }
    }

    fn dial_now(&mut self, peer: NodeId, addresses: &[String], way: Way) {
        let peer_id = peer_id(peer);
        let circuits = self.circuits(peer_id, addresses, way);
        if circuits.is_empty() {
            let reason = "it has no address at a relay that this node is connected to".to_owned();
            self.ready.push_back(Input::DialFailed { peer, reason });
            return;
        }
        // A relayed connection may stand already, as may one that the peer makes just now.
        let options = DialOpts::peer_id(peer_id)
            .condition(PeerCondition::Always)
            .addresses(circuits)
            .override_dial_concurrency_factor(ONE_AT_A_TIME)
            .build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, peer);
            }
            Err(error) => {
                let reason = events::dial_reason(&error);
                self.ready.push_back(Input::DialFailed { peer, reason });
            }
        }
    }

    /// Drops all connections to a peer.
    pub(crate) fn disconnect(&mut self, peer: NodeId) {
        // Not connected is as good.
        self.swarm.disconnect_peer_id(peer_id(peer)).ok();
    }

    /// Opens a stream to a connected peer.
    pub(crate) fn open(&mut self, stream: StreamId, peer: NodeId, kind: StreamKind) {
        let peer = peer_id(peer);
        if !self.swarm.is_connected(&peer) {
            let reason = "the peer is not connected".to_owned();
            self.ready.push_back(Input::StreamClosed { stream, reason });
            return;
        }
        let control = self.swarm.behaviour().streams.new_control();
        self.streams.open(stream, peer, protocol(kind), control);
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, stream: StreamId, frame: Vec<u8>) {
        self.ready.extend(self.streams.send(stream, frame));
    }

    /// Ends a stream when all its frames are sent.
    pub(crate) fn close(&mut self, stream: StreamId) {
        self.streams.close(stream);
    }

    /// Takes leave of relays and peers: the page goes away or the node is closed.
    pub(crate) fn leave(&mut self) {
        for index in 0..self.relays.len() {
            if let Some(peer) = self.connected_relay(RelayIndex(index)) {
                let rendezvous = &mut self.swarm.behaviour_mut().rendezvous;
                self.discovery.leave(rendezvous, peer);
            }
        }
        self.streams.cut_all();
        let connected: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            self.swarm.disconnect_peer_id(peer).ok();
        }
    }

    /// Whether nobody is connected.
    pub(crate) fn is_alone(&self) -> bool {
        self.swarm.connected_peers().next().is_none()
    }

    fn connected_relay(&self, index: RelayIndex) -> Option<PeerId> {
        self.relays.get(index.0)?.connected_peer()
    }

    fn relay_of(&self, peer: &PeerId) -> Option<RelayIndex> {
        self.relays
            .iter()
            .position(|slot| slot.peer() == Some(*peer))
            .map(RelayIndex)
    }

    /// Ways to `peer` through the relays that its `addresses` name: first those that are ours, then
    /// those that ours vouch for, each by the address that we know ourselves.
    fn circuits(&self, peer: PeerId, addresses: &[String], way: Way) -> Vec<Multiaddr> {
        let named: Vec<PeerId> = addresses
            .iter()
            .filter_map(|text| discovery::relay_in(&text.parse().ok()?))
            .collect();
        let ours = self.relays.iter().filter_map(RelaySlot::connected_address);
        let ours = ours.filter(|(relay, _)| named.contains(relay));
        ours.map(|(_, address)| address.clone())
            .chain(self.ways_to_vouched(&named))
            .map(|address| {
                let circuit = address.with(Protocol::P2pCircuit);
                let carrier = match way {
                    Way::Direct | Way::Turn => circuit.with(Protocol::WebRTC),
                    Way::Relayed => circuit,
                };
                carrier.with(Protocol::P2p(peer))
            })
            .collect()
    }
}

impl Stream for Net {
    type Item = Input;

    /// Streams before the swarm, so that what arrived before a connection ended is told first.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Input>> {
        let this = self.get_mut();
        loop {
            if let Some(input) = this.ready.pop_front() {
                return Poll::Ready(Some(input));
            }
            if let Poll::Ready(input) = this.streams.poll(context) {
                return Poll::Ready(Some(input));
            }
            if let Poll::Ready(Some(resolved)) = this.resolving.poll_next_unpin(context) {
                this.on_resolved(resolved);
                continue;
            }
            if let Poll::Ready(Some(told)) = this.vouching.poll_next_unpin(context) {
                this.on_vouched(told);
                continue;
            }
            if let Poll::Ready(Some(told)) = this.asking_turn.poll_next_unpin(context) {
                this.on_turn(told);
                continue;
            }
            if let Poll::Ready(Some(measured)) = this.measuring.poll_next_unpin(context) {
                this.ready.extend(measured);
                continue;
            }
            if let Some(input) = this.poll_accepting(context) {
                return Poll::Ready(Some(input));
            }
            match this.swarm.poll_next_unpin(context) {
                Poll::Ready(Some(event)) => this.on_swarm_event(event),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl FusedStream for Net {
    /// A swarm goes on for ever.
    fn is_terminated(&self) -> bool {
        false
    }
}

impl Net {
    fn poll_accepting(&mut self, context: &mut Context<'_>) -> Option<Input> {
        for (kind, incoming) in &mut self.accepting {
            while let Poll::Ready(Some((peer, stream))) = incoming.poll_next_unpin(context) {
                let Some(peer) = node_id(&peer) else {
                    continue;
                };
                if let Some(stream) = self.streams.accept(stream) {
                    let kind = *kind;
                    // Who opens a stream on a relayed connection means to use it.
                    if let Some(change) = self.links.want_relayed(peer) {
                        self.ready
                            .push_back(Input::StreamAccepted { stream, peer, kind });
                        return Some(events::changed(peer, change));
                    }
                    return Some(Input::StreamAccepted { stream, peer, kind });
                }
                tracing::warn!(peer = %peer.fmt_short(), "refused a stream: too many are open");
            }
        }
        None
    }
}

fn protocol(kind: StreamKind) -> StreamProtocol {
    StreamProtocol::new(match kind {
        StreamKind::Advert => ADVERT_STREAM,
        StreamKind::Hint => HINT_STREAM,
        StreamKind::Task => TASK_STREAM,
    })
}

fn peer_id(node: NodeId) -> PeerId {
    PeerId::from_bytes(&node.to_peer_id_bytes()).expect("a node id is an Ed25519 peer id")
}

fn node_id(peer: &PeerId) -> Option<NodeId> {
    NodeId::from_peer_id_bytes(&peer.to_bytes()).ok()
}
