//! The peer as a page's script sees it, the same methods as in `tests/interop/js_peer.mjs`.

use futures::channel::{mpsc, oneshot};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::Stream;
use libp2p::{Multiaddr, PeerId, StreamProtocol, gossipsub};
use libp2p_stream::Control;
use wasm_bindgen::prelude::*;

use super::exchanges::{ECHO, PAUSED, Paused, SINK, echo, push, serve};
use super::node::{Log, Node};

/// What everybody gossips about.
const TOPIC: &str = "interop";

/// A peer with a place at a relay.
#[wasm_bindgen]
pub struct Peer {
    id: PeerId,
    relay: Multiaddr,
    control: Control,
    paused: Paused,
    log: Log,
    commands: mpsc::UnboundedSender<super::node::Command>,
}

#[wasm_bindgen]
impl Peer {
    /// Connects to a relay and asks for a place there; the log says `reserved` when it has one.
    /// `relayed`: streams through relays are taken, too.
    pub fn start(relay: &str, relayed: bool) -> Result<Peer, JsError> {
        let relay: Multiaddr = relay.parse()?;
        let log = Log::default();
        let mut node = Node::new(relayed, log.clone()).map_err(wrong)?;
        node.listen(&relay).map_err(wrong)?;
        let topic = gossipsub::IdentTopic::new(TOPIC);
        node.swarm.behaviour_mut().gossip.inner.subscribe(&topic)?;
        let mut control = node.swarm.behaviour().streams.inner.new_control();
        let paused = serve(&mut control).map_err(wrong)?;
        let id = *node.swarm.local_peer_id();
        let (commands, queue) = mpsc::unbounded();
        wasm_bindgen_futures::spawn_local(node.run(queue));
        Ok(Peer {
            id,
            relay,
            control,
            paused,
            log,
            commands,
        })
    }

    /// Who it is.
    #[wasm_bindgen(getter)]
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Where others reach this peer, directly or through the relay.
    pub fn address(&self, direct: bool) -> String {
        let circuit = self.relay.clone().with(Protocol::P2pCircuit);
        let way = match direct {
            true => circuit.with(Protocol::WebRTC),
            false => circuit,
        };
        way.with(Protocol::P2p(self.id)).to_string()
    }

    /// What has happened, oldest first.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().iter().cloned().collect()
    }

    /// Connects; the remote address of the connection.
    pub async fn dial(&self, address: String) -> Result<String, JsError> {
        let address = address.parse()?;
        let (reply, dialled) = oneshot::channel();
        self.tell(move |node| node.dial(address, reply));
        dialled.await?.map_err(wrong)
    }

    /// Closes every connection to a peer, and waits for that.
    pub async fn part(&self, peer: String) -> Result<(), JsError> {
        let peer: PeerId = peer.parse()?;
        let (reply, parted) = oneshot::channel();
        self.tell(move |node| node.hang_up(peer, reply));
        Ok(parted.await?)
    }

    /// Sends that many bytes and has them back.
    pub async fn echo(&self, peer: String, bytes: usize) -> Result<(), JsError> {
        let stream = self.open(&peer, ECHO).await.map_err(wrong)?;
        echo(stream, bytes).await.map_err(wrong)
    }

    /// One stream after another, each with a few bytes and a clean end.
    pub async fn streams(&self, peer: String, count: u32) -> Result<(), JsError> {
        for n in 0..count {
            let exchanged = match self.open(&peer, ECHO).await {
                Ok(stream) => echo(stream, 1 + n as usize % 50).await,
                Err(reason) => Err(reason),
            };
            exchanged.map_err(|reason| JsError::new(&format!("stream {n}: {reason}")))?;
        }
        Ok(())
    }

    /// Pushes at a reader that is paused; how many bytes it has read in the end.
    pub async fn push(&self, peer: String, bytes: usize) -> Result<u32, JsError> {
        let stream = self.open(&peer, PAUSED).await.map_err(wrong)?;
        push(stream, bytes).await.map_err(wrong)
    }

    /// Pushes at a reader that reads; how many bytes it has read in the end.
    pub async fn send(&self, peer: String, bytes: usize) -> Result<u32, JsError> {
        let stream = self.open(&peer, SINK).await.map_err(wrong)?;
        push(stream, bytes).await.map_err(wrong)
    }

    /// How many readers are paused here.
    pub fn paused(&self) -> usize {
        self.paused.borrow().len()
    }

    /// Has them read.
    pub fn release(&self) {
        for begin in self.paused.borrow_mut().drain(..) {
            begin.send(()).ok();
        }
    }

    /// Says something to all; false while nobody is known to listen.
    pub async fn publish(&self, text: String) -> Result<bool, JsError> {
        let (reply, published) = oneshot::channel();
        self.tell(move |node| {
            let topic = gossipsub::IdentTopic::new(TOPIC);
            let gossip = &mut node.swarm.behaviour_mut().gossip.inner;
            reply.send(gossip.publish(topic, text).is_ok()).ok();
        });
        Ok(published.await?)
    }

    async fn open(&self, peer: &str, protocol: StreamProtocol) -> Result<Stream, String> {
        let peer: PeerId = peer.parse().map_err(|_| format!("{peer} is no peer"))?;
        let opened = self.control.clone().open_stream(peer, protocol).await;
        opened.map_err(|error| error.to_string())
    }

    fn tell(&self, command: impl FnOnce(&mut Node) + 'static) {
        self.commands
            .unbounded_send(Box::new(command))
            .expect("the swarm runs for as long as this peer lives");
    }
}

fn wrong(reason: String) -> JsError {
    JsError::new(&reason)
}
