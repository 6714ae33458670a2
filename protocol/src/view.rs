//! What a page sees of its node and says to it. Trusted and unversioned: both sides are of one
//! build. The JSON form (camelCase) is what the JavaScript API hands out.

mod command;
mod event;
mod network;

pub use command::{AskRequest, Command, DonateLimits, GenomeChange, Route};
pub use event::{AskErrorCode, AskUpdate, Event, LogLevel, LogLine};
pub use network::{
    AnnouncedView, Capabilities, LinkView, NetworkKind, Path, PeerView, Reachability, RelayState,
    RelayView, Through,
};

use crate::id::{ModelId, NodeId, TaskId};
use crate::model::Backend;
use serde::{Deserialize, Serialize};

/// Everything a page shows, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// this peer
    pub peer_id: NodeId,
    /// what the node does and why
    pub status: Status,
    /// the relays it was told of
    pub relays: Vec<RelayView>,
    /// the peers it is connected to, by id
    pub peers: Vec<PeerView>,
    /// what peers announced, connected or not, by id
    pub announced: Vec<AnnouncedView>,
    /// work for others
    pub donation: DonationView,
    /// the model in the engine, if any
    pub model: Option<ModelView>,
    /// whether identity and choices survive a reload, and why not
    pub storage: StorageView,
}

/// What the node does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// in one word
    pub state: State,
    /// in one sentence: what it waits for, or why it stands still
    pub reason: String,
    /// name of the loaded model
    pub model: Option<String>,
    /// what computes
    pub backend: Option<Backend>,
    /// threads that compute, where the CPU does
    pub threads: Option<u32>,
    /// why they are fewer than were to be, in a few words
    pub threads_reason: Option<String>,
    /// what lies between this browser and the others
    pub reachability: Reachability,
    /// version of the software
    pub version: String,
    /// commit it was built from
    pub commit: String,
}

/// How many threads compute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Threads {
    /// at least one
    pub used: u32,
    /// why they are fewer than were to be, in a few words
    pub reason: Option<String>,
}

/// States of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// looking for a relay
    Connecting,
    /// something a person must mend
    Error,
    /// not started, or closed
    Off,
    /// donation was asked for and is held back
    Paused,
    /// connected and idle
    Ready,
    /// computing for somebody
    Working,
}

/// A model, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelView {
    /// SHA-256 of the file
    pub id: ModelId,
    /// name in the catalogue or of the file
    pub name: String,
    /// tokens that fit
    pub context_tokens: u32,
}

/// Work for others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DonationView {
    /// how far it is
    pub mode: DonationMode,
    /// tasks being computed for others
    pub jobs: Vec<JobView>,
    /// tasks computed to the end so far, over reloads too
    pub jobs_done: u64,
    /// tokens computed for others so far, over reloads too
    pub tokens_done: u64,
}

/// How far the donation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DonationMode {
    /// finishes what it has, takes nothing new, then is off
    Finishing,
    /// takes nothing; the person never said yes, or finished
    Off,
    /// takes work
    On,
    /// takes nothing until it is resumed
    Paused,
}

/// A task being computed for somebody else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// the task
    pub task_id: TaskId,
    /// who asked
    pub peer_id: NodeId,
    /// tokens so far
    pub tokens: u32,
}

/// Where identity and choices are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageView {
    /// whether they survive a reload
    pub persistent: bool,
    /// why not
    pub reason: Option<String>,
}
