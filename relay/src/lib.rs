//! The relay: introduces Thrum peers, carries bytes until they meet, and serves the page.
//!
//! It holds no model logic, computes nothing, and dials nobody but the relays that it federates
//! with.

mod address_cap;
mod bucket;
pub mod config;
mod federation;
mod framing;
mod http;
mod identity;
pub mod limits;
mod metrics;
mod network;
mod open_files;
mod providers;
mod rendezvous;
mod small_file;
mod stun;
mod tls;
mod turn;
mod udp;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use libp2p::{Multiaddr, PeerId};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Config;
use crate::http::Site;
use crate::http::ice::StunPlace;
use crate::metrics::HttpMetrics;
use crate::network::Network;
use crate::network::credentials::Desk;
use crate::tls::Certificate;
use crate::turn::secret::Secret;
use crate::udp::Udp;

pub use crate::identity::IdentityError;
pub use crate::network::NetworkError;
pub use crate::tls::{Reloader, TlsError};
pub use crate::udp::StunError;

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The short commit of this build, or `unknown`.
pub const COMMIT: &str = env!("THRUM_RELAY_COMMIT");

/// What `--version` prints after the name.
pub const VERSION_AND_COMMIT: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("THRUM_RELAY_COMMIT"),
    ")"
);

/// What identify and `/api/relay` say that peers of this relay speak.
pub const PROTOCOL: &str = "thrum/1";

/// Why the relay cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The key or the certificate cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The libp2p side cannot listen.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The TLS certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// STUN cannot listen.
    #[error(transparent)]
    Stun(#[from] StunError),
    /// The HTTP port is taken, or the address is not this machine's.
    #[error(
        "cannot serve HTTP on {address}: {source}; choose another with --http <address:port>, \
         where port 0 takes any free one"
    )]
    Http {
        /// Where it should have listened.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why the relay ended without being asked to.
#[derive(Debug, thiserror::Error)]
#[error("the {side} side ended by itself{}", reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default())]
pub struct RunError {
    side: &'static str,
    reason: Option<tokio::task::JoinError>,
}

/// A relay that listens, and serves once [`Relay::run`] is called.
pub struct Relay {
    network: Network,
    udp: Udp,
    http: TcpListener,
    http_addr: SocketAddr,
    site: Arc<Site>,
    certificate: Option<Certificate>,
    reloader: Reloader,
}

impl Relay {
    /// Takes the ports of `config`, with the identity of its key file.
    ///
    /// # Errors
    /// When a port is taken, naming it and the flag that changes it; when a secret does not hold.
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        let identity = identity::load_or_make(&config.key)?;
        let certificate = tls::from_settings(&config)?;
        let acceptor = certificate.as_ref().map(Certificate::acceptor);
        open_files::provide_for(config.max_connections);
        let cannot_serve = |source| BindError::Http {
            address: config.http,
            source,
        };
        let http = TcpListener::bind(config.http).await.map_err(cannot_serve)?;
        let http_addr = http.local_addr().map_err(cannot_serve)?;

        let mut registry = metrics::new_registry();
        let http_metrics = HttpMetrics::default();
        metrics::register_http(&mut registry, &http_metrics);
        let secret = Secret::new(rand::random());
        let udp = Udp::bind(&config, secret.clone(), &mut registry).await?;
        let stun = StunPlace::new(&config, &udp.addresses());
        let desk = config
            .turn
            .then(|| Desk::new(secret, stun.turn_urls(), &mut registry));
        let network = Network::bind(&config, identity, acceptor, desk, &mut registry).await?;
        let site = Arc::new(Site {
            peer_id: network.peer_id(),
            announce: network.announce().to_vec(),
            listening: network.listening(),
            federated: network.federated(),
            stun,
            ice_servers: config.ice_servers,
            page: config.page,
            models: config.models,
            registry,
            http_metrics,
        });
        Ok(Self {
            network,
            udp,
            http,
            http_addr,
            site,
            certificate,
            reloader: Reloader::default(),
        })
    }

    /// The peer id of the key file.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.site.peer_id
    }

    /// Where the page is served; the real port also where 0 was asked for.
    #[must_use]
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where the page is, as a browser opens it.
    #[must_use]
    pub fn page_url(&self) -> String {
        let scheme = match self.certificate {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}/", self.http_addr)
    }

    /// Has the relay read its TLS certificate again.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Where STUN is answered, and TURN where it is offered; the real ports also where 0 was asked
    /// for.
    #[must_use]
    pub fn stun_addrs(&self) -> Vec<SocketAddr> {
        self.udp.addresses()
    }

    /// What peers dial, each with `/p2p/<peer id>`, as in `/api/relay`.
    #[must_use]
    pub fn addrs(&self) -> Vec<Multiaddr> {
        self.site.addresses()
    }

    /// Serves until `shutdown` ends, then closes the listeners, lets HTTP requests in flight end
    /// and disconnects every peer, within [`limits::STOP_TIMEOUT`].
    ///
    /// # Errors
    /// When a side ends without being asked to.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), RunError> {
        let (stop, stopping) = watch::channel(false);
        let mut network = tokio::spawn(self.network.run(stopping.clone()));
        let mut udp = tokio::spawn(self.udp.run(stopping.clone()));
        let router = http::router(self.site);
        let acceptor = self.certificate.as_ref().map(Certificate::acceptor);
        if let Some(certificate) = self.certificate {
            tokio::spawn(certificate.keep(self.reloader, stopping.clone()));
        }
        let serving = http::connections::serve(self.http, acceptor, router, stopping);
        let mut http = tokio::spawn(serving);

        tokio::select! {
            () = shutdown => {}
            ended = &mut network => return Err(RunError { side: "libp2p", reason: ended.err() }),
            ended = &mut udp => return Err(RunError { side: "STUN", reason: ended.err() }),
            ended = &mut http => return Err(RunError { side: "HTTP", reason: ended.err() }),
        }
        tracing::info!("stopping");
        stop.send_replace(true);
        // `serve` bounds itself by the same time, and says what it cut off.
        if timeout(limits::STOP_TIMEOUT, &mut network).await.is_err() {
            tracing::warn!("peers cut off");
            network.abort();
        }
        http.await.map_err(|error| RunError {
            side: "HTTP",
            reason: Some(error),
        })
    }
}

/// Ends when the relay is to stop, or when nobody could tell any more.
async fn stopped(mut stop: watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok(); // An error means that the sender is gone.
}
