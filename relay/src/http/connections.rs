//! Owns the HTTP sockets: how many there are, from whom, how slow they may be, and how they end.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::address_cap::Tally;
use crate::limits;

/// After a failed accept, which is usually a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so, then lets requests in flight end, for at most
/// [`limits::STOP_TIMEOUT`].
///
/// With an acceptor everything is TLS.
pub(crate) async fn serve(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let door = Door {
        acceptor,
        router,
        stop: stop.clone(),
    };
    let mut tally = Tally::new(limits::MAX_HTTP_CONNECTIONS_PER_IP);
    let mut open: JoinSet<IpAddr> = JoinSet::new();
    let graceful = GracefulShutdown::new();
    let mut stopped = pin!(crate::stopped(stop));
    loop {
        tokio::select! {
            () = &mut stopped => break,
            Some(ended) = open.join_next() => match ended {
                Ok(ip) => tally.release(ip),
                Err(error) => tracing::error!(%error, "an HTTP connection's task failed"),
            },
            accepted = listener.accept(), if open.len() < limits::MAX_HTTP_CONNECTIONS => {
                match accepted {
                    Ok((stream, from)) => door.admit(stream, from, &mut tally, &mut open, &graceful),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an HTTP connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }
    drop(listener);
    if timeout(limits::STOP_TIMEOUT, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(n_requests = open.len(), "HTTP requests cut off");
    }
}

/// What every connection is met with.
struct Door {
    acceptor: Option<TlsAcceptor>,
    router: Router,
    stop: watch::Receiver<bool>,
}

impl Door {
    fn admit(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        tally: &mut Tally,
        open: &mut JoinSet<IpAddr>,
        graceful: &GracefulShutdown,
    ) {
        let ip = from.ip();
        if let Err(error) = tally.admit(ip) {
            tracing::debug!(%error, "HTTP connection refused");
            return;
        }
        stream.set_nodelay(true).ok(); // Without it answers are only a little later.
        let (router, watcher) = (self.router.clone(), graceful.watcher());
        let Some(acceptor) = self.acceptor.clone() else {
            open.spawn(async move {
                answer(stream, router, watcher).await;
                ip
            });
            return;
        };
        let stop = self.stop.clone();
        open.spawn(async move {
            tokio::select! {
                secured = timeout(limits::HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => match secured {
                    Ok(Ok(stream)) => answer(stream, router, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                },
                () = crate::stopped(stop) => {}
            }
            ip
        });
    }
}

/// Answers the requests of one connection, until it ends or everything does.
async fn answer<S>(stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "HTTP connection broke");
    }
}
