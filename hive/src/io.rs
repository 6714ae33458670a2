//! What goes into the machine and what comes out of it. Every effect carries an id that its result
//! brings back.

use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::task::{FinishReason, Prompt, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{Command, Event, LinkView, Path, Threads};

/// A relay as the edge knows it: its place in the list the machine was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RelayIndex(pub usize);

/// A stream to a peer. The machine numbers those it opens with even numbers, the edge those it
/// accepts with odd ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// A run of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// one advert, then closed
    Advert,
    /// one hint of other peers, then closed: the peer is asked to leave
    Hint,
    /// one attempt at one task
    Task,
}

/// A peer that a relay's rendezvous knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// the peer
    pub peer: NodeId,
    /// multiaddrs, as text
    pub addresses: Vec<String>,
}

/// A message of gossip, as the edge numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GossipId(pub u64);

/// What gossip is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// [`CapabilityRecord`](thrum_protocol::capability::CapabilityRecord)s; every peer follows it
    Announce,
}

/// What becomes of a message of gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// it is passed on
    Accept,
    /// it is not passed on, and whom it came from is not to blame
    Ignore,
    /// it is not passed on, and counts against whom it came from
    Reject,
}

/// Where it is written down who answers with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// a relay's rendezvous, in the model's own namespace
    Rendezvous(RelayIndex),
    /// the Kademlia table that the relays keep
    Kad,
}

/// How a peer is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// from browser to browser; the peer's relays carry the signalling, one after the other
    Direct,
    /// from browser to browser, by TURN where there is no other way
    Turn,
    /// all bytes through a relay
    Relayed,
}

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// from the person or the program at the page
    Command(Command),

    /// a connection to the relay is up
    RelayConnected(RelayIndex),
    /// the relay keeps a place for us: others reach us through it
    RelayReserved(RelayIndex),
    /// a dial failed or the connection ended
    RelayLost {
        /// which
        relay: RelayIndex,
        /// for people
        reason: String,
    },
    /// the answer to [`Output::Discover`]
    Discovered {
        /// which
        relay: RelayIndex,
        /// who is registered there
        found: Vec<Found>,
    },
    /// which peer a relay is, and so the name under which others know it; before its reservation
    RelayIdentified {
        /// which
        relay: RelayIndex,
        /// its peer id
        id: NodeId,
    },
    /// the answer to [`Output::LookUp`]
    LookedUp {
        /// where
        place: Place,
        /// which model
        model: ModelId,
        /// who answers with it; nobody, too, where the question failed
        found: Vec<Found>,
    },
    /// what the wall clock shows, in ms since 1970: told at the start, and when it was set anew or
    /// the machine's own clock stood still. Until then nothing is announced
    WallClock(Millis),
    /// a message of gossip, once; [`Output::GossipVerdict`] follows at once
    Gossip {
        /// the neighbour that passed it on, not its author
        from: NodeId,
        /// what it is about
        topic: Topic,
        /// as they came
        bytes: Vec<u8>,
        /// brought back by the verdict
        id: GossipId,
    },
    /// what [`Output::Publish`] brought went nowhere: no neighbour follows the topic yet
    NotPublished(Topic),
    /// the first connection to a peer is up, or its best path changed
    Connected {
        /// who
        peer: NodeId,
        /// the best path at the moment
        path: Path,
        /// `webrtc`, `websocket`, `circuit`
        transport: String,
    },
    /// the last connection to a peer ended
    Disconnected {
        /// who
        peer: NodeId,
    },
    /// the answer to [`Output::Dial`] where it failed
    DialFailed {
        /// who
        peer: NodeId,
        /// for people
        reason: String,
    },
    /// a ping came back
    RoundTrip {
        /// who
        peer: NodeId,
        /// how long it took
        rtt: Millis,
    },
    /// the browser measured a direct connection
    LinkMeasured {
        /// to whom
        peer: NodeId,
        /// what it found
        link: LinkView,
    },
    /// the answer to [`Output::Gather`]
    Gathered(Gathering),
    /// the browser went on- or offline
    Online(bool),
    /// the page thaws or returns from the back-forward cache: connections may be dead
    Resumed,

    /// a peer opened a stream; the id is odd
    StreamAccepted {
        /// its number
        stream: StreamId,
        /// the authenticated peer at the other end
        peer: NodeId,
        /// what it is for
        kind: StreamKind,
    },
    /// the answer to [`Output::Open`]
    StreamOpened(StreamId),
    /// a whole frame arrived
    Frame {
        /// on which
        stream: StreamId,
        /// at most [`MAX_FRAME_BYTES`](thrum_protocol::limits::MAX_FRAME_BYTES)
        bytes: Vec<u8>,
    },
    /// the stream ended, could not be opened, or broke the framing. No more input carries its id
    StreamClosed {
        /// which
        stream: StreamId,
        /// for people
        reason: String,
    },

    /// the engine holds a model and has measured its speed
    EngineReady {
        /// which
        model: ModelOffer,
        /// what computes
        backend: Backend,
        /// with how many threads, where that is known
        threads: Option<Threads>,
        /// thousandths of a token per second
        millitokens_per_second: u64,
    },
    /// what computes was lost: the engine loads its model again and jobs wait; `EngineReady` or
    /// `EngineLost` follows
    EngineRestoring {
        /// for people
        reason: String,
    },
    /// the engine holds no model, and every job is gone
    EngineLost {
        /// for people
        reason: String,
    },
    /// tokens of a job, in order
    JobTokens {
        /// which
        job: JobId,
        /// the next tokens
        tokens: Vec<Token>,
    },
    /// a job is done
    JobDone {
        /// which
        job: JobId,
        /// why it ended
        finish_reason: FinishReason,
        /// tokens of the prompt
        prompt_tokens: u32,
        /// bytes at the end of the pieces that belong to a stop string
        trimmed_bytes: u32,
        /// what the context had no room for
        discarded: Discarded,
    },
    /// a job failed
    JobFailed {
        /// which
        job: JobId,
        /// whether the request is to blame (and would fail anywhere), not the engine
        invalid_request: bool,
        /// for people
        message: String,
    },

    /// what was kept under a key of [`Output::Load`]
    Loaded {
        /// the key
        key: StoreKey,
        /// the value, `None` where there is none
        value: Option<Vec<u8>>,
    },
    /// whether values survive a reload, as found when the store was opened or last written
    StorageState {
        /// whether they do
        persistent: bool,
        /// why not
        reason: Option<String>,
    },

    /// the moment of [`Output::WakeAt`] has come, or some other moment: harmless at any time
    Wake,
}

