//! The swarm behind a page's peer, and what it tells.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use futures::channel::{mpsc, oneshot};
use futures::{FutureExt as _, StreamExt as _};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, Swarm, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, Transport as _, gossipsub, identify, noise, ping, relay, websocket_websys,
    yamux,
};
use thrum_rtc::browser::{self, Config, DirectTransport};

use super::direct_only::DirectOnly;

/// What the peer speaks.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    relay: relay::client::Behaviour,
    rtc: thrum_rtc::behaviour::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    pub(crate) gossip: DirectOnly<gossipsub::Behaviour>,
    pub(crate) streams: DirectOnly<libp2p_stream::Behaviour>,
}

/// What the page wants of the swarm.
pub(crate) type Command = Box<dyn FnOnce(&mut Node)>;

/// Lines that a test waits for, the latest of them.
pub(crate) type Log = Rc<RefCell<VecDeque<String>>>;

/// count; lines that are kept.
const MAX_LINES: usize = 200;

/// Where the outcome of a dial is told: the remote address.
pub(crate) type Reply = oneshot::Sender<Result<String, String>>;

/// The swarm, and who waits for what it does.
pub(crate) struct Node {
    pub(crate) swarm: Swarm<Behaviour>,
    dials: BTreeMap<ConnectionId, Reply>,
    partings: BTreeMap<PeerId, oneshot::Sender<()>>,
    log: Log,
}

/// s; nothing here is to close because it rests.
const IDLE: Duration = Duration::from_secs(3_600);

impl Node {
    /// A peer that is connected to nobody. Streams over relays are taken only where `relayed` says.
    pub(crate) fn new(relayed: bool, log: Log) -> Result<Self, String> {
        let keypair = Keypair::generate_ed25519();
        let peer = PeerId::from(keypair.public());
        let (circuits, relay) = relay::client::new(peer);
        let (webrtc, rtc, _) = browser::new(peer, Config::default());
        let signed = gossipsub::MessageAuthenticity::Signed(keypair.clone());
        let gossip = gossipsub::Behaviour::new(signed, gossipsub::Config::default())?;
        let about = identify::Config::new("interop/1".to_owned(), keypair.public());
        let behaviour = Behaviour {
            relay,
            rtc,
            identify: identify::Behaviour::new(about),
            ping: ping::Behaviour::default(),
            gossip: DirectOnly::new(gossip, relayed),
            streams: DirectOnly::new(libp2p_stream::Behaviour::new(), relayed),
        };
        let config = libp2p::swarm::Config::with_wasm_executor().with_idle_connection_timeout(IDLE);
        let transport = transport(&keypair, webrtc, circuits)?;
        Ok(Self {
            swarm: Swarm::new(transport, behaviour, peer, config),
            dials: BTreeMap::new(),
            partings: BTreeMap::new(),
            log,
        })
    }

    /// Takes direct connections, and a place at the relay.
    pub(crate) fn listen(&mut self, relay: &Multiaddr) -> Result<(), String> {
        let webrtc = Multiaddr::empty().with(Protocol::WebRTC);
        let circuit = relay.clone().with(Protocol::P2pCircuit);
        for address in [webrtc, circuit] {
            let listened = self.swarm.listen_on(address);
            listened.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    pub(crate) fn dial(&mut self, address: Multiaddr, reply: Reply) {
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            reply.send(Err("the address names no peer".to_owned())).ok();
            return;
        };
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::Always)
            .addresses(vec![address])
            .build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dials.insert(connection, reply)),
            Err(error) => drop(reply.send(Err(error.to_string()))),
        }
    }

    /// Closes every connection to a peer; `parted` when there is none.
    pub(crate) fn hang_up(&mut self, peer: PeerId, parted: oneshot::Sender<()>) {
        match self.swarm.disconnect_peer_id(peer) {
            Ok(()) => drop(self.partings.insert(peer, parted)),
            Err(()) => drop(parted.send(())),
        }
    }

    /// Goes on until the page drops its end.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            futures::select! {
                command = commands.next().fuse() => match command {
                    Some(command) => command(&mut self),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.on_event(event),
            }
        }
    }

    fn say(&self, line: String) {
        let mut log = self.log.borrow_mut();
        log.push_back(line);
        if log.len() > MAX_LINES {
            log.pop_front();
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                connection_id,
                endpoint,
                ..
            } => {
                let address = endpoint.get_remote_address().to_string();
                match self.dials.remove(&connection_id) {
                    Some(reply) => drop(reply.send(Ok(address))),
                    None if endpoint.is_listener() => self.say(format!("accepted {address}")),
                    None => {}
                }
            }
            SwarmEvent::ConnectionClosed {
                endpoint,
                cause,
                peer_id,
                num_established,
                ..
            } => {
                if num_established == 0
                    && let Some(parted) = self.partings.remove(&peer_id)
                {
                    parted.send(()).ok();
                }
                let address = endpoint.get_remote_address();
                self.say(format!("closed {address} {cause:?}"));
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                self.say(format!("failed {error:?}"));
                if let Some(reply) = self.dials.remove(&connection_id) {
                    reply.send(Err(error.to_string())).ok();
                }
            }
            SwarmEvent::IncomingConnectionError { error, .. } => {
                self.say(format!("failed {error:?}"));
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                self.say(format!("unreserved {reason:?}"));
            }
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Relay(relay::client::Event::ReservationReqAccepted { .. }) => {
                self.say("reserved".to_owned());
            }
            BehaviourEvent::Rtc(thrum_rtc::behaviour::Event::Upgraded { peer, .. }) => {
                self.say(format!("upgraded {peer}"));
            }
            BehaviourEvent::Ping(ping::Event {
                peer,
                result: Ok(_),
                ..
            }) => self.say(format!("ping {peer}")),
            BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. }) => {
                let text = String::from_utf8_lossy(&message.data);
                self.say(format!("message {text}"));
            }
            BehaviourEvent::Gossip(gossipsub::Event::Subscribed { peer_id, .. }) => {
                self.say(format!("subscribed {peer_id}"));
            }
            _ => {}
        }
    }
}

/// `/webrtc` first: circuits would take its addresses for their own.
fn transport(
    keypair: &Keypair,
    webrtc: browser::Transport,
    circuits: relay::client::Transport,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, String> {
    let secured = noise::Config::new(keypair).map_err(|error| error.to_string())?;
    let rest = circuits
        .or_transport(websocket_websys::Transport::default())
        .upgrade(Version::V1Lazy)
        .authenticate(secured)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(webrtc
        .or_transport(DirectTransport::new(keypair))
        .map(|either, _| either.into_inner())
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(rest)
        .map(|either, _| either.into_inner())
        .boxed())
}
