//! Behaviours in swarms over memory, with a real relay between them; and what they do with
//! connections that only browsers make.

#![cfg(not(target_arch = "wasm32"))]
#![expect(
    clippy::disallowed_methods,
    reason = "not in a page: nothing else runs on this thread"
)]

use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p::core::transport::{MemoryTransport, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{ConnectedPoint, Endpoint};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, ExternalAddrConfirmed};
use libp2p::swarm::{
    CloseConnection, ConnectionId, FromSwarm, NetworkBehaviour, Swarm, SwarmEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Transport as _, noise, relay, yamux};

use super::{Behaviour, Event, Incoming, Link, Request, Superseded, link};
use crate::address::bare;
use crate::error::{ConnectError, Stage};

#[derive(NetworkBehaviour)]
struct Tab {
    relay: relay::client::Behaviour,
    rtc: Behaviour,
}

struct Node {
    swarm: Swarm<Tab>,
    link: Link,
}

fn config() -> libp2p::swarm::Config {
    libp2p::swarm::Config::without_executor().with_idle_connection_timeout(Duration::from_secs(60))
}

fn relay_server(port: u64) -> (Swarm<relay::Behaviour>, Multiaddr) {
    let keypair = Keypair::generate_ed25519();
    let peer = PeerId::from(keypair.public());
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&keypair).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = relay::Behaviour::new(peer, relay::Config::default());
    let mut swarm = Swarm::new(transport, behaviour, peer, config());
    let address = Multiaddr::empty().with(Protocol::Memory(port));
    swarm.listen_on(address.clone()).unwrap();
    swarm.add_external_address(address.clone());
    (swarm, address.with(Protocol::P2p(peer)))
}

fn node(keypair: &Keypair) -> Node {
    let peer = PeerId::from(keypair.public());
    let (circuits, relay) = relay::client::new(peer);
    let transport = circuits
        .or_transport(MemoryTransport::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(keypair).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let (rtc, link) = link(peer);
    let swarm = Swarm::new(transport, Tab { relay, rtc }, peer, config());
    Node { swarm, link }
}

/// Two nodes, `a` with the smaller peer id, that have places at a relay; and the relay.
struct World {
    relay: Swarm<relay::Behaviour>,
    a: Node,
    b: Node,
    circuit: Multiaddr,
}

impl World {
    async fn new(port: u64) -> Self {
        let (relay, address) = relay_server(port);
        let mut keys = [(); 2].map(|()| Keypair::generate_ed25519());
        keys.sort_by_key(|key| PeerId::from(key.public()));
        let [a, b] = keys.each_ref().map(node);
        let circuit = address.with(Protocol::P2pCircuit);
        let mut world = Self {
            relay,
            a,
            b,
            circuit,
        };
        for at in [0, 1] {
            let circuit = world.circuit.clone();
            let node = if at == 0 { &mut world.a } else { &mut world.b };
            node.swarm.listen_on(circuit).unwrap();
            world
                .until(|_, at_, event| at_ == at && is_reserved(event))
                .await;
        }
        world
    }

    /// Lets the world go on until an event is the one.
    async fn until(
        &mut self,
        mut done: impl FnMut(&mut Self, usize, &SwarmEvent<TabEvent>) -> bool,
    ) {
        loop {
            let (at, event) = self.next().await;
            if done(self, at, &event) {
                return;
            }
        }
    }

    async fn next(&mut self) -> (usize, SwarmEvent<TabEvent>) {
        loop {
            futures::select! {
                _ = self.relay.select_next_some() => {}
                event = self.a.swarm.select_next_some() => return (0, event),
                event = self.b.swarm.select_next_some() => return (1, event),
            }
        }
    }

    /// Lets the world go on until a future has its result.
    async fn wait<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = Box::pin(future);
        loop {
            let next = Box::pin(self.next());
            match select(future, next).await {
                Either::Left((result, _)) => return result,
                Either::Right((_, rest)) => future = rest,
            }
        }
    }

    fn circuit_to(&self, peer: PeerId) -> Multiaddr {
        self.circuit.clone().with(Protocol::P2p(peer))
    }
}

