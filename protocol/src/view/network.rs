//! Relays, peers, and what lies between.

use super::ModelView;
use crate::id::NodeId;
use crate::model::Backend;
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// What lies between a browser and the others, as far as relays see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reachability {
    /// in one word
    pub kind: NetworkKind,
    /// what the browser said of servers that did not answer
    pub error: Option<String>,
}

/// Kinds of networks by what they do to UDP (RFC 4787 §4.1, as far as one host with two ports shows it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NetworkKind {
    /// one outer port for all: most others can be reached directly
    Cone,
    /// outer ports are not known to stay the same: only one server could be asked
    Nat,
    /// no router changes addresses
    Open,
    /// the person has every connection go through TURN
    RelayOnly,
    /// another outer port for each server: others like it are reached by TURN only
    Symmetric,
    /// no server was reached by UDP
    UdpBlocked,
    /// not looked at yet
    #[default]
    Unknown,
}

/// A relay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelayView {
    /// the address or origin the person gave
    pub address: String,
    /// how far the connection is
    pub state: RelayState,
    /// milliseconds until the next try, where one is due
    pub retry_in_millis: Option<Millis>,
    /// why the last try failed
    pub error: Option<String>,
}

/// How far the connection to a relay is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RelayState {
    /// connected, no reservation yet
    Connected,
    /// being dialled
    Connecting,
    /// connected and reachable by others through it
    Reserved,
    /// waiting for the next try
    Waiting,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// the peer
    pub peer_id: NodeId,
    /// how bytes get there
    pub path: Path,
    /// the transport under it: `webrtc`, `websocket`, `circuit`
    pub transport: String,
    /// last measured round trip
    pub rtt_millis: Option<u64>,
    /// what it says it can do
    pub capabilities: Option<Capabilities>,
    /// 0 (lied) to 1; `None` before anything is known
    pub reputation: Option<f64>,
    /// its software
    pub agent: Option<String>,
    /// what it is doing for or with us, in a few words
    pub activity: Option<String>,
    /// why it is not reached directly, where that was tried and failed
    pub direct_error: Option<String>,
    /// a direct connection as the browser measures it
    pub link: Option<LinkView>,
}

/// What a peer announced to everybody: its own claim, until it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedView {
    /// the peer
    pub peer_id: NodeId,
    /// the models it answers with
    pub models: Vec<ModelView>,
    /// what computes
    pub backend: Option<Backend>,
    /// at least
    pub tokens_per_second: u64,
    /// tasks it computes at once
    pub slots: u32,
    /// milliseconds until the announcement ends
    pub expires_in_millis: Millis,
}

/// What the browser knows of a direct connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// what lies between the two browsers
    pub through: Through,
    /// received since it stands
    pub bytes_in: u64,
    /// sent since it stands
    pub bytes_out: u64,
}

/// What lies between two browsers that are connected directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Through {
    /// nothing: both are reached at addresses of their own
    Network,
    /// perhaps a NAT: an address was found only when packets came from it
    Unknown,
    /// at least one NAT
    Nat,
    /// a TURN server, which passes on what it cannot read
    Turn,
}

/// How bytes get to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// without a third machine
    Direct,
    /// through a relay
    Relayed,
}

/// What a peer says it can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// whether it takes work
    pub donating: bool,
    /// what computes
    pub backend: Option<Backend>,
    /// the models it answers with
    pub models: Vec<ModelView>,
    /// claimed at first, measured after the first task
    pub tokens_per_second: f64,
    /// tasks it is computing now
    pub busy: u32,
    /// tasks it computes at once
    pub slots: u32,
    /// tokens it generates for one task at most
    pub max_new_tokens: u32,
}
