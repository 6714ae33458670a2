//! `/webrtc-direct` as a transport of libp2p: to servers only, since a browser cannot be one.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{Either, poll_fn, select};
use futures::{AsyncWriteExt as _, FutureExt as _};
use futures_timer::Delay;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade as _, UpgradeInfo as _};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId, noise};
use send_wrapper::SendWrapper;
use web_sys::RtcSdpType;

use super::connection::Connection;
use super::handshake::not_made;
use super::peer_connection::PeerConnection;
use super::shared::{Found, State};
use super::substream::Substream;
use super::{Config, Made};
use crate::direct::{Fingerprint, Server, UFRAG_RANDOM, prologue, sdp, ufrag};
use crate::error::{ConnectError, Stage};
use crate::limits::CONNECT_TIMEOUT;
use crate::stream::Peer;

/// Dials servers by the certificate in their address.
#[derive(Clone, Debug)]
pub struct DirectTransport {
    keypair: Keypair,
}

impl DirectTransport {
    /// Dials as the owner of this key.
    pub fn new(keypair: &Keypair) -> Self {
        let keypair = keypair.clone();
        Self { keypair }
    }
}

impl libp2p::core::Transport for DirectTransport {
    type Output = (PeerId, Connection);
    type Error = ConnectError;
    type ListenerUpgrade = Made;
    type Dial = Made;

    /// No address can be listened on.
    fn listen_on(
        &mut self,
        _: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<ConnectError>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Made, TransportError<ConnectError>> {
        let server = Server::parse(&address).filter(|_| options.role.is_dialer());
        let server = server.ok_or(TransportError::MultiaddrNotSupported(address))?;
        let dial = dial(server, self.keypair.clone());
        Ok(SendWrapper::new(dial).boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Made, ConnectError>> {
        Poll::Pending
    }
}

async fn dial(server: Server, keypair: Keypair) -> Result<(PeerId, Connection), ConnectError> {
    let connection = PeerConnection::new(&Config::default()).map_err(not_made)?;
    connection.shared().learn(Peer::Unknown);
    let channel = connection.create_proof_channel().map_err(not_made)?;
    let certificate = describe(&connection, &server).await?;
    let noise = noise::Config::new(&keypair).map_err(|error| not_proved(&error))?;
    let noise = noise.with_prologue(prologue(&certificate, &server.certificate));
    let proof = prove(noise, Substream::new(channel));
    let ended = match select(Box::pin(proof), Box::pin(end(&connection))).await {
        Either::Left((proved, _)) => proved,
        Either::Right((reason, _)) => Err(reason),
    };
    let (peer, ended) = ended.map_err(|reason| not_connected(&connection, &server, &reason))?;
    if server.peer.is_some_and(|expected| expected != peer) {
        return Err(not_proved(&format!("the server is {peer}")));
    }
    Ok((peer, Connection::proved(connection, ended)))
}

/// Gives the browser both descriptions; its certificate.
async fn describe(
    connection: &PeerConnection,
    server: &Server,
) -> Result<Fingerprint, ConnectError> {
    let mut random = [0; UFRAG_RANDOM];
    getrandom::fill(&mut random).map_err(|error| not_made(error.to_string()))?;
    let ufrag = ufrag(&random);
    let offer = connection.create_offer().await.map_err(not_made)?;
    let wrong = |error: sdp::SdpError| not_made(error.to_string());
    let offer = sdp::renamed(&offer, &ufrag).map_err(wrong)?;
    let certificate = sdp::fingerprint(&offer).map_err(wrong)?;
    let local = connection.set_local(RtcSdpType::Offer, &offer);
    local.await.map_err(not_made)?;
    let answer = sdp::answer(server, &ufrag);
    let remote = connection.set_remote(RtcSdpType::Answer, &answer);
    let refused = |reason| ConnectError::new(Stage::Answer, reason);
    remote.await.map_err(refused)?;
    Ok(certificate)
}

/// Lets the server begin, and ends the channel, which is used for nothing else.
async fn prove(
    noise: noise::Config,
    channel: Substream,
) -> Result<(PeerId, noise::Output<Substream>), String> {
    let protocol = noise.protocol_info().next().unwrap_or_default();
    let proved = noise.upgrade_inbound(channel, protocol).await;
    let (peer, mut channel) = proved.map_err(|error| error.to_string())?;
    let ended = channel.close().await;
    ended.map_err(|error| error.to_string())?;
    Ok((peer, channel))
}

/// Why a connection does not come about.
async fn end(connection: &PeerConnection) -> String {
    let timer = Delay::new(CONNECT_TIMEOUT);
    let ended = async {
        let mut state = State::Connecting;
        loop {
            let found = poll_fn(|context| connection.shared().poll_found(context, state)).await;
            if let Found::State(found) = found {
                state = found;
            }
            if let State::Ended(why) = state {
                return why.to_owned();
            }
        }
    };
    match select(timer, Box::pin(ended)).await {
        Either::Left(_) => "it took too long".to_owned(),
        Either::Right((why, _)) => why,
    }
}

fn not_connected(connection: &PeerConnection, server: &Server, reason: &str) -> ConnectError {
    match connection.shared().state() {
        State::Connected => not_proved(reason),
        State::Connecting | State::Ended(_) => {
            let Server { ip, port, .. } = server;
            let reason = format!("no answer from {ip}, UDP port {port}: {reason}");
            ConnectError::new(Stage::Connect, reason)
        }
    }
}

fn not_proved(reason: &(impl std::fmt::Display + ?Sized)) -> ConnectError {
    ConnectError::new(Stage::Authenticate, reason)
}
