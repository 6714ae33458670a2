//! Relays that federate: who registers at one is found and reached through another, and what a
//! hostile one achieves.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::PeerRecord;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, rendezvous};
use prost::Message;
use tempfile::TempDir;
use thrum_relay::config::Config;
use thrum_relay::limits::{FEDERATION_BATCH, MAX_BAD_CLAIMS, MAX_FEDERATION_FRAME_BYTES};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{BehaviourEvent, Client};
use crate::rig::{self, HANG, Running};

const FEDERATION: StreamProtocol = StreamProtocol::new("/thrum/federation/1");

/// A frame between federated relays, as the protocol has it.
#[derive(Clone, PartialEq, Message)]
struct Frame {
    #[prost(bytes = "vec", repeated, tag = "1")]
    addresses: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "2")]
    puts: Vec<Put>,
}

#[derive(Clone, PartialEq, Message)]
struct Put {
    #[prost(string, tag = "1")]
    namespace: String,
    #[prost(bytes = "vec", tag = "2")]
    envelope: Vec<u8>,
    #[prost(uint64, tag = "3")]
    ttl: u64,
}

fn namespace() -> rendezvous::Namespace {
    rendezvous::Namespace::from_static("thrum/1")
}

/// The settings of a relay, and its peer id, which it keeps.
async fn known_relay() -> (TempDir, Config, PeerId) {
    let (site, config) = rig::site();
    let once = rig::start(config.clone()).await;
    let peer_id = once.peer_id;
    once.ask_to_stop().await.unwrap().unwrap();
    (site, config, peer_id)
}

fn only(relay: PeerId) -> Multiaddr {
    Multiaddr::empty().with(Protocol::P2p(relay))
}

/// Two relays that federate; the second dials the first.
async fn two_relays() -> ([TempDir; 2], [Running; 2]) {
    let (first_site, first, _) = known_relay().await;
    let (second_site, second, second_id) = known_relay().await;
    let first = rig::start(Config {
        federate: vec![only(second_id)],
        ..first
    })
    .await;
    let second = rig::start(Config {
        federate: vec![first.ws()],
        ..second
    })
    .await;
    for relay in [&first, &second] {
        relay.await_metric("thrum_relay_federated_relays 1").await;
    }
    ([first_site, second_site], [first, second])
}

/// A peer with a place at a relay, registered there and running.
async fn registered(relay: &Running) -> (PeerId, JoinHandle<()>) {
    let mut peer = Client::new();
    peer.reserve(relay.ws()).await;
    let behaviour = &mut peer.swarm.behaviour_mut().rendezvous;
    behaviour
        .register(namespace(), relay.peer_id, Some(120))
        .unwrap();
    peer.until(|event| match event {
        SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(event)) => match event {
            rendezvous::client::Event::Registered { ttl, .. } => Some(ttl),
            other => panic!("not registered: {other:?}"),
        },
        _ => None,
    })
    .await;
    (peer.peer_id(), peer.go_on())
}

/// Who is registered, as a relay tells it.
async fn discover(asker: &mut Client, relay: &Running) -> Vec<rendezvous::Registration> {
    let behaviour = &mut asker.swarm.behaviour_mut().rendezvous;
    behaviour.discover(Some(namespace()), None, None, relay.peer_id);
    asker
        .until(|event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(
                rendezvous::client::Event::Discovered { registrations, .. },
            )) => Some(registrations),
            _ => None,
        })
        .await
}

async fn federated(relay: &Running) -> serde_json::Value {
    let facts = relay.get("/api/relay").await;
    let facts: serde_json::Value = serde_json::from_slice(&facts.body).unwrap();
    facts["federated"].clone()
}

#[tokio::test]
async fn a_peer_of_one_relay_is_found_at_another_and_reached() {
    let (_sites, [first, second]) = two_relays().await;
    let (peer, _running) = registered(&first).await;
    second
        .await_metric("thrum_relay_federated_registrations 1")
        .await;

    let mut asker = Client::new();
    asker.reserve(second.ws()).await;
    let found = discover(&mut asker, &second).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].record.peer_id(), peer);
    // A tab dials only relays that its own vouches for: the address is the one vouched for.
    let vouched = federated(&second).await;
    assert_eq!(vouched[0]["peerId"], first.peer_id.to_string());
    let relay: Multiaddr = vouched[0]["addrs"][0].as_str().unwrap().parse().unwrap();
    assert_eq!(relay, first.ws());
    let through = relay.with(Protocol::P2pCircuit).with(Protocol::P2p(peer));
    asker.meet(peer, through).await;
    assert_eq!(
        federated(&first).await[0]["peerId"],
        second.peer_id.to_string()
    );
}

