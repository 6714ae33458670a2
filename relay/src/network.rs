//! Owns the libp2p side: the listeners, the protocols that a relay speaks, and their limits.
//!
//! Peers come to it, reserve, register, and meet through circuits; it dials federated relays only.

pub(crate) mod credentials;
mod federated;
mod flushed;
mod lookups;
mod meeting;
mod newest;
mod outgoing;
mod secured;
mod swarm;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{ConnectionId, ListenError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, ping, relay};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsAcceptor;

pub(crate) use federated::Directory;

use crate::address_cap::Refusal;
use crate::config::Config;
use crate::federation::redial::Redial;
use crate::identity::Identity;
use crate::limits;
use crate::metrics::{FederationMetrics, NetworkMetrics};
use crate::network::credentials::Desk;
use crate::network::federated::{Federation, Registrations};
use crate::network::newest::Newest;
use crate::network::swarm::{Behaviour, BehaviourEvent};

/// Which addresses the two listeners hold at this moment; none: that listener is down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listening {
    pub(crate) ws: Vec<Multiaddr>,
    pub(crate) webrtc: Vec<Multiaddr>,
}

/// Why the libp2p side cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The port is taken, or the address is not this machine's.
    #[error(
        "cannot listen for {what} on {address}: {reason}; choose another with {flag} \
         <address:port>, where port 0 takes any free one"
    )]
    Listen {
        /// The transport.
        what: &'static str,
        /// Where it should have listened.
        address: std::net::SocketAddr,
        /// The flag that changes the address.
        flag: &'static str,
        /// What the system said.
        reason: String,
    },
    /// A listener was made and never said where it listens.
    #[error("no listening address within {} s: {missing}", after.as_secs())]
    Silent {
        /// The listener.
        missing: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The transports could not be put together.
    #[error("cannot set up the transports: {0}")]
    Transport(String),
}

/// The running libp2p side.
pub(crate) struct Network {
    swarm: Swarm<Behaviour>,
    ws_listener: ListenerId,
    webrtc_listener: ListenerId,
    /// What is announced instead of the listening addresses; empty: those.
    announce: Vec<Multiaddr>,
    listening: watch::Sender<Listening>,
    metrics: NetworkMetrics,
    registrations: Registrations,
    federation: Federation,
    registering: BTreeMap<PeerId, RegistrationWindow>,
    newest: Newest,
    /// Hands out TURN credentials; `None`: there is no TURN.
    desk: Option<Desk>,
}

/// How often a connected peer registered since the window began.
struct RegistrationWindow {
    began: Instant,
    n_registrations: u32,
}

impl Listening {
    /// What is shown to others: the announced addresses, where there are some.
    pub(crate) fn shown<'a>(
        &'a self,
        announced: &'a [Multiaddr],
    ) -> impl Iterator<Item = &'a Multiaddr> {
        let own = self.ws.iter().chain(&self.webrtc);
        let own = own.filter(|_| announced.is_empty());
        announced.iter().chain(own)
    }
}

