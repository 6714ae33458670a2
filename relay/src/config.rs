//! Owns the relay's settings: what each is called, its default, and which source wins.
//!
//! 1. A flag. 2. The environment (`THRUM_*`). 3. The TOML file named by `--config`. 4. A default.
//!
//! The first that speaks is used; lists are replaced, never joined.

mod federate;
mod ice_server;
mod nat;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, ValueEnum};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::small_file;

pub use ice_server::IceServer;
pub use nat::PortRange;

/// The name of the identity's file in the state directory.
const KEY_FILE: &str = "thrum-relay.key";

/// The command line of `thrum-relay`.
#[derive(Debug, Parser)]
#[command(
    name = "thrum-relay",
    version = crate::VERSION_AND_COMMIT,
    about = "Introduces Thrum peers, carries bytes until they meet, and serves the page.",
    after_help = "A flag wins over the environment, the environment over the file of --config, \
                  and the file over the default.\nEvery flag but --print-config may stand in that \
                  file, spelled with underscores: --print-config prints one."
)]
pub struct CommandLine {
    /// Reads settings from this TOML file.
    #[arg(long, value_name = "FILE", env = "THRUM_CONFIG")]
    pub config: Option<PathBuf>,

    /// Prints the effective settings as TOML, and exits.
    #[arg(long)]
    pub print_config: bool,

    /// The settings given as flags or in the environment.
    #[command(flatten)]
    pub settings: Settings,
}

/// What one source says; `None` where it says nothing.
#[derive(Debug, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Serves the page, the models, health and metrics here [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT", env = "THRUM_HTTP")]
    pub http: Option<SocketAddr>,

    /// Listens for libp2p over WebSocket here (TCP; port 0: any) [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDRESS:PORT", env = "THRUM_WS")]
    pub ws: Option<SocketAddr>,

    /// Listens for libp2p over webrtc-direct here (UDP; port 0: any) [default: 127.0.0.1:8082].
    #[arg(long, value_name = "ADDRESS:PORT", env = "THRUM_WEBRTC")]
    pub webrtc: Option<SocketAddr>,

    /// Speaks TLS at --http and --ws, with the certificate chain in this PEM file. It is read again
    /// when it changes, and at SIGHUP [default: none].
    #[arg(long, value_name = "FILE", env = "THRUM_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,

    /// Uses the private key in this PEM file for the certificate of --tls-cert [default: none].
    #[arg(long, value_name = "FILE", env = "THRUM_TLS_KEY")]
    pub tls_key: Option<PathBuf>,

    /// Announces these multiaddrs instead of the addresses listened on, separated by commas: for
    /// a relay behind a proxy or a translated address. A webrtc-direct one needs no certhash.
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "THRUM_ANNOUNCE",
        value_delimiter = ','
    )]
    pub announce: Option<Vec<Multiaddr>>,

    /// Federates with these relays, separated by commas, each a multiaddr that ends in its peer
    /// id: peers of theirs are found here, and ours there, where they name this relay too. One
    /// given as /p2p/<peer id> alone is waited for [default: none].
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "THRUM_FEDERATE",
        value_delimiter = ','
    )]
    pub federate: Option<Vec<Multiaddr>>,

    /// Recommends these STUN or TURN servers to peers, as stun:host:port, separated by commas. In
    /// the file each is a table of urls, username and credential [default: none].
    #[arg(
        long,
        value_name = "URL",
        env = "THRUM_ICE_SERVERS",
        value_delimiter = ','
    )]
    pub ice_servers: Option<Vec<IceServer>>,

    /// Answers STUN here, and TURN where --turn is on (UDP; port 0: any), separated by commas: two
    /// ports let peers tell what kind of NAT they are behind
    /// [default: 127.0.0.1:3478,127.0.0.1:3479].
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        env = "THRUM_STUN",
        value_delimiter = ','
    )]
    pub stun: Option<Vec<SocketAddr>>,

    /// Says that STUN and TURN are reached at this address, where it is not the one listened on
    /// [default: the first of --announce, else that of --stun].
    #[arg(long, value_name = "IP", env = "THRUM_PUBLIC_IP")]
    pub public_ip: Option<IpAddr>,

    /// Relays packets by TURN for peers that cannot meet otherwise, with credentials that only
    /// connected peers get [default: true where --stun is on this machine only].
    #[arg(long, value_name = "BOOL", env = "THRUM_TURN")]
    pub turn: Option<bool>,

    /// Takes the ports of TURN from this range [default: 49160-49415].
    #[arg(long, value_name = "FIRST-LAST", env = "THRUM_TURN_PORTS")]
    pub turn_ports: Option<PortRange>,

    /// Lets TURN send to loopback, private and link-local addresses, which opens the relay's own
    /// network to its peers [default: true where --stun is on this machine only].
    #[arg(long, value_name = "BOOL", env = "THRUM_TURN_ALLOW_PRIVATE")]
    pub turn_allow_private: Option<bool>,

    /// Serves the built page from this directory, and /embed/ from its `embed` [default: dist].
    #[arg(long, value_name = "DIR", env = "THRUM_PAGE")]
    pub page: Option<PathBuf>,

    /// Serves the models that this directory's index.json lists [default: models].
    #[arg(long, value_name = "DIR", env = "THRUM_MODELS")]
    pub models: Option<PathBuf>,

    /// Keeps what outlives the relay in this directory, made when missing
    /// [default: thrum in $XDG_STATE_HOME or ~/.local/state].
    #[arg(long, value_name = "DIR", env = "THRUM_STATE")]
    pub state: Option<PathBuf>,

    /// Keeps the relay's identity in this file, made when missing, and its certificate beside it
    /// [default: thrum-relay.key in the directory of --state].
    #[arg(long, value_name = "FILE", env = "THRUM_KEY")]
    pub key: Option<PathBuf>,

    /// Allows this many libp2p connections in all [default: 10240].
    #[arg(long, value_name = "COUNT", env = "THRUM_MAX_CONNECTIONS")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: Option<u32>,

    /// Allows this many libp2p connections from one IPv4 address or IPv6 /64; behind a proxy that
    /// hides addresses, raise it to max-connections.
    /// Its subnet may have eight times as many, and handshakes keep to a rate that follows
    /// [default: 64].
    #[arg(long, value_name = "COUNT", env = "THRUM_MAX_CONNECTIONS_PER_IP")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections_per_ip: Option<u32>,

    /// Logs what this filter lets through, as in `warn,thrum_relay=debug`
    /// [default: warn,libp2p_kad=error,thrum_relay=info].
    #[arg(long, value_name = "FILTER", env = "THRUM_LOG")]
    pub log: Option<String>,

    /// Writes logs for people or for machines [default: text].
    #[arg(long, value_name = "FORMAT", env = "THRUM_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One readable line.
    Text,
}