#[tokio::test]
async fn who_leaves_is_forgotten_elsewhere_and_so_is_a_relay_that_died() {
    let (_sites, [first, second]) = two_relays().await;
    let (_, running) = registered(&first).await;
    let mut leaving = Client::new();
    leaving.reserve(first.ws()).await;
    let rendezvous = &mut leaving.swarm.behaviour_mut().rendezvous;
    rendezvous
        .register(namespace(), first.peer_id, Some(120))
        .unwrap();
    let told = second.await_metric("thrum_relay_federated_registrations 2");
    tokio::select! {
        () = told => {}
        () = async { loop { leaving.until(|_| Some(())).await } } => {}
    }
    let rendezvous = &mut leaving.swarm.behaviour_mut().rendezvous;
    rendezvous.unregister(namespace(), first.peer_id);
    let forgotten = second.await_metric("thrum_relay_federated_registrations 1");
    tokio::select! {
        () = forgotten => {}
        () = async { loop { leaving.until(|_| Some(())).await } } => {}
    }

    first.ask_to_stop().await.unwrap().unwrap();
    second
        .await_metric("thrum_relay_federated_registrations 0")
        .await;
    second.await_metric("thrum_relay_federated_relays 0").await;
    assert_eq!(federated(&second).await, serde_json::json!([]));
    running.abort();
}

#[tokio::test]
async fn a_third_relay_is_not_told_what_others_told() {
    let (_site, middle, middle_id) = known_relay().await;
    let (mut sites, mut outer) = (Vec::new(), Vec::new());
    let (mut configs, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let (site, config, id) = known_relay().await;
        sites.push(site);
        configs.push(config);
        ids.push(only(id));
    }
    let middle = rig::start(Config {
        federate: ids,
        ..middle
    })
    .await;
    assert_eq!(middle.peer_id, middle_id);
    for config in configs {
        let federate = vec![middle.ws()];
        outer.push(rig::start(Config { federate, ..config }).await);
    }
    middle.await_metric("thrum_relay_federated_relays 2").await;
    let (_, _running) = registered(&outer[0]).await;
    middle
        .await_metric("thrum_relay_federated_registrations 1")
        .await;
    // What is registered later at the middle arrives, and the other has not come with it.
    let (peer, _other) = registered(&middle).await;
    let last = &outer[1];
    last.await_metric("thrum_relay_federated_registrations 1")
        .await;
    let mut asker = Client::new();
    asker.dial(last.ws()).await.unwrap();
    let found = discover(&mut asker, last).await;
    let found: Vec<_> = found.iter().map(|it| it.record.peer_id()).collect();
    assert_eq!(found, [peer]);
}

/// A relay that federates with a client of ours, which may say anything.
async fn with_hostile() -> (TempDir, Running, Hostile) {
    let (site, config) = rig::site();
    let mut client = Client::new();
    let id = client.peer_id();
    let federate = vec![only(id)];
    let relay = rig::start(Config { federate, ..config }).await;
    client.reserve(relay.ws()).await;
    let control = client.swarm.behaviour().stream.new_control();
    let _running = client.go_on();
    let hostile = Hostile {
        id,
        control,
        relay: relay.peer_id,
        _running,
    };
    (site, relay, hostile)
}

struct Hostile {
    id: PeerId,
    control: libp2p_stream::Control,
    relay: PeerId,
    _running: JoinHandle<()>,
}

impl Hostile {
    async fn stream(&mut self) -> libp2p::Stream {
        let opened = self.control.open_stream(self.relay, FEDERATION).await;
        opened.unwrap()
    }

    /// Says something, and waits until the relay has hung up.
    async fn say_until_the_end(&mut self, bytes: &[u8]) {
        let mut stream = self.stream().await;
        let said = async {
            // The relay may hang up at any point.
            while stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok() {}
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
        };
        timeout(HANG, said).await.unwrap();
    }