impl Network {
    /// Listens on both transports, and waits until both say where.
    pub(crate) async fn bind(
        config: &Config,
        identity: Identity,
        acceptor: Option<TlsAcceptor>,
        desk: Option<Desk>,
        registry: &mut Registry,
    ) -> Result<Self, NetworkError> {
        let certificate_hash =
            Protocol::Certhash(identity.certificate.fingerprint().to_multihash());
        let mut swarm = swarm::build(config, identity, acceptor, registry)?;
        let announce: Vec<_> = config
            .announce
            .iter()
            .map(|address| with_certificate_hash(address, &certificate_hash))
            .collect();
        for address in &announce {
            swarm.add_external_address(address.clone());
        }

        let ws = Multiaddr::from(config.ws.ip())
            .with(Protocol::Tcp(config.ws.port()))
            .with(Protocol::Ws("/".into()));
        let webrtc = Multiaddr::from(config.webrtc.ip())
            .with(Protocol::Udp(config.webrtc.port()))
            .with(Protocol::WebRTCDirect);
        let refused = |what, address, flag| {
            move |error: libp2p::TransportError<std::io::Error>| NetworkError::Listen {
                what,
                address,
                flag,
                reason: reason_of(&error),
            }
        };
        let ws_listener = swarm
            .listen_on(ws)
            .map_err(refused("WebSocket", config.ws, "--ws"))?;
        let webrtc_listener =
            swarm
                .listen_on(webrtc)
                .map_err(refused("webrtc-direct", config.webrtc, "--webrtc"))?;

        let metrics = NetworkMetrics::default();
        metrics.register(registry);
        let federation_metrics = FederationMetrics::default();
        federation_metrics.register(registry);
        let registrations = Registrations::new();
        let redial = Redial::new(config.federated(), rand::random());
        let federation = Federation::new(redial, registrations.clone(), federation_metrics);
        let mut network = Self {
            swarm,
            ws_listener,
            webrtc_listener,
            announce,
            listening: watch::Sender::new(Listening::default()),
            metrics,
            registrations,
            federation,
            registering: BTreeMap::new(),
            newest: Newest::default(),
            desk,
        };
        network.await_addresses().await?;
        Ok(network)
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    pub(crate) fn announce(&self) -> &[Multiaddr] {
        &self.announce
    }

    pub(crate) fn federated(&self) -> watch::Receiver<Directory> {
        self.federation.directory()
    }

    pub(crate) fn listening(&self) -> watch::Receiver<Listening> {
        self.listening.subscribe()
    }

    /// Serves peers until `stop` says so, then closes every listener and connection.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) {
        let control = self.swarm.behaviour().stream.new_control();
        let mut telling = self.telling(&control);
        let mut directory = self.federated();
        let mut desk = pin!(credentials::serve(self.desk.take(), control));
        let mut stopped = pin!(crate::stopped(stop));
        let mut sweep = interval(limits::SWEEP_PERIOD);
        let mut redial = interval(limits::REDIAL_PERIOD);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                () = &mut desk => {}
                _ = sweep.tick() => self.sweep(),
                _ = redial.tick() => self.redial(),
                Some((relay, stream)) = telling.next() => self.federation.listen(relay, stream),
                () = self.federation.next_ended() => {}
                Ok(()) = directory.changed() => self.follow_directory(),
                () = &mut stopped => break,
            }
        }
        self.swarm.remove_listener(self.ws_listener);
        self.swarm.remove_listener(self.webrtc_listener);
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            self.swarm.disconnect_peer_id(peer).ok(); // It may have left by itself.
        }
        while self.swarm.connected_peers().next().is_some() {
            let event = self.swarm.select_next_some().await;
            self.handle(event);
        }
    }

    async fn await_addresses(&mut self) -> Result<(), NetworkError> {
        let both_up = async {
            loop {
                let event = self.swarm.select_next_some().await;
                self.handle(event);
                let listening = self.listening.borrow();
                if !listening.ws.is_empty() && !listening.webrtc.is_empty() {
                    return;
                }
            }
        };
        let after = limits::LISTEN_TIMEOUT;
        if timeout(after, both_up).await.is_err() {
            let missing = if self.listening.borrow().ws.is_empty() {
                "WebSocket"
            } else {
                "webrtc-direct"
            };
            return Err(NetworkError::Silent { missing, after });
        }
        Ok(())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's events, of which we need some"
    )]
    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.metrics
                    .connected(connection_id, endpoint.get_remote_address());
                self.newest.connected(peer_id, connection_id);
                tracing::debug!(%peer_id, "connected");
                if self.federation.redial.knows(&peer_id) {
                    let control = self.swarm.behaviour().stream.new_control();
                    let own = self.own_addresses();
                    self.federation.connected(peer_id, control, own);
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                num_established,
                cause,
                ..
            } => {
                self.metrics.disconnected(connection_id);
                self.newest.disconnected(peer_id, connection_id);
                if num_established == 0 {
                    self.metrics.gone(peer_id);
                    self.registering.remove(&peer_id);
                    self.registrations.with(|_, store| store.left(peer_id));
                    self.count_registrations();
                    self.federation.disconnected(&peer_id);
                }
                tracing::debug!(%peer_id, cause = cause.map(|c| c.to_string()), "disconnected");
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                tracing::debug!(%peer, %error, "a dial failed");
                if !self.swarm.is_connected(&peer) {
                    self.federation.disconnected(&peer);
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                if let ListenError::Denied { cause } = &error {
                    let refusal = cause.downcast_ref::<Refusal>();
                    let reason = refusal.map_or("TooManyInAll", Refusal::name);
                    self.metrics.refused(reason);
                    tracing::debug!(reason, "connection refused");
                } else {
                    self.metrics.failed();
                    tracing::debug!(%error, "handshake failed");
                }
            }
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                self.add_address(listener_id, address);
            }
            SwarmEvent::ExpiredListenAddr {
                listener_id,
                address,
            } => {
                self.remove_addresses(listener_id, &[address]);
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                addresses,
                reason,
            } => {
                if let Err(error) = reason {
                    tracing::error!(%error, "a listener closed; restart the relay");
                }
                self.remove_addresses(listener_id, &addresses);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener had an error and goes on");
            }
            _ => {}
        }
    }

    fn handle_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Relay(event) => {
                tracing::debug!(?event, "relay");
                self.metrics.on_relay(&event);
                if let relay::Event::ReservationReqAccepted {
                    src_peer_id,
                    renewed: false,
                } = event
                {
                    for connection in self.newest.replaced(&src_peer_id) {
                        self.swarm.close_connection(connection);
                    }
                }
            }
            BehaviourEvent::Rendezvous(event) => self.on_rendezvous(event),
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result,
            }) => {
                if let Err(ping::Failure::Timeout) = result {
                    self.drop_silent(peer, connection);
                }
            }
            BehaviourEvent::Kad(event) => self.on_kad(event),
            BehaviourEvent::Identify(event) => tracing::trace!(?event, "identify"),
            BehaviourEvent::Stream(()) => {}
            BehaviourEvent::AddressCap(never)
            | BehaviourEvent::ConnectionLimits(never)
            | BehaviourEvent::Outgoing(never) => match never {},
        }
    }

    /// A tab that vanished must not stay reachable on paper.
    fn drop_silent(&mut self, peer: PeerId, connection: ConnectionId) {
        if self.swarm.close_connection(connection) {
            tracing::debug!(%peer, "no answer to ping; connection closed");
        }
    }

    fn slow_down(&mut self, peer: PeerId) {
        let now = Instant::now();
        let window = self.registering.entry(peer).or_insert(RegistrationWindow {
            began: now,
            n_registrations: 0,
        });
        if now.duration_since(window.began) > limits::REGISTRATION_WINDOW {
            *window = RegistrationWindow {
                began: now,
                n_registrations: 0,
            };
        }
        window.n_registrations += 1;
        if window.n_registrations > limits::MAX_REGISTRATIONS_PER_WINDOW {
            tracing::warn!(%peer, "disconnected: it registers too often");
            self.swarm.disconnect_peer_id(peer).ok(); // It may have left by itself.
        }
    }

    fn add_address(&mut self, listener: ListenerId, address: Multiaddr) {
        tracing::debug!(%address, "listening");
        if self.announce.is_empty() {
            self.swarm.add_external_address(address.clone());
        }
        let is_ws = listener == self.ws_listener;
        self.listening.send_modify(|listening| {
            if is_ws {
                &mut listening.ws
            } else {
                &mut listening.webrtc
            }
            .push(address);
        });
    }

    fn remove_addresses(&mut self, listener: ListenerId, addresses: &[Multiaddr]) {
        for address in addresses {
            if self.announce.is_empty() {
                self.swarm.remove_external_address(address);
            }
        }
        let is_ws = listener == self.ws_listener;
        self.listening.send_modify(|listening| {
            if is_ws {
                &mut listening.ws
            } else {
                &mut listening.webrtc
            }
            .retain(|address| !addresses.contains(address));
        });
    }
}

/// Completes an announced webrtc-direct address, which is useless without the hash.
fn with_certificate_hash(address: &Multiaddr, hash: &Protocol<'static>) -> Multiaddr {
    let has_hash = address
        .iter()
        .any(|part| matches!(part, Protocol::Certhash(_)));
    let is_webrtc = address.iter().any(|part| part == Protocol::WebRTCDirect);
    if is_webrtc && !has_hash {
        address.clone().with(hash.clone())
    } else {
        address.clone()
    }
}

/// The deepest cause, which is what the system said.
fn reason_of(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
