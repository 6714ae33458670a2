//! Credentials for the relays' TURN servers: asked for when they are needed, kept while they are
//! good.

use futures::AsyncReadExt as _;
use libp2p::{PeerId, StreamProtocol};
use libp2p_stream::Control;
use std::collections::BTreeMap;
use thrum_hive::io::RelayIndex;
use thrum_protocol::TURN_CREDENTIALS_STREAM;
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::MAX_TURN_CREDENTIALS_BYTES;
use thrum_protocol::time::Millis;
use thrum_protocol::turn::TurnCredentials;
use thrum_rtc::browser::IceServer;

/// ms; credentials that end sooner are not begun with: a dial takes half a minute.
const LEAST_LEFT: Millis = Millis(60_000);

/// What credentials are wanted for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// a dial that failed without TURN
    Dial {
        peer: NodeId,
        addresses: Vec<String>,
    },
    /// every connection: the page's address is to stay unknown
    All(RelayIndex),
}

/// The answer to a question for credentials.
pub(super) struct Told {
    pub(super) relay: PeerId,
    pub(super) purpose: Purpose,
    pub(super) credentials: Result<TurnCredentials, String>,
}

/// Credentials by relay.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<PeerId, (IceServer, Millis)>);

impl Kept {
    /// Those of a relay that are good for a while.
    pub(super) fn of(&self, relay: PeerId, now: Millis) -> Option<IceServer> {
        let (server, until) = self.0.get(&relay)?;
        (*until >= now + LEAST_LEFT).then(|| server.clone())
    }

    pub(super) fn keep(
        &mut self,
        relay: PeerId,
        credentials: TurnCredentials,
        now: Millis,
    ) -> IceServer {
        let lives = Millis(credentials.ttl_secs.saturating_mul(1_000));
        let server = IceServer {
            urls: credentials.urls,
            username: Some(credentials.username),
            credential: Some(credentials.credential),
        };
        self.0.insert(relay, (server.clone(), now + lives));
        server
    }
}

/// Asks a relay.
pub(super) async fn ask(mut control: Control, relay: PeerId, purpose: Purpose) -> Told {
    let protocol = StreamProtocol::new(TURN_CREDENTIALS_STREAM);
    let credentials = async {
        let stream = control.open_stream(relay, protocol).await;
        let stream = stream.map_err(|error| format!("the relay offers no TURN: {error}"))?;
        let mut bytes = Vec::new();
        // One byte more than is allowed, so that too long is known as such.
        let most = MAX_TURN_CREDENTIALS_BYTES as u64 + 1;
        let read = stream.take(most).read_to_end(&mut bytes).await;
        read.map_err(|error| format!("the relay's TURN credentials did not come: {error}"))?;
        TurnCredentials::open(&bytes)
            .map_err(|error| format!("the relay's TURN credentials are of no use: {error}"))
    };
    Told {
        relay,
        purpose,
        credentials: credentials.await,
    }
}
