//! Owns the UDP sockets of STUN and TURN, and drives [`crate::turn`] with them.
//!
//! Every socket has one reader that waits when the server is behind, so that a flood is dropped by
//! the kernel and fills no memory.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::registry::Registry;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::{Config, PortRange};
use crate::limits::{MAX_DATAGRAM_BYTES, MAX_WAITING_DATAGRAMS};
use crate::metrics::turn::TurnMetrics;
use crate::turn::secret::Secret;
use crate::turn::{Client, Input, Now, Output, RelayId, Server, Terms};

/// After a failed read, which is usually a lack of something in the system.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// Ports tried for one allocation; the range may hold more than the machine has free.
const MAX_PORTS_TRIED: u32 = 512;

/// The address is taken, or not this machine's.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot answer STUN on {address}: {source}; choose another with --stun <address:port>, where \
     port 0 takes any free one"
)]
pub struct StunError {
    /// Where it should have listened.
    address: SocketAddr,
    /// What the system said.
    source: std::io::Error,
}

/// A datagram that a reader took from its socket.
struct Datagram<From> {
    at: From,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// A socket and the task that reads it; dropped, both end.
struct Open {
    socket: Arc<UdpSocket>,
    reader: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// The sockets, once they are taken.
pub(crate) struct Udp {
    server: Server,
    started: Instant,
    clients: Vec<Open>,
    from_clients: mpsc::Receiver<Datagram<usize>>,
    relays: BTreeMap<RelayId, Open>,
    from_peers: mpsc::Receiver<Datagram<RelayId>>,
    to_from_peers: mpsc::Sender<Datagram<RelayId>>,
    relay_ip: IpAddr,
    relay_ports: PortRange,
    metrics: TurnMetrics,
}

impl Udp {
    /// Takes the STUN sockets of `config`, which may be none.
    pub(crate) async fn bind(
        config: &Config,
        secret: Secret,
        registry: &mut Registry,
    ) -> Result<Self, StunError> {
        let (to_from_clients, from_clients) = mpsc::channel(MAX_WAITING_DATAGRAMS);
        let (to_from_peers, from_peers) = mpsc::channel(MAX_WAITING_DATAGRAMS);
        let mut clients = Vec::new();
        for (number, &address) in config.stun.iter().enumerate() {
            let socket = bind_near(address)
                .await
                .map_err(|source| StunError { address, source })?;
            clients.push(open(socket, number, to_from_clients.clone()));
        }
        let terms = config.turn_ip().map(|relayed_ip| Terms {
            relayed_ip,
            allow_private: config.turn_allow_private,
        });
        let metrics = TurnMetrics::default();
        metrics.register(registry);
        Ok(Self {
            server: Server::new(terms, secret, rand::random()),
            started: Instant::now(),
            clients,
            from_clients,
            relays: BTreeMap::new(),
            from_peers,
            to_from_peers,
            relay_ip: config
                .stun
                .first()
                .map_or(Ipv4Addr::LOCALHOST.into(), SocketAddr::ip),
            relay_ports: config.turn_ports,
            metrics,
        })
    }

    /// Where STUN is answered; the real ports also where 0 was asked for.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let sockets = self.clients.iter();
        sockets
            .filter_map(|open| open.socket.local_addr().ok())
            .collect()
    }

