//! What a page sees of its node and says to it. Trusted and unversioned: both sides are of one
//! build. The JSON form (camelCase) is what the JavaScript API hands out.

use crate::id::{ModelId, NodeId, TaskId};
use crate::model::Backend;
use crate::sampling::Sampling;
use crate::task::{FinishReason, PromptInput, Token};
use crate::time::Millis;
use crate::truncation::{Discarded, Truncation};
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

/// What a person or a program wants of the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "camelCase")]
pub enum Command {
    /// answer a prompt
    Ask(AskRequest),
    /// forget an answer that is under way
    CancelAsk {
        /// the asker's own number
        ask: u64,
    },
    /// take work from others
    Donate(DonateLimits),
    /// finish what is taken, then stop donating
    Finish,
    /// stop computing for others at once, until `Donate`
    Pause,
}

/// What a donor gives at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DonateLimits {
    /// tasks at once
    pub slots: u32,
    /// tokens for one task
    pub max_new_tokens: u32,
    /// percent of the time that the engine computes for others while it has work of theirs
    pub share_percent: u32,
}

impl Default for DonateLimits {
    /// Two tasks of 512 tokens at full speed: a tab that stays responsive.
    fn default() -> Self {
        Self {
            slots: 2,
            max_new_tokens: 512,
            share_percent: 100,
        }
    }
}

/// A prompt and where to answer it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskRequest {
    /// the asker's own number; updates carry it
    pub ask: u64,
    /// the model's name or id; `None` is the loaded one, else any that a peer offers
    pub model: Option<String>,
    /// what is asked
    pub input: PromptInput,
    /// tokens at most
    pub max_new_tokens: u32,
    /// how tokens are chosen
    pub sampling: Sampling,
    /// texts that end the answer
    pub stop: Vec<String>,
    /// from asking to the last token
    pub deadline_millis: Millis,
    /// what happens where the context is full
    #[serde(default)]
    pub truncation: Truncation,
    /// where to compute
    pub route: Route,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Route {
    /// the peer that promises the most, else here
    Auto,
    /// here, never elsewhere
    Local,
    /// any peer, never here
    Peer,
    /// this peer and no other
    PeerId(NodeId),
}

/// What happened to a genome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GenomeChange {
    /// answers can wear it
    Loaded,
    /// it is gone
    Removed,
}

/// What happens in the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase")]
pub enum Event {
    /// an answer goes on
    Ask {
        /// the asker's own number
        ask: u64,
        /// what happened
        update: AskUpdate,
    },
    /// a task for somebody else ended
    Contribution {
        /// the task
        task_id: TaskId,
        /// who asked
        peer_id: NodeId,
        /// tokens computed
        tokens: u32,
        /// whether it was computed to the end
        completed: bool,
    },
    /// a genome came or went
    Genome {
        /// SHA-256 of its files
        id: ModelId,
        /// for people
        name: String,
        /// which of the two
        change: GenomeChange,
    },
    /// a line of the log
    Log(LogLine),
    /// a peer broke the protocol
    Misbehaviour {
        /// which
        peer_id: NodeId,
        /// how
        what: String,
    },
    /// the view changed: ask for a snapshot when you next draw
    Changed,
    /// the model is on its way
    Progress {
        /// what is being done: `download`, `genome`, `probe`, `read`
        stage: String,
        /// bytes so far
        loaded: u64,
        /// bytes in all, where known
        total: Option<u64>,
    },
}

/// What happens to an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum AskUpdate {
    /// the next text
    #[serde(rename_all = "camelCase")]
    Delta {
        /// index of the last token in it
        index: u32,
        /// text; may be empty while a character is incomplete
        text: String,
        /// the tokens that came with it, where their log probabilities were asked for; the text
        /// lags behind them while a stop string may be beginning
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tokens: Vec<Token>,
    },
    /// the end
    #[serde(rename_all = "camelCase")]
    Done {
        /// why it ended
        finish_reason: FinishReason,
        /// the whole text
        text: String,
        /// tokens of the prompt
        prompt_tokens: u32,
        /// tokens of the answer
        completion_tokens: u32,
        /// what the context had no room for
        #[serde(default)]
        discarded: Discarded,
        /// who computed the last part
        provider: NodeId,
        /// how bytes got there, `None` where it was this tab
        path: Option<Path>,
        /// the model that answered
        model: ModelId,
        /// attempts it took
        attempts: u32,
        /// milliseconds from asking to the first token
        first_token_millis: Millis,
        /// milliseconds from asking to the end
        total_millis: Millis,
    },
    /// there will be no answer
    #[serde(rename_all = "camelCase")]
    Failed {
        /// stable, for programs
        code: AskErrorCode,
        /// for people
        message: String,
    },
    /// an attempt failed; the next one follows
    #[serde(rename_all = "camelCase")]
    Retrying {
        /// who failed
        provider: NodeId,
        /// why
        reason: String,
    },
    /// sent to a provider
    #[serde(rename_all = "camelCase")]
    Routed {
        /// who
        provider: NodeId,
        /// how bytes get there, `None` where it is this tab
        path: Option<Path>,
        /// from 1
        attempt: u32,
    },
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskErrorCode {
    /// the asker cancelled
    Cancelled,
    /// too many answers are under way
    Busy,
    /// the deadline passed
    DeadlinePassed,
    /// the request is wrong
    InvalidRequest,
    /// nobody who could answer is reachable
    NoProvider,
    /// every provider that was tried failed
    ProvidersFailed,
    /// nobody offers the model
    UnknownModel,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// milliseconds since the node was made
    pub at_millis: Millis,
    /// how much it matters
    pub level: LogLevel,
    /// what happened
    pub message: String,
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// every decision
    Debug,
    /// somebody would care
    Info,
    /// somebody should look
    Warn,
    /// something stopped
    Error,
}
