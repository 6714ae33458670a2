//! `thrum-sim`: plays one crowd, or a whole mesh, and prints what came of it.

use clap::{Args, Parser, Subcommand};
use std::io::{self, Write as _};
use std::process::ExitCode;
use thrum_protocol::time::Millis;
use thrum_sim::crowd::{Options, play};
use thrum_sim::mesh;

/// A crowd of Thrum peers in one process, drawn from one seed.
#[derive(Debug, Parser)]
#[command(name = "thrum-sim", version)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    story: Option<Story>,
    #[command(flatten)]
    crowd: Crowd,
}

#[derive(Debug, Subcommand)]
enum Story {
    /// A hive of thousands: its links, lookups and messages, mass death and partition
    Mesh {
        /// Tabs in all
        #[arg(long, default_value_t = 1_000)]
        peers: usize,
        /// Everything is drawn from it
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Tabs in a hundred that lie to their neighbours
        #[arg(long, default_value_t = 0)]
        liars: u64,
    },
}

/// A crowd that asks and answers.
#[derive(Debug, Args)]
struct Crowd {
    /// Tabs in all
    #[arg(long, default_value_t = 50)]
    peers: usize,
    /// Of these, how many donate; a quarter where not given
    #[arg(long)]
    donors: Option<usize>,
    /// Everything is drawn from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Donors that lie
    #[arg(long, default_value_t = 0)]
    liars: usize,
    /// Askers that lie
    #[arg(long, default_value_t = 0)]
    lying_askers: usize,
    /// Prompts asked; as many as tabs where not given
    #[arg(long)]
    asks: Option<usize>,
    /// Relays
    #[arg(long, default_value_t = 1)]
    relays: usize,
    /// Chance in per cent that a frame breaks its stream
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// Donors that are killed
    #[arg(long, default_value_t = 0)]
    deaths: usize,
    /// Pairs that lose sight of each other for a while
    #[arg(long, default_value_t = 0)]
    cuts: usize,
    /// Times a relay dies and returns
    #[arg(long, default_value_t = 0)]
    relay_deaths: usize,
    /// Times an engine loses its device
    #[arg(long, default_value_t = 0)]
    engine_losses: usize,
    /// Milliseconds of the shortest way
    #[arg(long, default_value_t = 20)]
    latency: u64,
    /// Milliseconds on top, drawn for each frame
    #[arg(long, default_value_t = 60)]
    jitter: u64,
    /// Prints every event before the summary
    #[arg(long)]
    log: bool,
}

fn main() -> io::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.story {
        Some(Story::Mesh { peers, seed, liars }) => {
            let options = mesh::Options {
                seed,
                liars: liars.min(90),
                ..mesh::Options::of(peers.max(50))
            };
            let (_, report) = mesh::play(&options);
            write!(io::stdout().lock(), "{report}")?;
            Ok(ExitCode::SUCCESS)
        }
        None => crowd(&arguments.crowd),
    }
}

fn crowd(arguments: &Crowd) -> io::Result<ExitCode> {
    let peers = arguments.peers.max(2);
    let donors = arguments.donors.unwrap_or(peers / 4).clamp(1, peers - 1);
    let options = Options {
        seed: arguments.seed,
        peers,
        donors,
        liars: arguments.liars.min(donors),
        lying_askers: arguments.lying_askers.min(peers - donors),
        asks: arguments.asks.unwrap_or(peers),
        relays: arguments.relays.max(1),
        loss_ppm: (arguments.loss.clamp(0.0, 100.0) * 10_000.0) as u64,
        deaths: arguments.deaths,
        cuts: arguments.cuts,
        relay_deaths: arguments.relay_deaths,
        engine_losses: arguments.engine_losses,
        latency: Millis(arguments.latency),
        jitter: Millis(arguments.jitter),
    };
    let (world, summary) = play(&options);
    let mut out = io::stdout().lock();
    if arguments.log {
        write!(out, "{}", world.log)?;
    }
    write!(out, "{summary}")?;
    Ok(if summary.broken_promises.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
