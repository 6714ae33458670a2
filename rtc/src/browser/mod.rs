//! The browser's side: real connections, channels and signalling streams.

mod bindings;
mod channel;
mod clock;
mod connection;
mod handshake;
mod peer_connection;
mod substream;
mod transport;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use libp2p::PeerId;
use send_wrapper::SendWrapper;

pub use connection::Connection;
pub use substream::Substream;
pub use transport::Transport;

use crate::behaviour::{Behaviour, link};

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

/// What the next connections are made with: it can be changed at any time.
#[derive(Clone)]
pub struct IceServers(SendWrapper<Rc<RefCell<Config>>>);

impl IceServers {
    /// What the next connection is made with.
    pub fn get(&self) -> Config {
        self.0.borrow().clone()
    }

    /// Changes what the next connections are made with.
    pub fn set(&self, config: Config) {
        *self.0.borrow_mut() = config;
    }
}

impl fmt::Debug for IceServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IceServers").field(&self.get()).finish()
    }
}

/// A transport and the behaviour that it needs in the same swarm.
pub fn new(local: PeerId, config: Config) -> (Transport, Behaviour, IceServers) {
    let (behaviour, link) = link(local);
    let ice = IceServers(SendWrapper::new(Rc::new(RefCell::new(config))));
    (Transport::new(link, ice.clone()), behaviour, ice)
}
