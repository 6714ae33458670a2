//! The browser's side: real connections, channels and signalling streams.

mod bindings;
mod channel;
mod clock;
mod connection;
mod direct;
mod gather;
mod handshake;
mod peer_connection;
mod shared;
mod stats;
mod substream;
mod transport;
mod turn;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::rc::{Rc, Weak};

use libp2p::PeerId;
use send_wrapper::SendWrapper;

pub use connection::Connection;
pub use direct::DirectTransport;
pub use gather::{Gathered, gather};
pub use stats::{CandidateKind, LinkStats};
pub use substream::Substream;
pub use transport::Transport;

use crate::behaviour::{Behaviour, link};
use crate::error::ConnectError;
use shared::Shared;

/// A connection that is being made.
type Made = Pin<Box<dyn Future<Output = Result<(PeerId, Connection), ConnectError>> + Send>>;

/// A server that helps to find a way, as in `RTCIceServer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: Vec<String>,
    /// For TURN.
    pub username: Option<String>,
    /// For TURN.
    pub credential: Option<String>,
}

/// What connections are made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Asked for ways; none finds peers of the same network only.
    pub ice_servers: Vec<IceServer>,
    /// Whether only ways through TURN are taken.
    pub relay_only: bool,
}

/// What connections are made with, and what became of them.
#[derive(Clone)]
pub struct Control(SendWrapper<Rc<Controlled>>);

#[derive(Default)]
struct Controlled {
    config: RefCell<Config>,
    /// servers for connections to these peers alone
    servers_for: RefCell<BTreeMap<PeerId, Vec<IceServer>>>,
    connections: RefCell<Vec<(PeerId, Weak<Shared>)>>,
}

impl Control {
    /// What the next connection is made with.
    pub fn config(&self) -> Config {
        self.0.config.borrow().clone()
    }

    /// Changes what the next connections are made with.
    pub fn set_config(&self, config: Config) {
        *self.0.config.borrow_mut() = config;
    }

    /// Gives the next connections to a peer that this side dials more servers than others have;
    /// none takes them back.
    pub fn set_servers_for(&self, peer: PeerId, servers: Vec<IceServer>) {
        let mut servers_for = self.0.servers_for.borrow_mut();
        if servers.is_empty() {
            servers_for.remove(&peer);
        } else {
            servers_for.insert(peer, servers);
        }
    }

    fn config_for(&self, peer: PeerId) -> Config {
        let mut config = self.config();
        if let Some(servers) = self.0.servers_for.borrow().get(&peer) {
            config.ice_servers.extend(servers.iter().cloned());
        }
        config
    }

    /// What the browser measures of the newest connection to a peer; none where none stands.
    pub fn stats(&self, peer: PeerId) -> impl Future<Output = Option<LinkStats>> + use<> {
        let connections = self.0.connections.borrow();
        let mut newest = connections.iter().rev().filter(|(of, _)| *of == peer);
        let shared = newest.find_map(|(_, shared)| shared.upgrade());
        async move { stats::stats(shared?.inner()).await }
    }

    fn connected(&self, peer: PeerId, shared: &Rc<Shared>) {
        let mut connections = self.0.connections.borrow_mut();
        connections.retain(|(_, shared)| shared.strong_count() > 0);
        connections.push((peer, Rc::downgrade(shared)));
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Control").field(&self.config()).finish()
    }
}

/// A transport and the behaviour that it needs in the same swarm.
pub fn new(local: PeerId, config: Config) -> (Transport, Behaviour, Control) {
    let (behaviour, link) = link(local);
    let control = Control(SendWrapper::new(Rc::default()));
    control.set_config(config);
    (Transport::new(link, control.clone()), behaviour, control)
}
