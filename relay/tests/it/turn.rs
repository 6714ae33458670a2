//! STUN and TURN over real sockets, judged by webrtc-rs's client, which is not ours.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::AsyncReadExt;
use libp2p::StreamProtocol;
use thrum_protocol::TURN_CREDENTIALS_STREAM;
use thrum_protocol::turn::TurnCredentials;
use thrum_relay::config::Config;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use webrtc_util::Conn;

use crate::client::Client;
use crate::rig::{self, HANG, Running};

const CREDENTIALS: StreamProtocol = StreamProtocol::new(TURN_CREDENTIALS_STREAM);

/// Asks the relay as a peer that is connected to it.
async fn credentials(relay: &Running) -> Result<TurnCredentials, String> {
    let mut peer = Client::new();
    peer.dial(relay.ws()).await.unwrap();
    let mut control = peer.swarm.behaviour().stream.new_control();
    let running = peer.go_on();
    let asked = async {
        let stream = control.open_stream(relay.peer_id, CREDENTIALS).await;
        let mut bytes = Vec::new();
        stream
            .map_err(|error| error.to_string())?
            .read_to_end(&mut bytes)
            .await
            .unwrap();
        Ok(TurnCredentials::open(&bytes).unwrap())
    };
    let answer = timeout(HANG, asked).await.unwrap();
    running.abort();
    answer
}

async fn client(server: SocketAddr, credentials: Option<TurnCredentials>) -> turn::client::Client {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client_at(socket, server, credentials).await
}

async fn client_at(
    socket: UdpSocket,
    server: SocketAddr,
    credentials: Option<TurnCredentials>,
) -> turn::client::Client {
    let (username, password) = credentials
        .map(|credentials| (credentials.username, credentials.credential))
        .unwrap_or_default();
    let config = turn::client::ClientConfig {
        stun_serv_addr: server.to_string(),
        turn_serv_addr: server.to_string(),
        username,
        password,
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    };
    let client = turn::client::Client::new(config).await.unwrap();
    client.listen().await.unwrap();
    client
}

/// Sends until the other end has it: datagrams may be lost, and the first is, where the other end
/// has not permitted this one yet.
async fn carry(from: &impl Conn, to: &impl Conn, text: &[u8]) {
    let target = to.local_addr().unwrap();
    let mut buffer = [0; 100];
    let carried = async {
        loop {
            from.send_to(text, target).await.unwrap();
            let wait = std::time::Duration::from_millis(200);
            let Ok(read) = timeout(wait, to.recv_from(&mut buffer)).await else {
                continue;
            };
            let (n_bytes, source) = read.unwrap();
            if &buffer[..n_bytes] == text {
                assert_eq!(source, from.local_addr().unwrap());
                return;
            }
        }
    };
    timeout(HANG, carried).await.unwrap();
}

#[tokio::test]
async fn both_stun_ports_tell_a_client_its_address() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    assert_eq!(relay.stun.len(), 2);
    for server in &relay.stun {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let own = socket.local_addr().unwrap();
        let client = client_at(socket, *server, None).await;
        assert_eq!(client.send_binding_request().await.unwrap(), own);
        client.close().await.unwrap();
    }
    relay
        .await_metric("thrum_relay_stun_requests_total 2")
        .await;
}

