//! Peers that come to the relay: dialling, circuits, meeting, and the caps.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, identify, rendezvous};

use crate::client::{BehaviourEvent, Client};
use crate::rig::{self, HANG};
use thrum_relay::config::Config;

const ECHO: StreamProtocol = StreamProtocol::new("/thrum-test/echo/1");

#[tokio::test]
async fn the_addresses_it_tells_over_http_are_dialled_over_websocket() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let facts: serde_json::Value =
        serde_json::from_slice(&relay.get("/api/relay").await.body).unwrap();
    let address: Multiaddr = facts["addrs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|address| address.as_str().unwrap())
        .find(|address| address.contains("/ws"))
        .unwrap()
        .parse()
        .unwrap();

    let mut peer = Client::new();
    assert_eq!(peer.dial(address).await, Ok(relay.peer_id));
    let info = peer
        .until(|event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                info,
                ..
            })) => Some(info),
            _ => None,
        })
        .await;
    assert_eq!(
        info.agent_version,
        format!("thrum-relay/{}", thrum_relay::VERSION)
    );
    assert_eq!(info.protocol_version, "thrum/1");
    peer.await_ping().await;
    relay
        .await_metric("thrum_relay_connections{transport=\"WebSocket\"} 1")
        .await;
}

#[tokio::test]
async fn webrtc_direct_connects_and_carries_a_ping() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let mut peer = Client::new();
    // The transport dials from a listener's socket.
    peer.swarm
        .listen_on("/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap())
        .unwrap();
    assert_eq!(peer.dial(relay.webrtc()).await, Ok(relay.peer_id));
    peer.await_ping().await;
    relay
        .await_metric("thrum_relay_connections{transport=\"WebRtcDirect\"} 1")
        .await;
}

#[tokio::test]
async fn two_peers_exchange_bytes_through_a_circuit() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;

    let mut provider = Client::new();
    let provider_id = provider.peer_id();
    let reachable_at = provider.reserve(relay.ws()).await;
    assert!(
        reachable_at.to_string().starts_with("/ip4/127.0.0.1/tcp/"),
        "{reachable_at}"
    );
    let mut incoming = provider
        .swarm
        .behaviour()
        .stream
        .new_control()
        .accept(ECHO)
        .unwrap();
    let provider = provider.go_on();
    let echo = tokio::spawn(async move {
        let (_peer, mut stream) = incoming.next().await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.close().await.unwrap();
    });

    let mut asker = Client::new();
    let mut control = asker.swarm.behaviour().stream.new_control();
    asker.meet(provider_id, reachable_at).await;
    let asker = asker.go_on();
    relay.await_metric("thrum_relay_circuits 1").await;
    relay.await_metric("thrum_relay_reservations 1").await;

    // More than libp2p's default of 128 KiB for one circuit.
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let exchange = async {
        let mut stream = control.open_stream(provider_id, ECHO).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        stream.close().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received
    };
    let received = tokio::time::timeout(HANG, exchange).await.unwrap();
    assert!(
        received == sent,
        "{} of {} bytes came back",
        received.len(),
        sent.len()
    );
    echo.await.unwrap();

    asker.abort();
    provider.abort();
    relay.await_metric("thrum_relay_circuits 0").await;
    relay.await_metric("thrum_relay_reservations 0").await;
    relay
        .await_metric("thrum_relay_connections{transport=\"WebSocket\"} 0")
        .await;
}

#[tokio::test]
async fn a_peer_without_a_reservation_is_not_reachable() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let mut absent = Client::new();
    absent.dial(relay.ws()).await.unwrap();
    let absent_id = absent.peer_id();
    let _absent = absent.go_on();

    let mut asker = Client::new();
    asker.dial(relay.ws()).await.unwrap();
    let through = relay
        .ws()
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(absent_id));
    let error = asker.dial(through).await.unwrap_err();
    assert!(
        error.contains("reservation") || error.contains("Relay"),
        "{error}"
    );
    relay
        .await_metric("thrum_relay_circuit_requests_total{outcome=\"Denied\"} 1")
        .await;
}

#[tokio::test]
async fn who_comes_back_from_another_address_is_not_sought_at_the_old_one() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let keypair = Keypair::generate_ed25519();
    let mut before = Client::of(keypair.clone());
    before.reserve(relay.ws()).await;
    // Nobody runs it any more, as if its packets went nowhere; its connection stands.
    let mut after = Client::of(keypair);
    let reachable_at = after.reserve(relay.ws()).await;
    let peer = after.peer_id();
    let _after = after.go_on();
    relay
        .await_metric("thrum_relay_connections{transport=\"WebSocket\"} 1")
        .await;
    relay.await_metric("thrum_relay_reservations 1").await;
    Client::new().meet(peer, reachable_at).await;
    drop(before);
}

