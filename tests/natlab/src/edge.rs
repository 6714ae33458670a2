//! Owns what the two commands are given.

#[cfg(target_os = "linux")]
pub(crate) mod end;
#[cfg(not(target_os = "linux"))]
#[path = "edge/no_end.rs"]
pub(crate) mod end;
pub(crate) mod net;

use std::path::PathBuf;

use clap::Parser;

/// A small internet in user space.
#[derive(Debug, Parser)]
pub(crate) enum CommandLine {
    /// Is the internet: reads commands from its input until that ends, and answers each.
    Net(Net),
    /// Is a host: run it in a network namespace of its own.
    End(End),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Net {
    /// Who is where, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: PathBuf,
    /// Hosts join at this socket, which must not be there yet.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct End {
    /// The internet's socket.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// Which host of the plan it is.
    #[arg(long)]
    pub(crate) host: String,
    /// The host's address and its network, as 10.0.0.2/24.
    #[arg(long)]
    pub(crate) address: String,
    /// What runs there; with its end, the host ends.
    #[arg(required = true, last = true)]
    pub(crate) command: Vec<String>,
}