    /// Answers until `stop` says so.
    pub(crate) async fn run(mut self, stop: watch::Receiver<bool>) {
        let mut stopped = pin!(crate::stopped(stop));
        loop {
            let wake = self.server.next_wake().map(|at| self.started + at);
            tokio::select! {
                () = &mut stopped => return,
                Some(Datagram { at, from, bytes }) = self.from_clients.recv() => {
                    let client = Client { socket: at, address: from };
                    self.handle(Input::FromClient { client, bytes: &bytes });
                }
                Some(Datagram { at, from, bytes }) = self.from_peers.recv() => {
                    self.handle(Input::FromPeer { relay: at, peer: from, bytes: &bytes });
                }
                () = until(wake) => self.handle(Input::Wake),
            }
            while let Some(output) = self.server.poll() {
                self.perform(output).await;
            }
            self.metrics.show(&self.server);
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = Now {
            elapsed: self.started.elapsed(),
            unix_secs: unix.map_or(0, |since| since.as_secs()),
        };
        self.server.handle(now, input);
    }

    async fn perform(&mut self, output: Output) {
        match output {
            Output::Close { relay } => {
                self.relays.remove(&relay);
            }
            Output::Open { relay } => {
                let port = self.open_relay(relay);
                self.handle(Input::Opened { relay, port });
            }
            Output::ToClient { client, bytes } => {
                if let Some(open) = self.clients.get(client.socket) {
                    send(&open.socket, client.address, &bytes).await;
                }
            }
            Output::ToPeer { relay, peer, bytes } => {
                if let Some(open) = self.relays.get(&relay) {
                    send(&open.socket, peer, &bytes).await;
                }
            }
        }
    }

    /// Takes a port of the range, beginning anywhere in it.
    fn open_relay(&mut self, relay: RelayId) -> Option<u16> {
        let n_ports = self.relay_ports.len();
        let first: u32 = rand::random_range(0..n_ports);
        let bound = (0..n_ports.min(MAX_PORTS_TRIED)).find_map(|step| {
            let port = self.relay_ports.nth((first + step) % n_ports);
            let socket = std::net::UdpSocket::bind((self.relay_ip, port)).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((UdpSocket::from_std(socket).ok()?, port))
        });
        let Some((socket, port)) = bound else {
            tracing::warn!(ports = %self.relay_ports, "no port is free for a TURN allocation");
            return None;
        };
        let open = open(socket, relay, self.to_from_peers.clone());
        self.relays.insert(relay, open);
        Some(port)
    }
}

/// Takes a port that is free where somebody has that of the default: a second relay on a machine,
/// or a STUN server that was there before. `/api/relay` says which it is.
async fn bind_near(address: SocketAddr) -> io::Result<UdpSocket> {
    match UdpSocket::bind(address).await {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && Config::default().stun.contains(&address) =>
        {
            tracing::warn!(%address, "somebody answers there already; taking a free port");
            UdpSocket::bind((address.ip(), 0)).await
        }
        bound => bound,
    }
}

fn open<From: Copy + Send + 'static>(
    socket: UdpSocket,
    at: From,
    to: mpsc::Sender<Datagram<From>>,
) -> Open {
    let socket = Arc::new(socket);
    let reader = tokio::spawn(read(Arc::clone(&socket), at, to));
    Open { socket, reader }
}

/// Hands on what comes to the socket. A datagram over the limit arrives one byte over it, and is
/// counted as such.
async fn read<From: Copy>(socket: Arc<UdpSocket>, at: From, to: mpsc::Sender<Datagram<From>>) {
    let mut buffer = [0; MAX_DATAGRAM_BYTES + 1];
    loop {
        let (n_bytes, from) = match socket.recv_from(&mut buffer).await {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(%error, "cannot read a UDP socket");
                sleep(READ_PAUSE).await;
                continue;
            }
        };
        let datagram = Datagram {
            at,
            from: SocketAddr::new(from.ip().to_canonical(), from.port()),
            bytes: buffer[..n_bytes].to_vec(),
        };
        if to.send(datagram).await.is_err() {
            return;
        }
    }
}

/// Sends one datagram; one that cannot be sent is lost, as any may be.
async fn send(socket: &UdpSocket, to: SocketAddr, bytes: &[u8]) {
    let is_v6 = socket.local_addr().is_ok_and(|local| local.is_ipv6());
    let ip = match to.ip() {
        IpAddr::V4(ip) if is_v6 => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V4(_) | IpAddr::V6(_) => to.ip(),
    };
    if let Err(error) = socket.send_to(bytes, (ip, to.port())).await {
        tracing::trace!(%error, "a datagram was not sent");
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