/// What a browser found out about its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gathering {
    /// no relay names a STUN server
    NoServer,
    /// the person has every connection go through TURN
    RelayOnly,
    /// the browser does not look, for people
    Failed(String),
    /// what it found with the first server alone, and with all
    Found {
        /// count; servers in all
        servers: usize,
        /// with one
        one: Addresses,
        /// with all
        all: Addresses,
    },
}

/// What was found with some servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// of the machine: `address:port`
    pub own: Vec<String>,
    /// as servers see it: `address:port`
    pub mapped: Vec<String>,
    /// what the browser says of servers that did not answer
    pub errors: Vec<String>,
    /// whether it was done in time
    pub complete: bool,
}

/// What the machine keeps across reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreKey {
    /// the person's choice to donate, with its limits
    Donation,
    /// what was computed for others so far
    Contribution,
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Output {
    /// connect to the relay and ask it for a reservation
    DialRelay(RelayIndex),
    /// drop the connection to the relay
    HangUpRelay(RelayIndex),
    /// register under the namespace, for others to find
    Register(RelayIndex),
    /// ask who is registered
    Discover(RelayIndex),
    /// have the browser look for its addresses; [`Input::Gathered`] follows
    Gather,
    /// let it be written down that we answer with a model. Again and again, since it is forgotten
    Offer {
        /// where
        place: Place,
        /// which model
        model: ModelId,
    },
    /// take that back
    Withdraw {
        /// where
        place: Place,
        /// which model
        model: ModelId,
    },
    /// ask who answers with a model; [`Input::LookedUp`] follows
    LookUp {
        /// where
        place: Place,
        /// which model
        model: ModelId,
    },
    /// tell everybody who follows the topic
    Publish {
        /// what it is about
        topic: Topic,
        /// at most [`MAX_CAPABILITY_BYTES`](thrum_protocol::limits::MAX_CAPABILITY_BYTES)
        bytes: Vec<u8>,
    },
    /// whether a message of gossip is passed on
    GossipVerdict {
        /// of [`Input::Gossip`]
        id: GossipId,
        /// what becomes of it
        verdict: Verdict,
    },
    /// connect to a peer
    Dial {
        /// who
        peer: NodeId,
        /// multiaddrs, as text
        addresses: Vec<String>,
        /// how; a peer that is connected through a relay may be dialled directly
        way: Way,
    },
    /// drop all connections to a peer
    Disconnect {
        /// who
        peer: NodeId,
    },

    /// open a stream
    Open {
        /// its number, even
        stream: StreamId,
        /// to whom
        peer: NodeId,
        /// what for
        kind: StreamKind,
    },
    /// send a frame
    Send {
        /// on which
        stream: StreamId,
        /// at most [`MAX_FRAME_BYTES`](thrum_protocol::limits::MAX_FRAME_BYTES)
        frame: Vec<u8>,
    },
    /// end the stream when all frames are sent. No `StreamClosed` follows
    Close(StreamId),

    /// load the model the node was made with; [`Input::EngineReady`] or [`Input::EngineLost`] follows
    LoadModel,
    /// let the engine answer
    Run {
        /// number of the job
        job: JobId,
        /// what to answer; the model is the loaded one
        prompt: Box<Prompt>,
        /// whether the person at this page waits for it: served first
        local: bool,
    },
    /// compute for others, jobs with `local: false`, this much of the time and no more
    Share {
        /// of the time while there is work of theirs
        percent: u32,
    },
    /// stop a job. No more input carries its id
    Cancel(JobId),

    /// keep a value
    Store {
        /// under which key
        key: StoreKey,
        /// the value
        value: Vec<u8>,
    },
    /// bring the value back as [`Input::Loaded`]
    Load(StoreKey),

    /// tell the page
    Notify(Event),
    /// give [`Input::Wake`] at this moment; a later `WakeAt` replaces an earlier one
    WakeAt(Millis),
}