fn is_reserved(event: &SwarmEvent<TabEvent>) -> bool {
    matches!(
        event,
        SwarmEvent::Behaviour(TabEvent::Relay(
            relay::client::Event::ReservationReqAccepted { .. }
        ))
    )
}

type Opened = Result<libp2p::swarm::Stream, ConnectError>;

fn open(
    node: &mut Node,
    peer: PeerId,
    circuit: Option<Multiaddr>,
) -> (oneshot::Receiver<Opened>, oneshot::Receiver<Superseded>) {
    let (reply, opened) = oneshot::channel();
    let (give_way, gives_way) = oneshot::channel();
    let request = Request::Open {
        peer,
        circuit,
        reply,
        give_way,
    };
    node.link.requests.try_send(request).unwrap();
    (opened, gives_way)
}

#[test]
fn a_stream_goes_through_the_relay_and_the_next_over_the_same_connection() {
    futures::executor::block_on(async {
        let mut world = World::new(101).await;
        let (a, b) = (
            *world.a.swarm.local_peer_id(),
            *world.b.swarm.local_peer_id(),
        );
        for circuit in [Some(world.circuit_to(b)), None] {
            let (opened, _give_way) = open(&mut world.a, b, circuit);
            let mut stream = world.wait(opened).await.unwrap().unwrap();
            let (mut link, unused) = link_of(&mut world.b);
            let arriving = async { link.incoming.next().await.unwrap() };
            // A stream is agreed on when both have said so; the first words say it.
            let both = futures::future::join(arriving, stream.write_all(b"offer"));
            let (incoming, written) = world.wait(both).await;
            written.unwrap();
            let Incoming { peer, mut stream } = incoming;
            assert_eq!(peer, a);
            let mut heard = [0; 5];
            world.wait(stream.read_exact(&mut heard)).await.unwrap();
            assert_eq!(&heard, b"offer");
            std::mem::swap(&mut world.b.link, &mut link);
            drop(unused);
            let ended = Request::Ended {
                peer: b,
                connected: true,
            };
            world.a.link.requests.try_send(ended).unwrap();
        }
        assert_eq!(
            world
                .a
                .swarm
                .network_info()
                .connection_counters()
                .num_established(),
            2
        );
    });
}

/// Takes a node's link for a while, so that the world can be borrowed beside it.
fn link_of(node: &mut Node) -> (Link, Behaviour) {
    let (behaviour, spare) = link(*node.swarm.local_peer_id());
    (std::mem::replace(&mut node.link, spare), behaviour)
}

#[test]
fn what_is_missing_is_said() {
    futures::executor::block_on(async {
        let mut world = World::new(102).await;
        let b = *world.b.swarm.local_peer_id();
        let (opened, _give_way) = open(&mut world.a, b, None);
        let error = world.wait(opened).await.unwrap().unwrap_err();
        assert_eq!(error.stage, Stage::Carrier);
        assert!(error.to_string().contains("names no relay"), "{error}");

        let nobody = PeerId::random();
        let circuit = world.circuit_to(nobody);
        let (opened, _give_way) = open(&mut world.a, nobody, Some(circuit));
        let error = world.wait(opened).await.unwrap().unwrap_err();
        assert_eq!(error.stage, Stage::Carrier, "{error}");
    });
}

