//! Prints TURN credentials of a relay, as an entry of `iceServers`: dials the multiaddr it is given
//! (one of `/api/relay`, over WebSocket) with a key of its own, and asks.
//!
//! ```sh
//! cargo run -p thrum-relay --example turn_credentials -- /ip4/127.0.0.1/tcp/8081/ws/p2p/12D3KooW…
//! ```

use anyhow::Context;
use futures::{AsyncReadExt, StreamExt};
use libp2p::core::transport::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, noise, tcp, websocket, yamux};
use thrum_protocol::TURN_CREDENTIALS_STREAM;
use thrum_protocol::limits::MAX_TURN_CREDENTIALS_BYTES;
use thrum_protocol::turn::TurnCredentials;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "what whoever ran it asked for")]
async fn main() -> anyhow::Result<()> {
    let address: Multiaddr = std::env::args()
        .nth(1)
        .context("which relay? give its multiaddr")?
        .parse()?;
    let Some(Protocol::P2p(relay)) = address.iter().last() else {
        anyhow::bail!("the address must end with /p2p/<peer id>");
    };
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|keypair| {
            let transport = websocket::Config::new(tcp::tokio::Transport::default())
                .upgrade(Version::V1Lazy)
                .authenticate(noise::Config::new(keypair)?)
                .multiplex(yamux::Config::default());
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(transport)
        })?
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .build();
    swarm.dial(address)?;
    let mut control = swarm.behaviour().new_control();
    let asked = async {
        let protocol = StreamProtocol::new(TURN_CREDENTIALS_STREAM);
        let stream = control.open_stream(relay, protocol).await?;
        let mut bytes = Vec::new();
        let limit = MAX_TURN_CREDENTIALS_BYTES as u64 + 1;
        stream.take(limit).read_to_end(&mut bytes).await?;
        anyhow::Ok(TurnCredentials::open(&bytes)?)
    };
    let mut asked = std::pin::pin!(asked);
    let credentials = loop {
        tokio::select! {
            answer = &mut asked => break answer?,
            event = swarm.select_next_some() => tracing::debug!(?event),
        }
    };
    println!("{}", String::from_utf8(credentials.to_bytes())?);
    Ok(())
}