/// The effective settings. Any value is valid that its type allows, except where noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// Where HTTP is served.
    pub http: SocketAddr,
    /// Where libp2p listens over WebSocket.
    pub ws: SocketAddr,
    /// Where libp2p listens over webrtc-direct.
    pub webrtc: SocketAddr,
    /// The certificate chain of HTTP and WebSocket; `None`: both are plain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_cert: Option<PathBuf>,
    /// Its key; with the certificate or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// What is announced instead of the addresses listened on; empty: those.
    pub announce: Vec<Multiaddr>,
    /// The relays to federate with; each ends in a peer id.
    pub federate: Vec<Multiaddr>,
    /// Where STUN is answered; empty: nowhere.
    pub stun: Vec<SocketAddr>,
    /// Where STUN and TURN are reached from outside, where it is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_ip: Option<IpAddr>,
    /// Whether TURN is offered; only with STUN.
    pub turn: bool,
    /// The ports of TURN.
    pub turn_ports: PortRange,
    /// Whether TURN sends into the relay's own network.
    pub turn_allow_private: bool,
    /// The directory of the built page.
    pub page: PathBuf,
    /// The directory of the models and their `index.json`.
    pub models: PathBuf,
    /// The file of the identity.
    pub key: PathBuf,
    /// Established libp2p connections in all; at least one.
    pub max_connections: u32,
    /// Connections of one IPv4 address or IPv6 /64; at least one.
    pub max_connections_per_ip: u32,
    /// A `tracing` filter.
    pub log: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// What `/api/relay` recommends to peers. Last, since TOML wants tables after values.
    pub ice_servers: Vec<IceServer>,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            http: loopback(8080),
            ws: loopback(8081),
            webrtc: loopback(8082),
            tls_cert: None,
            tls_key: None,
            announce: Vec::new(),
            federate: Vec::new(),
            stun: vec![loopback(3478), loopback(3479)],
            public_ip: None,
            turn: true,
            turn_ports: PortRange::new(49_160, 49_415).expect("the range is not empty"),
            turn_allow_private: true,
            page: PathBuf::from("dist"),
            models: PathBuf::from("models"),
            key: default_state().join(KEY_FILE),
            max_connections: limits::DEFAULT_MAX_CONNECTIONS,
            max_connections_per_ip: limits::DEFAULT_MAX_CONNECTIONS_PER_IP,
            log: "warn,libp2p_kad=error,thrum_relay=info".to_owned(),
            log_format: LogFormat::Text,
            ice_servers: Vec::new(),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file of `--config` cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of `--config` is not TOML, or has an unknown key or a bad value.
    #[error("the configuration file {} does not hold: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Names the line, the key and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A value parses, and cannot be meant.
    #[error("{name} cannot be {value:?}: {reason}")]
    BadValue {
        /// The setting's name in the file; with dashes, its flag.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CommandLine {
    /// Joins flags, environment and file into the effective settings.
    ///
    /// # Errors
    /// When the file cannot be read or does not hold, or a value cannot be meant.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        let file = self
            .config
            .as_deref()
            .map_or(Ok(Settings::default()), read_file)?;
        let flags = self.settings;
        let default = Config::default();
        let stun = flags.stun.or(file.stun).unwrap_or(default.stun);
        let is_local = nat::is_local(&stun);
        let config = Config {
            http: flags.http.or(file.http).unwrap_or(default.http),
            ws: flags.ws.or(file.ws).unwrap_or(default.ws),
            webrtc: flags.webrtc.or(file.webrtc).unwrap_or(default.webrtc),
            tls_cert: flags.tls_cert.or(file.tls_cert),
            tls_key: flags.tls_key.or(file.tls_key),
            announce: flags.announce.or(file.announce).unwrap_or(default.announce),
            federate: flags.federate.or(file.federate).unwrap_or(default.federate),
            stun,
            public_ip: flags.public_ip.or(file.public_ip),
            turn: flags.turn.or(file.turn).unwrap_or(is_local),
            turn_ports: flags
                .turn_ports
                .or(file.turn_ports)
                .unwrap_or(default.turn_ports),
            turn_allow_private: flags
                .turn_allow_private
                .or(file.turn_allow_private)
                .unwrap_or(is_local),
            page: flags.page.or(file.page).unwrap_or(default.page),
            models: flags.models.or(file.models).unwrap_or(default.models),
            key: flags.key.or(file.key).unwrap_or_else(|| {
                let state = flags.state.or(file.state);
                state.map_or(default.key, |state| state.join(KEY_FILE))
            }),
            max_connections: flags
                .max_connections
                .or(file.max_connections)
                .unwrap_or(default.max_connections),
            max_connections_per_ip: flags
                .max_connections_per_ip
                .or(file.max_connections_per_ip)
                .unwrap_or(default.max_connections_per_ip),
            log: flags.log.or(file.log).unwrap_or(default.log),
            log_format: flags
                .log_format
                .or(file.log_format)
                .unwrap_or(default.log_format),
            ice_servers: flags
                .ice_servers
                .or(file.ice_servers)
                .unwrap_or(default.ice_servers),
        };
        config.check()?;
        Ok(config)
    }
}

