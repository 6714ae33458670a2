//! Owns how TURN credentials are handed out: on a libp2p stream of their own, whose other end has
//! proven who it is, and which it opens to ask.

use std::time::{SystemTime, UNIX_EPOCH};

use futures::stream::FuturesUnordered;
use futures::{AsyncWriteExt, StreamExt};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::Control;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use thrum_protocol::TURN_CREDENTIALS_STREAM;
use thrum_protocol::turn::TurnCredentials;
use tokio::time::timeout;

use crate::limits::{CREDENTIAL_LIFETIME, CREDENTIAL_STREAM_TIMEOUT, MAX_CREDENTIAL_STREAMS};
use crate::turn::secret::Secret;

/// What is needed to answer.
pub(crate) struct Desk {
    secret: Secret,
    urls: Vec<String>,
    n_issued: Counter,
}

impl Desk {
    pub(crate) fn new(secret: Secret, urls: Vec<String>, registry: &mut Registry) -> Self {
        let n_issued = Counter::default();
        registry.register(
            "turn_credentials",
            "TURN credentials handed out",
            n_issued.clone(),
        );
        Self {
            secret,
            urls,
            n_issued,
        }
    }

    fn credentials(&self, peer: PeerId) -> TurnCredentials {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let unix_secs = unix.map_or(0, |since| since.as_secs());
        let issued = self.secret.issue(&peer.to_string(), unix_secs);
        TurnCredentials {
            urls: self.urls.clone(),
            username: issued.username,
            credential: issued.password,
            ttl_secs: CREDENTIAL_LIFETIME.as_secs(),
        }
    }

    async fn answer(&self, peer: PeerId, mut stream: Stream) {
        let bytes = self.credentials(peer).to_bytes();
        let written = async {
            stream.write_all(&bytes).await?;
            stream.close().await
        };
        match timeout(CREDENTIAL_STREAM_TIMEOUT, written).await {
            Ok(Ok(())) => {
                self.n_issued.inc();
            }
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TURN credentials not taken"),
            Err(_) => tracing::debug!(%peer, "TURN credentials not taken in time"),
        }
    }
}

/// Answers for ever; without a desk nobody speaks the protocol.
pub(super) async fn serve(desk: Option<Desk>, mut control: Control) {
    let Some(desk) = desk else {
        return std::future::pending().await;
    };
    let mut asking = control
        .accept(StreamProtocol::new(TURN_CREDENTIALS_STREAM))
        .expect("the protocol is accepted once");
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some((peer, stream)) = asking.next(), if answers.len() < MAX_CREDENTIAL_STREAMS => {
                answers.push(desk.answer(peer, stream));
            }
            Some(()) = answers.next() => {}
            else => return std::future::pending().await,
        }
    }
}
