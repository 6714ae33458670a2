//! Provider lookups by Kademlia: what clients of libp2p find, and what liars achieve.

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::kad::{self, GetProvidersOk, ProgressStep, QueryResult, RecordKey};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use thrum_protocol::KAD_PROTOCOL;
use thrum_relay::limits::{MAX_KAD_MESSAGE_BYTES, MAX_KEYS_PER_PROVIDER};
use tokio::time::timeout;

use crate::client::{BehaviourEvent, Client};
use crate::rig::{self, HANG, Running};

/// Types of Kademlia's messages.
const PUT_VALUE: u8 = 0;
const ADD_PROVIDER: u8 = 2;

fn key(text: &str) -> RecordKey {
    RecordKey::new(&text)
}

/// A peer with a place at the relay that knows to ask it.
async fn placed(relay: &Running) -> Client {
    let mut peer = Client::new();
    let address = peer.reserve(relay.ws()).await;
    let own = address.with_p2p(peer.peer_id()).unwrap();
    peer.swarm.add_external_address(own);
    let kad = &mut peer.swarm.behaviour_mut().kad;
    kad.add_address(&relay.peer_id, relay.ws());
    peer
}

async fn provide(peer: &mut Client, key: RecordKey) {
    let kad = &mut peer.swarm.behaviour_mut().kad;
    kad.start_providing(key).unwrap();
    peer.until(|event| match event {
        SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
            result: QueryResult::StartProviding(done),
            ..
        })) => Some(done.unwrap()),
        _ => None,
    })
    .await;
}

async fn providers(peer: &mut Client, key: RecordKey) -> Vec<PeerId> {
    peer.swarm.behaviour_mut().kad.get_providers(key);
    let mut found = Vec::new();
    peer.until(|event| match event {
        SwarmEvent::Behaviour(BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
            result: QueryResult::GetProviders(progress),
            step: ProgressStep { last, .. },
            ..
        })) => {
            if let GetProvidersOk::FoundProviders { providers, .. } = progress.unwrap() {
                found.extend(providers);
            }
            last.then_some(())
        }
        _ => None,
    })
    .await;
    found
}

/// Writes bytes on a stream of Kademlia's; what comes back until its end.
async fn say(peer: &mut Client, relay: &Running, bytes: &[u8]) -> Vec<u8> {
    let mut control = peer.swarm.behaviour().stream.new_control();
    let talk = async {
        let protocol = StreamProtocol::new(KAD_PROTOCOL);
        let mut stream = control.open_stream(relay.peer_id, protocol).await.unwrap();
        let mut back = Vec::new();
        // The relay may hang up at any point.
        if stream.write_all(bytes).await.is_ok() && stream.close().await.is_ok() {
            stream.read_to_end(&mut back).await.ok();
        }
        back
    };
    let driven = async {
        tokio::select! {
            back = talk => back,
            () = async { loop { peer.until(|_| Some(())).await } } => unreachable!(),
        }
    };
    timeout(HANG, driven).await.unwrap()
}

/// A message of Kademlia's that names a provider.
fn message(kind: u8, key: &[u8], provider: PeerId, address: &Multiaddr) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut field = vec![number << 3 | 2];
        field.extend(length(bytes.len()));
        field.extend(bytes);
        field
    };
    let peer = [field(1, &provider.to_bytes()), field(2, &address.to_vec())].concat();
    let record = [field(1, key), field(2, b"value")].concat();
    let body = [
        vec![8, kind],
        field(2, key),
        field(3, &record),
        field(9, &peer),
    ]
    .concat();
    [length(body.len()), body].concat()
}

fn length(n_bytes: usize) -> Vec<u8> {
    match u8::try_from(n_bytes) {
        Ok(n @ 0..=127) => vec![n],
        _ => vec![(n_bytes % 128) as u8 | 128, (n_bytes / 128) as u8],
    }
}

#[tokio::test]
async fn who_provides_is_found_with_a_way_there() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let mut provider = placed(&relay).await;
    provide(&mut provider, key("model")).await;
    let id = provider.peer_id();
    let _provider = provider.go_on();
    relay.await_metric("thrum_relay_provider_records 1").await;

    let mut asker = placed(&relay).await;
    assert_eq!(providers(&mut asker, key("model")).await, [id]);
    assert!(providers(&mut asker, key("another")).await.is_empty());
    let through = relay
        .ws()
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(id));
    asker.meet(id, through).await;
}

#[tokio::test]
async fn nobody_provides_in_anothers_name_and_no_value_is_kept() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let mut liar = placed(&relay).await;
    let victim = PeerId::random();
    let address = relay.ws().with(Protocol::P2pCircuit);
    say(
        &mut liar,
        &relay,
        &message(ADD_PROVIDER, b"k", victim, &address),
    )
    .await;
    let direct: Multiaddr = "/ip4/192.0.2.1/tcp/22/ws".parse().unwrap();
    let own = liar.peer_id();
    say(
        &mut liar,
        &relay,
        &message(ADD_PROVIDER, b"k", own, &direct),
    )
    .await;
    say(&mut liar, &relay, &message(PUT_VALUE, b"k", own, &address)).await;
    for reason in ["Unreachable", "Value"] {
        let line = format!("thrum_relay_provider_records_refused_total{{reason=\"{reason}\"}} 1");
        relay.await_metric(&line).await;
    }
    // What is true is kept, so that the others were refused for what they say.
    say(
        &mut liar,
        &relay,
        &message(ADD_PROVIDER, b"k", own, &address),
    )
    .await;
    relay.await_metric("thrum_relay_provider_records 1").await;
    let mut asker = placed(&relay).await;
    assert_eq!(providers(&mut asker, RecordKey::new(b"k")).await, [own]);
}

#[tokio::test]
async fn a_flood_of_keys_and_of_bytes_is_bounded() {
    let (_site, config) = rig::site();
    let relay = rig::start(config).await;
    let mut flooder = placed(&relay).await;
    let (own, address) = (flooder.peer_id(), relay.ws().with(Protocol::P2pCircuit));
    for n in 0..2 * MAX_KEYS_PER_PROVIDER {
        let key = n.to_be_bytes();
        say(
            &mut flooder,
            &relay,
            &message(ADD_PROVIDER, &key, own, &address),
        )
        .await;
    }
    let refused = "thrum_relay_provider_records_refused_total{reason=\"TooManyOfPeer\"} ";
    relay
        .await_metric(&format!("{refused}{MAX_KEYS_PER_PROVIDER}"))
        .await;
    let kept = format!("thrum_relay_provider_records {MAX_KEYS_PER_PROVIDER}");
    relay.await_metric(&kept).await;

    let oversized = [vec![0xFF, 0xFF, 0x7F], vec![0; 4 * MAX_KAD_MESSAGE_BYTES]].concat();
    for bytes in [&oversized[..], &[0xFF; 64], b"\x05garba", &[0; 1024]] {
        say(&mut flooder, &relay, bytes).await;
    }
    let mut honest = placed(&relay).await;
    provide(&mut honest, key("model")).await;
    let _honest = honest.go_on();
    let more = format!("thrum_relay_provider_records {}", MAX_KEYS_PER_PROVIDER + 1);
    relay.await_metric(&more).await;
}
