//! The libp2p protocols a tab speaks, and the transports under them.

use super::fenced::Fenced;
use super::gossip::{self, Gossipsub};
use super::table::{self, Kad};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _, connection_limits, identify, noise, ping, relay,
    rendezvous, websocket_websys, yamux,
};
use std::time::Duration;
use thrum_protocol::PROTOCOL;
use thrum_rtc::browser::{Config, Control, DirectTransport};

/// s; the machine decides when a connection is of no more use, not a timer of libp2p. A week: the
/// browser's timers hold 24 days at most.
const IDLE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// count; relays and a roster of peers, each twice for the case that both sides dial.
const MAX_CONNECTIONS: u32 = 80;

/// count; both sides dial at once, and a reconnect overlaps with what it replaces.
const MAX_CONNECTIONS_PER_PEER: u32 = 4;

/// count; connections that are being made at once, each way.
const MAX_PENDING: u32 = 16;

/// s; how often a connection is measured. A dead one is known after this and [`PING_TIMEOUT`].
const PING_PERIOD: Duration = Duration::from_secs(15);

/// s; a page that is hidden answers at once; one that is frozen does not.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What the tab speaks.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    relay: relay::client::Behaviour,
    rtc: thrum_rtc::behaviour::Behaviour,
    pub(super) rendezvous: rendezvous::client::Behaviour,
    pub(super) gossip: Fenced<Gossipsub>,
    pub(super) kad: Fenced<Kad>,
    pub(super) streams: libp2p_stream::Behaviour,
}

/// A swarm on the page's thread with nothing connected yet.
pub(super) fn swarm(keypair: &Keypair, agent: String) -> (Swarm<Behaviour>, Control) {
    let peer_id = PeerId::from(keypair.public());
    let (circuits, relay) = relay::client::new(peer_id);
    let (tabs, rtc, tab_links) = thrum_rtc::browser::new(peer_id, Config::default());
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(MAX_PENDING))
        .with_max_pending_outgoing(Some(MAX_PENDING));
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        identify: identify::Behaviour::new(
            identify::Config::new(PROTOCOL.to_owned(), keypair.public()).with_agent_version(agent),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(PING_PERIOD)
                .with_timeout(PING_TIMEOUT),
        ),
        relay,
        rtc,
        rendezvous: rendezvous::client::Behaviour::new(keypair.clone()),
        gossip: gossip::behaviour(),
        kad: table::behaviour(peer_id),
        streams: libp2p_stream::Behaviour::new(),
    };
    let config = libp2p::swarm::Config::with_wasm_executor().with_idle_connection_timeout(IDLE);
    let transport = transport(keypair, tabs, circuits);
    let mut swarm = Swarm::new(transport, behaviour, peer_id, config);
    swarm
        .listen_on(Multiaddr::empty().with(Protocol::WebRTC))
        .expect("the transport of tabs takes this address");
    (swarm, tab_links)
}

/// Tabs first, then circuits: of the addresses with `/p2p-circuit` those with `/webrtc` are theirs,
/// and all others the circuits'.
fn transport(
    keypair: &Keypair,
    tabs: thrum_rtc::browser::Transport,
    circuits: relay::client::Transport,
) -> Boxed<(PeerId, StreamMuxerBox)> {
    let secured = || noise::Config::new(keypair).expect("noise signs with any Ed25519 key");
    let circuits = circuits
        .upgrade(Version::V1Lazy)
        .authenticate(secured())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let websocket = websocket_websys::Transport::default()
        .upgrade(Version::V1Lazy)
        .authenticate(secured())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let webrtc = DirectTransport::new(keypair)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    tabs.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(circuits)
        .map(|either, _| either.into_inner())
        .or_transport(webrtc)
        .map(|either, _| either.into_inner())
        .or_transport(websocket)
        .map(|either, _| either.into_inner())
        .boxed()
}