#[test]
fn of_two_dials_that_cross_the_smaller_id_s_goes_on() {
    futures::executor::block_on(async {
        let mut world = World::new(103).await;
        let (a, b) = (
            *world.a.swarm.local_peer_id(),
            *world.b.swarm.local_peer_id(),
        );
        let (to_b, to_a) = (world.circuit_to(b), world.circuit_to(a));
        let (a_opened, mut a_gives_way) = open(&mut world.a, b, Some(to_b));
        let (b_opened, b_gives_way) = open(&mut world.b, a, Some(to_a));
        let both = futures::future::join(a_opened, b_opened);
        let (a_stream, b_stream) = world.wait(both).await;
        let (mut a_stream, mut b_stream) = (a_stream.unwrap().unwrap(), b_stream.unwrap().unwrap());
        let words = async {
            a_stream.write_all(b"from a").await.unwrap();
            b_stream.write_all(b"from b").await.unwrap();
        };
        world.wait(words).await;
        // The larger one is told to give way and gets the smaller one's stream.
        let superseded = world.wait(b_gives_way).await.unwrap();
        let (mut link, _unused) = link_of(&mut world.b);
        let incoming = world.wait(link.incoming.next()).await.unwrap();
        assert_eq!(incoming.peer, a);
        assert!(a_gives_way.try_recv().unwrap().is_none());
        assert!(
            world.a.link.incoming.next().now_or_never().is_none(),
            "held"
        );

        // When the smaller one's dial leads to nothing, it takes the stream that it held.
        let ended = Request::Ended {
            peer: b,
            connected: false,
        };
        world.a.link.requests.try_send(ended).unwrap();
        let (mut link, _unused) = link_of(&mut world.a);
        let incoming = world.wait(link.incoming.next()).await.unwrap();
        assert_eq!(incoming.peer, b);
        drop(superseded);
    });
}

#[test]
fn a_dial_that_begins_while_the_peer_s_is_answered_waits_for_that() {
    futures::executor::block_on(async {
        let mut world = World::new(104).await;
        let (a, b) = (
            *world.a.swarm.local_peer_id(),
            *world.b.swarm.local_peer_id(),
        );
        let to_a = world.circuit_to(a);
        let (b_opened, _b_gives_way) = open(&mut world.b, a, Some(to_a));
        let mut stream = world.wait(b_opened).await.unwrap().unwrap();
        world.wait(stream.write_all(b"offer")).await.unwrap();
        let (mut link, _unused) = link_of(&mut world.a);
        let incoming = world.wait(link.incoming.next()).await.unwrap();
        std::mem::swap(&mut world.a.link, &mut link);
        // The smaller one dials, too, while it answers.
        let (opened, gives_way) = open(&mut world.a, b, None);
        let superseded = world.wait(gives_way).await.unwrap();
        assert!(world.wait(opened).await.is_err(), "no stream is opened");
        drop(incoming);
        let answered = Request::Answered {
            peer: b,
            connected: false,
        };
        world.a.link.requests.try_send(answered).unwrap();
        assert!(world.wait(superseded).await.is_err(), "it led to nothing");
    });
}

fn dialled(address: &str) -> ConnectedPoint {
    ConnectedPoint::Dialer {
        address: address.parse().unwrap(),
        role_override: Endpoint::Dialer,
        port_use: PortUse::Reuse,
    }
}

fn accepted(local: Multiaddr, remote: Multiaddr) -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: local,
        send_back_addr: remote,
    }
}

fn established(behaviour: &mut Behaviour, peer: PeerId, id: usize, endpoint: &ConnectedPoint) {
    let established = ConnectionEstablished {
        peer_id: peer,
        connection_id: ConnectionId::new_unchecked(id),
        endpoint,
        failed_addresses: &[],
        other_established: 0,
    };
    behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(established));
}

fn closed(behaviour: &mut Behaviour, peer: PeerId, id: usize, endpoint: &ConnectedPoint) {
    let closed = ConnectionClosed {
        peer_id: peer,
        connection_id: ConnectionId::new_unchecked(id),
        endpoint,
        cause: None,
        remaining_established: 0,
    };
    behaviour.on_swarm_event(FromSwarm::ConnectionClosed(closed));
}

/// Connections that are closed, and events.
fn done(behaviour: &mut Behaviour) -> (Vec<ConnectionId>, Vec<Event>) {
    let (mut connections, mut events) = (Vec::new(), Vec::new());
    let mut context = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(action) = behaviour.poll(&mut context) {
        if let ToSwarm::GenerateEvent(event) = action {
            events.push(event);
        } else if let ToSwarm::CloseConnection {
            connection: CloseConnection::One(id),
            ..
        } = action
        {
            connections.push(id);
        }
    }
    (connections, events)
}

