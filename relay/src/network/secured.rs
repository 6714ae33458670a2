//! Puts TLS under the connections that are accepted, where the relay has a certificate.
//!
//! libp2p's WebSocket transport has TLS too, with one certificate for ever; beneath it, each
//! connection is shown the one of its moment.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Either, FutureExt as _};
use libp2p::Multiaddr;
use libp2p::core::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::tcp;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt as _};

type Plain = tcp::tokio::TcpStream;

/// TCP, and TLS over what is accepted; what is dialled stays plain.
pub(super) struct Secured {
    tcp: tcp::tokio::Transport,
    acceptor: Option<TlsAcceptor>,
}

impl Secured {
    pub(super) fn new(tcp: tcp::tokio::Transport, acceptor: Option<TlsAcceptor>) -> Self {
        Self { tcp, acceptor }
    }

    /// The address with what is spoken over it.
    fn named(&self, address: Multiaddr) -> Multiaddr {
        match self.acceptor {
            Some(_) => address.with(Protocol::Tls),
            None => address,
        }
    }
}

impl Transport for Secured {
    type Output = Either<Plain, Compat<TlsStream<TcpStream>>>;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Self::Output>>;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.tcp.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.tcp.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let dial = self.tcp.dial(address, options)?;
        Ok(async { dial.await.map(Either::Left) }.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = std::task::ready!(Pin::new(&mut self.tcp).poll(context));
        Poll::Ready(match event {
            TransportEvent::NewAddress {
                listener_id,
                listen_addr,
            } => TransportEvent::NewAddress {
                listener_id,
                listen_addr: self.named(listen_addr),
            },
            TransportEvent::AddressExpired {
                listener_id,
                listen_addr,
            } => TransportEvent::AddressExpired {
                listener_id,
                listen_addr: self.named(listen_addr),
            },
            TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            } => TransportEvent::Incoming {
                listener_id,
                upgrade: secure(upgrade, self.acceptor.clone()).boxed(),
                local_addr: self.named(local_addr),
                send_back_addr: self.named(send_back_addr),
            },
            TransportEvent::ListenerClosed {
                listener_id,
                reason,
            } => TransportEvent::ListenerClosed {
                listener_id,
                reason,
            },
            TransportEvent::ListenerError { listener_id, error } => {
                TransportEvent::ListenerError { listener_id, error }
            }
        })
    }
}

async fn secure(
    accepted: impl Future<Output = io::Result<Plain>>,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<<Secured as Transport>::Output> {
    let stream = accepted.await?;
    let Some(acceptor) = acceptor else {
        return Ok(Either::Left(stream));
    };
    let secured = acceptor.accept(TcpStream::from(stream)).await?;
    Ok(Either::Right(secured.compat()))
}