impl Config {
    /// The settings as a file that `--config` reads back to the same settings.
    ///
    /// # Errors
    /// When a path is not UTF-8.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("max_connections", self.max_connections),
            ("max_connections_per_ip", self.max_connections_per_ip),
        ] {
            if value == 0 {
                return Err(bad(name, value, "nobody could connect"));
            }
        }
        match (&self.tls_cert, &self.tls_key) {
            (Some(file), None) => {
                return Err(bad(
                    "tls_cert",
                    file.display(),
                    "its key is missing: set tls_key",
                ));
            }
            (None, Some(file)) => {
                let reason = "its certificate is missing: set tls_cert";
                return Err(bad("tls_key", file.display(), reason));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        for address in &self.announce {
            check_announced(address).map_err(|reason| bad("announce", address, reason))?;
        }
        self.check_federation()?;
        self.check_nat()?;
        for server in &self.ice_servers {
            for url in &server.urls {
                ice_server::check_url(url).map_err(|reason| bad("ice_servers", url, reason))?;
            }
        }
        tracing_subscriber::EnvFilter::try_new(&self.log)
            .map_err(|error| bad("log", &self.log, error))?;
        Ok(())
    }
}

fn bad(name: &'static str, value: impl ToString, reason: impl ToString) -> ConfigError {
    ConfigError::BadValue {
        name,
        value: value.to_string(),
        reason: reason.to_string(),
    }
}

fn read_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = small_file::read(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ConfigError::Malformed {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn check_announced(address: &Multiaddr) -> Result<(), &'static str> {
    let is_host = matches!(
        address.iter().next(),
        Some(
            Protocol::Ip4(_)
                | Protocol::Ip6(_)
                | Protocol::Dns(_)
                | Protocol::Dns4(_)
                | Protocol::Dns6(_)
        )
    );
    let is_dialled_by_pages = address.iter().any(|part| {
        matches!(
            part,
            Protocol::Ws(_) | Protocol::Wss(_) | Protocol::WebRTCDirect
        )
    });
    let names_a_peer = address
        .iter()
        .any(|part| matches!(part, Protocol::P2p(_) | Protocol::P2pCircuit));
    match (is_host, is_dialled_by_pages, names_a_peer) {
        (false, _, _) => Err("it must begin with /ip4, /ip6 or /dns"),
        (true, false, _) => Err("it must hold /ws, /wss or /webrtc-direct"),
        (true, true, true) => Err("the relay adds its own /p2p/<peer id>"),
        (true, true, false) => Ok(()),
    }
}

fn default_state() -> PathBuf {
    let in_env = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    in_env("XDG_STATE_HOME")
        .or_else(|| in_env("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_default()
        .join("thrum")
}
