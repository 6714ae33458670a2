//! `/webrtc` as a transport of libp2p.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select, try_join};
use futures::{FutureExt as _, StreamExt as _};
use futures_timer::Delay;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::Stream;
use libp2p::{Multiaddr, PeerId};
use send_wrapper::SendWrapper;

use super::connection::Connection;
use super::handshake::{connect, not_made};
use super::peer_connection::PeerConnection;
use super::{Control, Made};
use crate::address::{Target, bare};
use crate::behaviour::{Incoming, Link, Request, Superseded};
use crate::error::{ConnectError, Stage};
use crate::limits::SUPERSEDED_TIMEOUT;
use crate::signal::Role;

/// Dials and accepts peers that can be reached through somebody.
///
/// It must come before the transport of circuits in an `OrTransport`: that one takes the
/// specification's `/webrtc` addresses for its own.
pub struct Transport {
    link: Link,
    control: Control,
    listener: Option<ListenerId>,
}

impl Transport {
    pub(super) fn new(link: Link, control: Control) -> Self {
        Self {
            link,
            control,
            listener: None,
        }
    }
}

impl libp2p::core::Transport for Transport {
    type Output = (PeerId, Connection);
    type Error = ConnectError;
    type ListenerUpgrade = Made;
    type Dial = Made;

    /// Takes `/webrtc` alone: peers find their way to it through the places at relays that the node
    /// has.
    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<ConnectError>> {
        if !address.iter().eq([Protocol::WebRTC]) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.listener = Some(id);
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let is_ours = self.listener == Some(id);
        if is_ours {
            self.listener = None;
        }
        is_ours
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Made, TransportError<ConnectError>> {
        let target = Target::parse(&address).filter(|_| options.role.is_dialer());
        let target = target.ok_or(TransportError::MultiaddrNotSupported(address))?;
        let dial = dial(target, self.link.requests.clone(), self.control.clone());
        Ok(SendWrapper::new(dial).boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Made, ConnectError>> {
        while let Poll::Ready(Some(incoming)) = self.link.incoming.poll_next_unpin(context) {
            let Incoming { peer, stream } = incoming;
            let attempt = Attempt::new(Role::Answerer, peer, &self.link.requests);
            // Nobody listens: dropping the stream resets it.
            let Some(listener_id) = self.listener else {
                continue;
            };
            let answer = answer(attempt, stream, self.control.clone());
            return Poll::Ready(TransportEvent::Incoming {
                listener_id,
                upgrade: SendWrapper::new(answer).boxed(),
                local_addr: Multiaddr::empty().with(Protocol::WebRTC),
                send_back_addr: bare(peer),
            });
        }
        Poll::Pending
    }
}

/// Tells the behaviour of the end of a dial or an answer, also of one that is dropped.
struct Attempt {
    role: Role,
    peer: PeerId,
    requests: mpsc::Sender<Request>,
    connected: bool,
}

impl Attempt {
    fn new(role: Role, peer: PeerId, requests: &mpsc::Sender<Request>) -> Self {
        Self {
            role,
            peer,
            requests: requests.clone(),
            connected: false,
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let (peer, connected) = (self.peer, self.connected);
        let end = match self.role {
            Role::Offerer => Request::Ended { peer, connected },
            Role::Answerer => Request::Answered { peer, connected },
        };
        // Every sender has room for one; without the behaviour there is nobody to tell.
        self.requests.try_send(end).ok();
    }
}

async fn dial(
    Target { peer, circuit }: Target,
    mut requests: mpsc::Sender<Request>,
    control: Control,
) -> Result<(PeerId, Connection), ConnectError> {
    let (reply, opened) = oneshot::channel();
    let (give_way, gives_way) = oneshot::channel();
    let open = Request::Open {
        peer,
        circuit,
        reply,
        give_way,
    };
    let refused = |reason| ConnectError::new(Stage::Carrier, reason);
    requests
        .try_send(open)
        .map_err(|_| refused("too many dials wait, or the behaviour is gone"))?;
    let mut attempt = Attempt::new(Role::Offerer, peer, &requests);
    let opened = async move {
        let gone = |_| refused("the connection that was to carry the signalling closed");
        opened.await.map_err(gone)?
    };
    let parted = requests.clone();
    let made = Box::pin(offer(opened, control, peer, parted));
    // That it is to give way counts first: a dial that does so from the beginning gets no stream.
    match select(gives_way, made).await {
        Either::Left((Ok(superseded), made)) => {
            drop(made);
            drop(attempt);
            Err(give_way_to(superseded).await)
        }
        // The behaviour does not want it to give way any more.
        Either::Left((Err(_), made)) => {
            let made = made.await;
            attempt.connected = made.is_ok();
            made
        }
        Either::Right((made, _)) => {
            attempt.connected = made.is_ok();
            made
        }
    }
}

async fn offer(
    opened: impl Future<Output = Result<Stream, ConnectError>>,
    control: Control,
    peer: PeerId,
    requests: mpsc::Sender<Request>,
) -> Result<(PeerId, Connection), ConnectError> {
    let connection = PeerConnection::new(&control.config_for(peer)).map_err(not_made)?;
    connection.create_init_channel().map_err(not_made)?;
    // The offer is made while the way to the peer is.
    let offer = connection.create_offer().map(|it| it.map_err(not_made));
    let (stream, offer) = try_join(opened, offer).await?;
    let made = make(
        Role::Offerer,
        peer,
        connection,
        stream,
        Some(offer),
        requests,
    )
    .await?;
    control.connected(peer, made.shared());
    Ok((peer, made))
}

async fn answer(
    mut attempt: Attempt,
    stream: Stream,
    control: Control,
) -> Result<(PeerId, Connection), ConnectError> {
    let (peer, requests) = (attempt.peer, attempt.requests.clone());
    let connection = PeerConnection::new(&control.config()).map_err(not_made)?;
    let made = make(Role::Answerer, peer, connection, stream, None, requests).await?;
    control.connected(peer, made.shared());
    attempt.connected = true;
    Ok((peer, made))
}

async fn make(
    role: Role,
    peer: PeerId,
    connection: PeerConnection,
    stream: Stream,
    offer: Option<String>,
    mut requests: mpsc::Sender<Request>,
) -> Result<Connection, ConnectError> {
    let parting = connect(role, &connection, stream, offer).await?;
    connection.close_init_channel();
    wasm_bindgen_futures::spawn_local(async move {
        parting.finish().await;
        // Every sender has room for one; without the behaviour there is nobody to tell.
        requests.try_send(Request::Parted { peer }).ok();
    });
    Ok(Connection::new(connection))
}

/// The peer's own dial goes on: this one fails, but only when that one has led to something, so
/// that whoever wanted a connection has one by then.
async fn give_way_to(superseded: Superseded) -> ConnectError {
    select(superseded, Delay::new(SUPERSEDED_TIMEOUT)).await;
    ConnectError::new(
        Stage::Offer,
        "gave way to the dial of the peer, which was under way",
    )
}