#[tokio::test]
async fn a_registered_peer_is_found_with_an_address_that_works() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let namespace = rendezvous::Namespace::from_static("thrum/1");

    let mut provider = Client::new();
    provider.reserve(relay.ws()).await;
    let behaviour = &mut provider.swarm.behaviour_mut().rendezvous;
    behaviour
        .register(namespace.clone(), relay.peer_id, Some(120))
        .unwrap();
    let ttl = provider
        .until(|event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(event)) => match event {
                rendezvous::client::Event::Registered { ttl, .. } => Some(ttl),
                other => panic!("not registered: {other:?}"),
            },
            _ => None,
        })
        .await;
    assert_eq!(ttl, 120);
    let provider_id = provider.peer_id();
    let provider = provider.go_on();
    relay.await_metric("thrum_relay_registrations 1").await;

    let mut asker = Client::new();
    asker.dial(relay.ws()).await.unwrap();
    asker
        .swarm
        .behaviour_mut()
        .rendezvous
        .discover(Some(namespace), None, None, relay.peer_id);
    let found = asker
        .until(|event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Rendezvous(
                rendezvous::client::Event::Discovered { registrations, .. },
            )) => Some(registrations),
            _ => None,
        })
        .await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].record.peer_id(), provider_id);
    let address = found[0].record.addresses()[0].clone();
    assert_eq!(asker.dial(address).await, Ok(provider_id));

    // Nobody is sent to who has left.
    provider.abort();
    relay.await_metric("thrum_relay_registrations 0").await;
}

#[tokio::test]
async fn who_registers_too_often_is_disconnected() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let mut peer = Client::new();
    peer.reserve(relay.ws()).await;
    for i in 0..=thrum_relay::limits::MAX_REGISTRATIONS_PER_WINDOW {
        let namespace = rendezvous::Namespace::new(format!("spam/{i}")).unwrap();
        let behaviour = &mut peer.swarm.behaviour_mut().rendezvous;
        behaviour.register(namespace, relay.peer_id, None).unwrap();
    }
    peer.until(|event| matches!(event, SwarmEvent::ConnectionClosed { .. }).then_some(()))
        .await;
    let most = thrum_relay::limits::MAX_REGISTRATIONS_PER_PEER;
    relay
        .await_metric(&format!(
            "thrum_relay_registration_requests_total{{outcome=\"Accepted\"}} {most}"
        ))
        .await;
    relay.await_metric("thrum_relay_registrations 0").await;
}

#[tokio::test]
async fn one_address_gets_its_connections_and_no_more() {
    let (_site, config) = rig::site();
    let relay = rig::start(Config {
        max_connections_per_ip: 2,
        ..config
    })
    .await;
    let mut admitted = Vec::new();
    for _ in 0..2 {
        let mut peer = Client::new();
        assert_eq!(peer.dial(relay.ws()).await, Ok(relay.peer_id));
        admitted.push(peer.go_on());
    }
    let mut late = Client::new();
    late.dial(relay.ws()).await.unwrap_err();
    relay
        .await_metric("thrum_relay_connections_refused_total{reason=\"AddressFull\"} 1")
        .await;

    admitted.pop().unwrap().abort();
    relay
        .await_metric("thrum_relay_connections{transport=\"WebSocket\"} 1")
        .await;
    assert_eq!(late.dial(relay.ws()).await, Ok(relay.peer_id));
}

#[tokio::test]
async fn announced_addresses_stand_for_those_listened_on() {
    let (_site, config) = rig::site();
    let announce = vec![
        "/dns4/relay.example/tcp/443/wss".parse().unwrap(),
        "/ip4/192.0.2.7/udp/8082/webrtc-direct".parse().unwrap(),
    ];
    let relay = rig::start(Config {
        announce,
        ..config.clone()
    })
    .await;
    let shown: Vec<_> = relay.addrs.iter().map(Multiaddr::to_string).collect();
    let id = relay.peer_id;
    assert_eq!(
        shown[0],
        format!("/dns4/relay.example/tcp/443/wss/p2p/{id}")
    );
    assert!(
        shown[1].starts_with("/ip4/192.0.2.7/udp/8082/webrtc-direct/certhash/"),
        "{shown:?}"
    );
    assert_eq!(shown.len(), 2);
}

#[tokio::test]
async fn peer_id_and_certificate_survive_a_restart() {
    let (_site, config) = rig::site();
    let hash_of = |relay: &rig::Running| {
        relay
            .webrtc()
            .iter()
            .find(|part| matches!(part, Protocol::Certhash(_)))
            .unwrap()
            .acquire()
    };
    let first = rig::start(config.clone()).await;
    let (peer_id, hash) = (first.peer_id, hash_of(&first));
    first.ask_to_stop().await.unwrap().unwrap();

    let second = rig::start(config).await;
    assert_eq!((second.peer_id, hash_of(&second)), (peer_id, hash));
    let mut peer = Client::new();
    peer.swarm
        .listen_on("/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap())
        .unwrap();
    assert_eq!(peer.dial(second.webrtc()).await, Ok(peer_id));
}

#[tokio::test]
async fn garbage_on_its_ports_hurts_nobody() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let port = |address: Multiaddr| {
        address
            .iter()
            .find_map(|part| match part {
                Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
                _ => None,
            })
            .unwrap()
    };
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut noise: Vec<u8> = (0..1200).map(|i| (i * 7 % 256) as u8).collect();
    for first in 0..=255 {
        noise[0] = first;
        udp.send_to(&noise, ("127.0.0.1", port(relay.webrtc())))
            .await
            .unwrap();
    }
    let mut tcp = tokio::net::TcpStream::connect(("127.0.0.1", port(relay.ws())))
        .await
        .unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut tcp, &noise)
        .await
        .unwrap();
    drop(tcp);
    relay
        .await_metric("thrum_relay_connections_failed_total 1")
        .await;

    let mut peer = Client::new();
    assert_eq!(peer.dial(relay.ws()).await, Ok(relay.peer_id));
    assert_eq!(relay.get("/readyz").await.status, 200);
}
