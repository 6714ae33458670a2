//! A native peer, as plain as libp2p makes one: what the relay must work with.

use futures::StreamExt;
use libp2p::core::transport::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, kad, noise, ping, relay,
    rendezvous, tcp, websocket, yamux,
};
use libp2p_webrtc::tokio::{Certificate, Transport as WebRtc};
use thrum_protocol::KAD_PROTOCOL;

use crate::rig::HANG;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) relay: relay::client::Behaviour,
    pub(crate) rendezvous: rendezvous::client::Behaviour,
    pub(crate) kad: kad::Behaviour<kad::store::MemoryStore>,
    pub(crate) stream: libp2p_stream::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
}

pub(crate) struct Client {
    pub(crate) swarm: Swarm<Behaviour>,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::trusting(&[])
    }

    /// One of somebody who may have others.
    pub(crate) fn of(keypair: Keypair) -> Self {
        Self::with(keypair, &[])
    }

    /// One that also believes servers with these certificates.
    pub(crate) fn trusting(certificates: &[Vec<u8>]) -> Self {
        Self::with(Keypair::generate_ed25519(), certificates)
    }

    fn with(keypair: Keypair, certificates: &[Vec<u8>]) -> Self {
        let mut tls = websocket::tls::Config::builder();
        for certificate in certificates {
            let certificate = websocket::tls::Certificate::new(certificate.clone());
            tls.add_trust(&certificate).unwrap();
        }
        let swarm = SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_other_transport(|keypair| {
                let tcp = tcp::tokio::Transport::new(tcp::Config::default());
                let mut websocket = websocket::Config::new(tcp);
                websocket.set_tls_config(tls.finish());
                websocket
                    .upgrade(Version::V1Lazy)
                    .authenticate(noise::Config::new(keypair).unwrap())
                    .multiplex(yamux::Config::default())
            })
            .unwrap()
            .with_other_transport(|keypair| {
                WebRtc::new(
                    keypair.clone(),
                    Certificate::generate(&mut rand::rng()).unwrap(),
                )
            })
            .unwrap()
            .with_relay_client(noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_behaviour(|keypair, relay| Behaviour {
                relay,
                rendezvous: rendezvous::client::Behaviour::new(keypair.clone()),
                kad: kad_client(keypair.public().to_peer_id()),
                stream: libp2p_stream::Behaviour::new(),
                identify: identify::Behaviour::new(identify::Config::new(
                    "test/1".to_owned(),
                    keypair.public(),
                )),
                ping: ping::Behaviour::new(ping::Config::new()),
            })
            .unwrap()
            .build();
        Self { swarm }
    }

    pub(crate) fn peer_id(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Runs the peer until an event answers the question.
    pub(crate) async fn until<T>(
        &mut self,
        mut answer: impl FnMut(SwarmEvent<BehaviourEvent>) -> Option<T>,
    ) -> T {
        let answered = async {
            loop {
                if let Some(answer) = answer(self.swarm.select_next_some().await) {
                    return answer;
                }
            }
        };
        tokio::time::timeout(HANG, answered)
            .await
            .expect("the awaited event comes")
    }

    /// Dials, and says whether the connection stands or why it does not.
    pub(crate) async fn dial(&mut self, address: Multiaddr) -> Result<PeerId, String> {
        self.swarm.dial(address).unwrap();
        self.until(|event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => Some(Ok(peer_id)),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(error.to_string())),
            _ => None,
        })
        .await
    }

    /// Dials through a relay until this peer, and not only the relay, is connected.
    pub(crate) async fn meet(&mut self, peer: PeerId, address: Multiaddr) {
        self.swarm.dial(address).unwrap();
        self.until(|event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => (peer_id == peer).then_some(()),
            SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
            _ => None,
        })
        .await;
    }

    /// Runs the peer until the one it dialled answers a ping.
    pub(crate) async fn await_ping(&mut self) {
        self.until(|event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => Some(ping.result.unwrap()),
            _ => None,
        })
        .await;
    }

    /// Asks for a reservation, and returns the address under which others reach this peer.
    pub(crate) async fn reserve(&mut self, relay: Multiaddr) -> Multiaddr {
        self.swarm
            .listen_on(relay.with(libp2p::multiaddr::Protocol::P2pCircuit))
            .unwrap();
        self.until(|event| match event {
            SwarmEvent::ExternalAddrConfirmed { address } => Some(address),
            SwarmEvent::ListenerClosed { reason, .. } => panic!("no reservation: {reason:?}"),
            _ => None,
        })
        .await
    }

    /// Lets the peer go on by itself; dropping the handle's task ends it.
    pub(crate) fn go_on(mut self) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            loop {
                self.swarm.select_next_some().await;
            }
        })
    }
}

fn kad_client(own: PeerId) -> kad::Behaviour<kad::store::MemoryStore> {
    let config = kad::Config::new(StreamProtocol::new(KAD_PROTOCOL));
    let mut kad = kad::Behaviour::with_config(own, kad::store::MemoryStore::new(own), config);
    kad.set_mode(Some(kad::Mode::Client));
    kad
}