/// Two peers, the smaller id first.
fn two() -> (PeerId, PeerId) {
    let (a, b) = (PeerId::random(), PeerId::random());
    (a.min(b), a.max(b))
}

#[test]
fn what_carried_the_signalling_is_closed_when_both_have_ended_it() {
    let (a, b) = two();
    let (mut behaviour, mut link) = link(a);
    let circuit = dialled("/memory/1/p2p-circuit");
    let direct = dialled("/memory/1/p2p-circuit/webrtc");
    established(&mut behaviour, b, 1, &circuit);
    established(&mut behaviour, b, 2, &direct);
    assert_eq!(
        done(&mut behaviour),
        (vec![], vec![]),
        "the peer may still need it"
    );
    link.requests.try_send(Request::Parted { peer: b }).unwrap();
    let relayed = vec![ConnectionId::new_unchecked(1)];
    let upgraded = Event::Upgraded {
        peer: b,
        relayed: relayed.clone(),
    };
    assert_eq!(done(&mut behaviour), (relayed, vec![upgraded]));
    closed(&mut behaviour, b, 1, &circuit);
    closed(&mut behaviour, b, 2, &direct);
    assert!(behaviour.peers.is_empty());
}

#[test]
fn the_end_of_signalling_may_be_told_before_the_connection_that_it_made() {
    let (a, b) = two();
    let (mut behaviour, mut link) = link(a);
    established(&mut behaviour, b, 1, &dialled("/memory/1/p2p-circuit"));
    link.requests.try_send(Request::Parted { peer: b }).unwrap();
    assert_eq!(
        done(&mut behaviour),
        (vec![], vec![]),
        "nothing direct stands"
    );
    established(&mut behaviour, b, 2, &dialled("/webrtc"));
    assert_eq!(done(&mut behaviour).0, [ConnectionId::new_unchecked(1)]);
}

#[test]
fn of_two_direct_connections_both_sides_keep_the_one_of_the_smaller_id() {
    let (a, b) = two();
    for (local, remote) in [(a, b), (b, a)] {
        let (mut behaviour, _link) = link(local);
        let ours = dialled("/webrtc");
        let theirs = accepted(Multiaddr::empty(), bare(remote));
        established(&mut behaviour, remote, 1, &ours);
        established(&mut behaviour, remote, 2, &theirs);
        let of_larger = if local == a { 2 } else { 1 };
        let expected = vec![ConnectionId::new_unchecked(of_larger)];
        assert_eq!(done(&mut behaviour).0, expected);
    }
}

#[test]
fn a_place_at_a_relay_is_a_place_for_browsers() {
    let (a, b) = two();
    let (mut behaviour, _link) = link(a);
    let relay = format!("/memory/1/p2p/{b}/p2p-circuit");
    let mut context = Context::from_waker(std::task::Waker::noop());
    for circuit in [relay.clone(), format!("{relay}/p2p/{a}")] {
        let addr = circuit.parse().unwrap();
        let confirmed = FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed { addr: &addr });
        behaviour.on_swarm_event(confirmed);
        let Poll::Ready(ToSwarm::ExternalAddrConfirmed(found)) = behaviour.poll(&mut context)
        else {
            panic!("an address");
        };
        assert_eq!(found.to_string(), format!("{relay}/webrtc/p2p/{a}"));
    }
    let addr = "/memory/7".parse().unwrap();
    behaviour.on_swarm_event(FromSwarm::ExternalAddrConfirmed(ExternalAddrConfirmed {
        addr: &addr,
    }));
    assert!(behaviour.poll(&mut context).is_pending());
}

#[test]
fn strangers_leave_nothing_behind() {
    let (a, b) = two();
    let (mut behaviour, mut link) = link(a);
    let relay = dialled("/memory/1");
    established(&mut behaviour, b, 1, &relay);
    closed(&mut behaviour, b, 1, &relay);
    for request in [
        Request::Parted { peer: b },
        Request::Ended {
            peer: b,
            connected: false,
        },
    ] {
        link.requests.try_send(request).unwrap();
    }
    assert_eq!(done(&mut behaviour), (vec![], vec![]));
    assert!(behaviour.peers.is_empty());
}
