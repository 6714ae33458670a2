//! A thousand connections that mean harm, from another address, while honest peers are served.
//!
//! On Linux only, where a machine has more than one loopback address without asking for it.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{interval, timeout};

use crate::client::Client;
use crate::rig::{self, HANG};

const ECHO: StreamProtocol = StreamProtocol::new("/thrum-test/lines/1");

/// Hostile connections of each kind.
const N_EACH: usize = 250;

/// The upgrade to WebSocket that opens every honest connection too.
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a hostile connection says.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Garbage,
    /// A WebSocket message of 16 GiB, of which it sends what it can.
    Oversized,
    Silent,
    /// One byte a second.
    Slow,
}

/// Connects from an address of its own and holds on until the relay ends it.
async fn attack(relay: SocketAddr, kind: Kind) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.66:0".parse().unwrap()).unwrap();
    let Ok(mut stream) = socket.connect(relay).await else {
        return;
    };
    // The relay may hang up at any point: that is what this waits for.
    match kind {
        Kind::Garbage => drop(stream.write_all(&[0xA5; 4096]).await),
        Kind::Oversized => flood(&mut stream).await,
        Kind::Silent => {}
        Kind::Slow => {
            let mut second = interval(Duration::from_secs(1));
            for byte in UPGRADE {
                second.tick().await;
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        }
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.ok(); // A reset is an end as well.
}

async fn flood(stream: &mut TcpStream) {
    let mut frame = vec![0x82, 0xFF];
    frame.extend((1_u64 << 34).to_be_bytes());
    frame.extend([0; 4]);
    if stream.write_all(UPGRADE).await.is_err() || stream.write_all(&frame).await.is_err() {
        return;
    }
    while stream.write_all(&[0; 65_536]).await.is_ok() {}
}

/// A peer that answers whatever is said to it, and where it is reached.
async fn provider(relay: Multiaddr) -> (PeerId, Multiaddr, JoinHandle<()>) {
    let mut provider = Client::new();
    let reachable_at = provider.reserve(relay).await;
    let mut incoming = provider
        .swarm
        .behaviour()
        .stream
        .new_control()
        .accept(ECHO)
        .unwrap();
    let id = provider.peer_id();
    let running = provider.go_on();
    let serving = tokio::spawn(async move {
        while let Some((_peer, mut stream)) = incoming.next().await {
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                while let Ok(n_bytes @ 1..) = stream.read(&mut bytes).await {
                    let back = stream.write_all(&bytes[..n_bytes]).await;
                    if back.is_err() || stream.flush().await.is_err() {
                        return; // The circuit was cut, or its asker left.
                    }
                }
            });
        }
        running.abort();
    });
    (id, reachable_at, serving)
}

async fn open_circuit(provider: PeerId, at: Multiaddr) -> (Stream, JoinHandle<()>) {
    let mut asker = Client::new();
    let mut control = asker.swarm.behaviour().stream.new_control();
    asker.meet(provider, at).await;
    let running = asker.go_on();
    let stream = control.open_stream(provider, ECHO).await.unwrap();
    (stream, running)
}

async fn echo(stream: &mut Stream, byte: u8) {
    let exchange = async {
        stream.write_all(&[byte]).await.unwrap();
        stream.flush().await.unwrap();
        let mut back = [0];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, [byte]);
    };
    timeout(HANG, exchange).await.unwrap();
}

#[tokio::test]
async fn a_thousand_hostile_connections_leave_honest_peers_alone() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let port = relay.ws().iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let target = SocketAddr::from(([127, 0, 0, 1], port.unwrap()));
    let (id, reachable_at, _provider) = provider(relay.ws()).await;
    let (mut old, _old) = open_circuit(id, reachable_at.clone()).await;
    echo(&mut old, 0).await;

    let mut hostile = JoinSet::new();
    for _ in 0..N_EACH {
        for kind in [Kind::Garbage, Kind::Oversized, Kind::Silent, Kind::Slow] {
            hostile.spawn(attack(target, kind));
        }
    }
    let mut n_ended = 0;
    let all_ended = async {
        while hostile.join_next().await.is_some() {
            n_ended += 1;
            if n_ended % 50 == 0 {
                echo(&mut old, (n_ended % 251) as u8).await;
            }
            if n_ended == 2 * N_EACH {
                let (mut new, running) = open_circuit(id, reachable_at.clone()).await;
                echo(&mut new, 7).await;
                running.abort();
            }
        }
    };
    timeout(HANG, all_ended).await.unwrap();
    assert_eq!(n_ended, 4 * N_EACH, "the relay ended every one");
    echo(&mut old, 255).await;
    assert_eq!(relay.get("/readyz").await.status, 200);
    let metrics = relay.get("/metrics").await.text();
    let refused = "thrum_relay_connections_refused_total{reason=\"TooManyPending\"} ";
    assert!(metrics.contains(refused), "no {refused}in:\n{metrics}");
}

#[tokio::test]
async fn a_circuit_is_too_small_to_move_a_model() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let (id, reachable_at, _provider) = provider(relay.ws()).await;
    let (stream, _running) = open_circuit(id, reachable_at).await;
    let (mut reader, mut writer) = stream.split();
    let most = thrum_relay::limits::MAX_CIRCUIT_BYTES;
    let write = async { while writer.write_all(&[1; 65_536]).await.is_ok() {} };
    let read = async {
        let mut bytes = vec![0; 65_536];
        let mut n_read = 0;
        while let Ok(n_bytes @ 1..) = reader.read(&mut bytes).await {
            n_read += n_bytes as u64;
        }
        n_read
    };
    let ((), n_read) = timeout(HANG, async { tokio::join!(write, read) })
        .await
        .unwrap();
    assert!(n_read > 0);
    assert!(
        n_read < most,
        "both ways count together: {n_read} B came back"
    );
}

#[tokio::test]
async fn a_peer_that_opens_streams_without_end_is_alone_with_it() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let (id, reachable_at, _provider) = provider(relay.ws()).await;
    let mut flooder = Client::new();
    flooder.dial(relay.ws()).await.unwrap();
    let control = flooder.swarm.behaviour().stream.new_control();
    let running = flooder.go_on();
    // Asks for what any peer may ask for, and never reads an answer.
    let protocol = StreamProtocol::new(thrum_protocol::TURN_CREDENTIALS_STREAM);
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let (mut control, protocol) = (control.clone(), protocol.clone());
        let peer = relay.peer_id;
        asking.spawn(async move {
            let mut held = Vec::new();
            for _ in 0..2 * thrum_relay::limits::MAX_STREAMS_PER_CONNECTION {
                match control.open_stream(peer, protocol.clone()).await {
                    Ok(stream) => held.push(stream),
                    Err(_) => return, // The relay hung up.
                }
            }
        });
    }
    let asked = async { while asking.join_next().await.is_some() {} };
    timeout(HANG, asked).await.unwrap();
    let (mut stream, _running) = open_circuit(id, reachable_at).await;
    echo(&mut stream, 1).await;
    running.abort();
}
