//! Owns what the relay speaks: its transports, its protocols and their limits.

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::request_response::ProtocolSupport;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, connection_limits, identify, kad, noise, ping, relay,
    request_response, tcp, websocket, yamux,
};
use prometheus_client::registry::Registry;
use thrum_protocol::KAD_PROTOCOL;
use tokio_rustls::TlsAcceptor;

use super::flushed::Flushed;
use super::secured::Secured;
use super::{NetworkError, outgoing};
use crate::address_cap;
use crate::config::Config;
use crate::identity::Identity;
use crate::limits;
use crate::providers::Providers;
use crate::rendezvous::wire as rendezvous;

/// Everything a relay speaks. The caps come first, so that the others see nobody refused.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) outgoing: outgoing::Behaviour,
    pub(super) address_cap: address_cap::Behaviour,
    pub(super) connection_limits: connection_limits::Behaviour,
    pub(super) relay: relay::Behaviour,
    pub(super) rendezvous: request_response::Behaviour<rendezvous::Codec>,
    pub(super) kad: kad::Behaviour<Providers>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
    pub(super) stream: libp2p_stream::Behaviour,
}

pub(super) fn build(
    config: &Config,
    identity: Identity,
    acceptor: Option<TlsAcceptor>,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, NetworkError> {
    let Identity {
        keypair,
        certificate,
    } = identity;
    let failed = |error: &dyn std::error::Error| NetworkError::Transport(error.to_string());
    let Ok(builder) = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_other_transport(|keypair| {
            let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
            let mut websocket = websocket::Config::new(Secured::new(tcp, acceptor));
            websocket.set_max_data_size(limits::MAX_WEBSOCKET_MESSAGE_BYTES);
            let mut yamux = yamux::Config::default();
            yamux.set_max_num_streams(limits::MAX_STREAMS_PER_CONNECTION);
            let transport = websocket
                .upgrade(Version::V1Lazy)
                .authenticate(noise::Config::new(keypair)?)
                .multiplex(yamux);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(transport)
        })
        .map_err(|error| failed(&error))?
        .with_other_transport(|keypair| {
            let transport = libp2p_webrtc::tokio::Transport::new(keypair.clone(), certificate);
            transport.map(|(peer, muxer), _| (peer, Flushed(StreamMuxerBox::new(muxer))))
        });
    let Ok(builder) = builder
        .with_bandwidth_metrics(registry)
        .with_behaviour(|keypair| behaviour(config, keypair));
    let swarm = builder
        .with_swarm_config(|swarm| {
            swarm.with_idle_connection_timeout(limits::IDLE_CONNECTION_TIMEOUT)
        })
        .with_connection_timeout(limits::HANDSHAKE_TIMEOUT)
        .build();
    Ok(swarm)
}

fn behaviour(config: &Config, keypair: &Keypair) -> Behaviour {
    let connection_limits = connection_limits::ConnectionLimits::default()
        .with_max_established(Some(config.max_connections))
        .with_max_established_per_peer(Some(limits::MAX_CONNECTIONS_PER_PEER))
        .with_max_pending_incoming(Some(limits::MAX_PENDING_CONNECTIONS))
        .with_max_pending_outgoing(Some(limits::MAX_FEDERATED_RELAYS as u32));
    let rendezvous = request_response::Behaviour::new(
        [(rendezvous::PROTOCOL, ProtocolSupport::Inbound)],
        request_response::Config::default()
            .with_request_timeout(limits::HANDSHAKE_TIMEOUT)
            .with_max_concurrent_streams(limits::MAX_RENDEZVOUS_STREAMS),
    );
    let federated = config.federated().into_keys().collect();
    let identify = identify::Config::new(crate::PROTOCOL.to_owned(), keypair.public())
        .with_agent_version(format!("thrum-relay/{}", crate::VERSION));
    Behaviour {
        outgoing: outgoing::Behaviour::new(federated),
        address_cap: address_cap::Behaviour::new(config.max_connections_per_ip),
        connection_limits: connection_limits::Behaviour::new(connection_limits),
        relay: relay::Behaviour::new(
            keypair.public().to_peer_id(),
            relay_config(config.max_connections_per_ip),
        ),
        rendezvous,
        kad: kad_server(keypair),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new()),
        stream: libp2p_stream::Behaviour::new(),
    }
}

/// Answers who provides what. It asks nobody: its routing table holds federated relays only, for
/// those who ask it to go on to.
fn kad_server(keypair: &Keypair) -> kad::Behaviour<Providers> {
    let mut config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    config
        .set_caching(kad::Caching::Disabled)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_max_packet_size(limits::MAX_KAD_MESSAGE_BYTES)
        .set_periodic_bootstrap_interval(None)
        .set_provider_publication_interval(None)
        .set_provider_record_ttl(Some(limits::PROVIDER_LIFE))
        .set_publication_interval(None)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None);
    let own = keypair.public().to_peer_id();
    let mut kad = kad::Behaviour::with_config(own, Providers::default(), config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn relay_config(max_connections_per_ip: u32) -> relay::Config {
    let (n_reservations_per_peer, reservation_per_peer) = limits::RESERVATION_BURST_PER_PEER;
    let (n_reservations_per_ip, reservation_per_ip) =
        limits::reservations_per_ip(max_connections_per_ip);
    let (n_circuits_per_peer, circuit_per_peer) = limits::CIRCUIT_BURST_PER_PEER;
    let (n_circuits_per_ip, circuit_per_ip) = limits::circuits_per_ip(max_connections_per_ip);
    relay::Config {
        max_reservations: limits::MAX_RESERVATIONS,
        max_reservations_per_peer: limits::MAX_RESERVATIONS_PER_PEER,
        reservation_duration: limits::RESERVATION_DURATION,
        reservation_rate_limiters: Vec::new(),
        max_circuits: limits::MAX_CIRCUITS,
        max_circuits_per_peer: limits::MAX_CIRCUITS_PER_PEER,
        max_circuit_duration: limits::MAX_CIRCUIT_DURATION,
        max_circuit_bytes: limits::MAX_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    }
    .reservation_rate_per_peer(n_reservations_per_peer, reservation_per_peer)
    .reservation_rate_per_ip(n_reservations_per_ip, reservation_per_ip)
    .circuit_src_per_peer(n_circuits_per_peer, circuit_per_peer)
    .circuit_src_per_ip(n_circuits_per_ip, circuit_per_ip)
}
