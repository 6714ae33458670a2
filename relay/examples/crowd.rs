//! Fills a relay with peers that have a place there and sit idle, then has pairs of them meet: the
//! load of `npm run bench -- relay`. It says on its output how far it is, and goes on when its
//! input says so:
//!
//! 1. connects, until as many as wanted have a place, says `placed <count>`, and waits for a line;
//! 2. has the wanted number of circuits opened, evenly over a minute, each to carry what meeting
//!    takes; says `met <count> <p50> <p95>` (milliseconds from the dial to the last byte), and ends
//!    with its input.
//!
//! `cargo run --profile native -p thrum-relay --example crowd -- <multiaddr> <peers> <meetings>`

#![expect(clippy::print_stdout, reason = "its output is what it is run for")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "libp2p's events, of which a crowd awaits some"
)]

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::core::transport::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, relay, tcp,
    websocket, yamux,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

const ECHO: StreamProtocol = StreamProtocol::new("/thrum-bench/echo/1");

/// bytes; an offer, an answer and their candidates.
const MEETING_BYTES: usize = 5_000;

/// Peers that connect at once.
const CONNECTING: usize = 16;

/// Peers at most: a mistyped number must not take the machine.
const MAX_PEERS: usize = 20_000;

/// Over how long the meetings are spread.
const MEETING_TIME: Duration = Duration::from_secs(60);

/// It ends by itself after this, however far it is.
const MAX_LIFE: Duration = Duration::from_secs(15 * 60);

/// How long one peer tries to get its place, or to meet.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    stream: libp2p_stream::Behaviour,
}

fn peer() -> anyhow::Result<Swarm<Behaviour>> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|keypair| {
            let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
            let transport = websocket::Config::new(tcp)
                .upgrade(Version::V1Lazy)
                .authenticate(noise::Config::new(keypair)?)
                .multiplex(yamux::Config::default());
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(transport)
        })?
        .with_relay_client(noise::Config::new, yamux::Config::default)?
        .with_behaviour(|keypair, relay| Behaviour {
            relay,
            identify: identify::Behaviour::new(identify::Config::new(
                "thrum-bench/1".to_owned(),
                keypair.public(),
            )),
            ping: ping::Behaviour::new(ping::Config::new()),
            stream: libp2p_stream::Behaviour::new(),
        })?
        .build();
    Ok(swarm)
}

/// Gets a place at the relay, says so, and keeps it while this runs.
async fn sit(relay: Multiaddr, placed: mpsc::Sender<PeerId>) -> anyhow::Result<()> {
    let mut swarm = peer()?;
    let own = *swarm.local_peer_id();
    swarm.listen_on(relay.with(Protocol::P2pCircuit))?;
    let reserved = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::Behaviour(BehaviourEvent::Relay(
                    relay::client::Event::ReservationReqAccepted { .. },
                )) => return Ok(()),
                SwarmEvent::ListenerClosed { reason, .. } => {
                    anyhow::bail!("no place: {reason:?}")
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, reserved).await??;
    let mut control = swarm.behaviour().stream.new_control();
    let mut asked = control.accept(ECHO)?;
    placed.send(own).await?;
    loop {
        tokio::select! {
            _ = swarm.select_next_some() => {}
            Some((_, stream)) = asked.next() => {
                tokio::spawn(echo(stream));
            }
        }
    }
}

async fn echo(mut stream: libp2p::Stream) -> anyhow::Result<()> {
    let mut bytes = vec![0; MEETING_BYTES];
    stream.read_exact(&mut bytes).await?;
    stream.write_all(&bytes).await?;
    stream.close().await?;
    Ok(())
}

/// Dials a peer through the relay and talks as two tabs do that are about to meet.
async fn meet(relay: Multiaddr, other: PeerId) -> anyhow::Result<Duration> {
    let mut swarm = peer()?;
    let mut control = swarm.behaviour().stream.new_control();
    swarm.dial(relay.clone())?;
    let connected = async {
        while !matches!(
            swarm.select_next_some().await,
            SwarmEvent::ConnectionEstablished { .. }
        ) {}
    };
    timeout(PATIENCE, connected).await?;
    let since = Instant::now();
    let circuit = relay.with(Protocol::P2pCircuit);
    swarm.dial(circuit.with(Protocol::P2p(other)))?;
    let talk = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == other => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error.into()),
                _ => {}
            }
        }
        let said = async {
            let mut stream = control.open_stream(other, ECHO).await?;
            stream.write_all(&vec![7; MEETING_BYTES]).await?;
            stream.flush().await?;
            let mut back = vec![0; MEETING_BYTES];
            stream.read_exact(&mut back).await?;
            anyhow::Ok(since.elapsed())
        };
        tokio::select! {
            took = said => took,
            () = async { loop { swarm.select_next_some().await; } } => unreachable!(),
        }
    };
    timeout(PATIENCE, talk).await?
}

async fn fill(
    relay: &Multiaddr,
    n_peers: usize,
) -> anyhow::Result<(Vec<PeerId>, JoinSet<anyhow::Result<()>>)> {
    let (tell, mut told) = mpsc::channel(CONNECTING);
    let mut sitting = JoinSet::new();
    let mut placed = Vec::new();
    let mut n_trying = 0;
    let mut n_failed = 0;
    while placed.len() < n_peers {
        while n_trying < CONNECTING && placed.len() + n_trying < n_peers {
            sitting.spawn(sit(relay.clone(), tell.clone()));
            n_trying += 1;
        }
        tokio::select! {
            Some(id) = told.recv() => {
                n_trying -= 1;
                placed.push(id);
            }
            Some(ended) = sitting.join_next() => {
                n_trying = n_trying.saturating_sub(1);
                n_failed += 1;
                anyhow::ensure!(n_failed <= n_peers, "too many found no place: {ended:?}");
                sleep(Duration::from_millis(200)).await;
            }
        }
    }
    Ok((placed, sitting))
}

async fn meetings(relay: &Multiaddr, placed: &[PeerId], n_meetings: usize) -> Vec<Duration> {
    let mut tick = interval(MEETING_TIME / u32::try_from(n_meetings.max(1)).unwrap_or(u32::MAX));
    let mut meeting = JoinSet::new();
    for n in 0..n_meetings {
        tick.tick().await;
        meeting.spawn(meet(relay.clone(), placed[n * 7 % placed.len()]));
    }
    let ended = meeting.join_all().await;
    let mut times: Vec<_> = ended.into_iter().filter_map(Result::ok).collect();
    times.sort();
    times
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [relay, n_peers, n_meetings] = &arguments[..] else {
        anyhow::bail!("give a relay's multiaddr, a number of peers, and one of meetings");
    };
    let relay: Multiaddr = relay.parse()?;
    let n_peers: usize = n_peers.parse().context("how many peers?")?;
    anyhow::ensure!((1..=MAX_PEERS).contains(&n_peers), "1 to {MAX_PEERS} peers");
    let run = async {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        let (placed, _sitting) = fill(&relay, n_peers).await?;
        println!("placed {}", placed.len());
        lines.next_line().await?;
        let times = meetings(&relay, &placed, n_meetings.parse()?).await;
        let at = |share: usize| {
            times
                .get(times.len() * share / 100)
                .map_or(0, Duration::as_millis)
        };
        println!("met {} {} {}", times.len(), at(50), at(95));
        lines.next_line().await?;
        anyhow::Ok(())
    };
    timeout(MAX_LIFE, run).await?
}