#[tokio::test]
async fn connected_peers_get_credentials_that_carry_both_ways() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let (alice, bob) = (credentials(&relay).await, credentials(&relay).await);
    let (alice, bob) = (alice.unwrap(), bob.unwrap());
    let server = relay.stun[0];
    assert_eq!(alice.urls, [format!("turn:{server}?transport=udp")]);
    assert_eq!(alice.ttl_secs, 600);
    assert_ne!(alice.username, bob.username);

    let clients = [
        client(server, Some(alice)).await,
        client(server, Some(bob)).await,
    ];
    let a = clients[0].allocate().await.unwrap();
    let b = clients[1].allocate().await.unwrap();
    relay.await_metric("thrum_relay_turn_allocations 2").await;
    assert_ne!(a.local_addr().unwrap(), server);
    a.send_to(b"lost, and permits", b.local_addr().unwrap())
        .await
        .unwrap();
    carry(&b, &a, b"from bob").await;
    carry(&a, &b, b"from alice").await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to_alice = a.local_addr().unwrap();
    stranger.send_to(b"from outside", to_alice).await.unwrap();
    let mut buffer = [0; 100];
    let read = timeout(HANG, a.recv_from(&mut buffer)).await.unwrap();
    let (n_bytes, source) = read.unwrap();
    assert_eq!(&buffer[..n_bytes], b"from outside");
    assert_eq!(source, stranger.local_addr().unwrap());
    a.send_to(b"and back", source).await.unwrap();
    let (n_bytes, source) = timeout(HANG, stranger.recv_from(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((&buffer[..n_bytes], source), (&b"and back"[..], to_alice));

    for client in &clients {
        client.close().await.unwrap();
    }
    a.close().await.unwrap();
    b.close().await.unwrap();
    relay.await_metric("thrum_relay_turn_allocations 0").await;
    relay
        .await_metric("thrum_relay_turn_credentials_total 2")
        .await;
}

#[tokio::test]
async fn a_relay_without_turn_hands_out_nothing() {
    let (_site, config) = rig::site();
    let relay = rig::start(Config {
        turn: false,
        ..config
    })
    .await;
    let error = credentials(&relay).await.unwrap_err();
    assert!(error.contains("does not support"), "{error}");
}

#[tokio::test]
async fn a_flood_is_refused_and_honest_clients_go_on() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let server = relay.stun[0];
    let honest = client(server, credentials(&relay).await.ok()).await;
    let a = honest.allocate().await.unwrap();
    let outside = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let source = outside.local_addr().unwrap();
    a.send_to(b"permits", source).await.unwrap();

    let flooder = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut allocate = vec![0, 3, 0, 8, 0x21, 0x12, 0xA4, 0x42];
    allocate.extend([7; 12]);
    allocate.extend([0, 0x19, 0, 4, 17, 0, 0, 0]);
    for bytes in [&allocate[..], &[0; 4000], b"garbage", &[0x40, 0, 0, 0]] {
        for _ in 0..2_000 {
            flooder.send_to(bytes, server).await.unwrap();
        }
    }
    let mut buffer = [0; 100];
    let heard = async {
        loop {
            outside
                .send_to(b"still here", a.local_addr().unwrap())
                .await
                .unwrap();
            let wait = std::time::Duration::from_millis(200);
            if timeout(wait, a.recv_from(&mut buffer)).await.is_ok() {
                return;
            }
        }
    };
    timeout(HANG, heard).await.unwrap();
    relay.await_metric("thrum_relay_turn_allocations 1").await;
    let metrics = relay.get("/metrics").await.text();
    for reason in ["AllocationMismatch", "Malformed", "Oversized", "RateLimit"] {
        let line = format!("thrum_relay_turn_refused_total{{reason=\"{reason}\"}} ");
        assert!(metrics.contains(&line), "no {line}in:\n{metrics}");
    }
    Client::new().dial(relay.ws()).await.unwrap();
}

#[tokio::test]
async fn a_taken_stun_port_is_named() {
    let (_site, config) = rig::site();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        stun: vec![address],
        ..config
    };
    let error = thrum_relay::Relay::bind(config).await.err().unwrap();
    let error = error.to_string();
    for word in [&address.to_string(), "--stun", "in use"] {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
}

#[tokio::test]
async fn a_second_relay_on_the_machine_answers_stun_elsewhere() {
    let sites = [rig::site(), rig::site()];
    let mut relays = Vec::new();
    for (_, config) in &sites {
        let stun = Config::default().stun;
        let config = config.clone();
        relays.push(rig::start(Config { stun, ..config }).await);
    }
    let mut places: Vec<SocketAddr> = relays.iter().flat_map(|it| it.stun.clone()).collect();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), 4, "{places:?}");
}
