//! Owns the HTTP sockets: how many there are, from whom, how slow they may be, and how they end.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::address_cap::Tally;
use crate::limits;

/// After a failed accept, which is usually a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` says so, then lets requests in flight end, for at most
/// [`limits::STOP_TIMEOUT`].
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
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
                    Ok((stream, from)) => admit(stream, from, &router, &mut tally, &mut open, &graceful),
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

fn admit(
    stream: TcpStream,
    from: SocketAddr,
    router: &Router,
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
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HTTP_HEAD_TIMEOUT)
        .serve_connection(
            TokioIo::new(stream),
            TowerToHyperService::new(router.clone()),
        );
    let watched = graceful.watch(connection);
    open.spawn(async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "HTTP connection broke");
        }
        ip
    });
}