    fn put(&self, key: &Keypair, through: PeerId) -> Put {
        let address = format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{through}/p2p-circuit");
        let record = PeerRecord::new(key, vec![address.parse().unwrap()]).unwrap();
        Put {
            namespace: "thrum/1".to_owned(),
            envelope: record.into_signed_envelope().into_protobuf_encoding(),
            ttl: 120,
        }
    }
}

fn framed(puts: Vec<Put>) -> Vec<u8> {
    let addresses = Vec::new();
    Frame { addresses, puts }.encode_length_delimited_to_vec()
}

#[tokio::test]
async fn a_hostile_relay_is_not_believed_and_harms_nobody() {
    let (_site, relay, mut hostile) = with_hostile().await;
    let (honest, _running) = registered(&relay).await;
    let key = Keypair::generate_ed25519();
    let good = hostile.put(&key, hostile.id);
    let foreign = hostile.put(&key, PeerId::random());
    let mut forged = good.clone();
    *forged.envelope.last_mut().unwrap() ^= 1;
    let ended = Put {
        ttl: 0,
        ..good.clone()
    };
    let mut stream = hostile.stream().await;
    let told = framed(vec![good.clone(), foreign.clone(), forged, ended]);
    stream.write_all(&told).await.unwrap();
    stream.flush().await.unwrap();
    relay
        .await_metric("thrum_relay_federated_registrations 1")
        .await;
    for reason in ["NotThroughIt", "Ttl", "Unsigned"] {
        let line = format!("thrum_relay_federated_refused_total{{reason=\"{reason}\"}} 1");
        relay.await_metric(&line).await;
    }

    // With the stream goes what was told over it.
    let many = framed(vec![foreign; FEDERATION_BATCH]);
    assert!(u64::from(MAX_BAD_CLAIMS) > FEDERATION_BATCH as u64);
    hostile.say_until_the_end(&many).await;
    relay
        .await_metric("thrum_relay_federated_cut_total 1")
        .await;
    relay
        .await_metric("thrum_relay_federated_registrations 0")
        .await;
    let too_much = framed(vec![good; FEDERATION_BATCH + 1]);
    hostile.say_until_the_end(&too_much).await;
    relay
        .await_metric("thrum_relay_federated_cut_total 2")
        .await;
    let oversized = [vec![0xFF, 0xFF, 0x7F], vec![0; MAX_FEDERATION_FRAME_BYTES]].concat();
    for bytes in [&oversized[..], b"\x05garba", &[0xFF; 9]] {
        hostile.say_until_the_end(bytes).await;
    }

    let mut asker = Client::new();
    asker.dial(relay.ws()).await.unwrap();
    let found = discover(&mut asker, &relay).await;
    let found: Vec<_> = found.iter().map(|it| it.record.peer_id()).collect();
    assert_eq!(found, [honest]);
}

#[tokio::test]
async fn who_is_not_in_the_settings_tells_nothing() {
    let (_site, relay, hostile) = with_hostile().await;
    let mut stranger = Client::new();
    stranger.reserve(relay.ws()).await;
    let mut control = stranger.swarm.behaviour().stream.new_control();
    let id = stranger.peer_id();
    let _running = stranger.go_on();
    let mut stream = control
        .open_stream(relay.peer_id, FEDERATION)
        .await
        .unwrap();
    let put = hostile.put(&Keypair::generate_ed25519(), id);
    stream.write_all(&framed(vec![put])).await.ok(); // It may have hung up.
    let mut rest = Vec::new();
    timeout(HANG, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .ok(); // A reset is an end as well.
    let metrics = relay.get("/metrics").await.text();
    assert!(metrics.contains("thrum_relay_federated_registrations 0"));

    let (_site, config) = rig::site();
    let alone = rig::start(config).await;
    let mut peer = Client::new();
    peer.dial(alone.ws()).await.unwrap();
    let mut control = peer.swarm.behaviour().stream.new_control();
    let _running = peer.go_on();
    let refused = control.open_stream(alone.peer_id, FEDERATION).await;
    assert!(refused.is_err(), "without federation nobody listens");
}
