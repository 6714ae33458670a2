//! Every bound on what this peer does, with its unit and its reason.

use thrum_protocol::limits::HEARTBEAT_PERIOD;
use thrum_protocol::time::Millis;

/// ms; the first wait after a relay failed. Shorter would hammer a relay that restarts.
pub const RELAY_BACKOFF_MIN: Millis = Millis(1_000);
/// ms; the longest wait between tries. A person who mends the relay waits a minute at most.
pub const RELAY_BACKOFF_MAX: Millis = Millis(60_000);
/// ms; a reservation that lasted this long proves the relay works: the backoff starts afresh.
pub const RELAY_STABLE: Millis = Millis(10_000);
/// ms; from dialling to the reservation. ICE and a slow link need up to half of it.
pub const RELAY_TIMEOUT: Millis = Millis(30_000);
/// ms; how often we register again. Well under the two hours a rendezvous keeps a registration.
pub const REGISTER_PERIOD: Millis = Millis(5 * 60_000);
/// ms; how often we ask who is there while we have few peers.
pub const DISCOVER_PERIOD: Millis = Millis(20_000);
/// ms; how often we ask while we have enough: a page is 20 kB, and 10,000 peers ask.
pub const DISCOVER_PERIOD_ENOUGH: Millis = Millis(2 * 60_000);
/// ms; how often we ask while we have none: a person is watching an empty table.
pub const DISCOVER_PERIOD_ALONE: Millis = Millis(4_000);
/// count; relays of one node. More only cost reservations.
pub const MAX_RELAYS: usize = 8;

/// count; peers remembered, connected or not. About 100 kB.
pub const MAX_KNOWN_PEERS: usize = 256;
/// count; of these, peers that only other peers told us of: liars cannot fill the memory.
pub const MAX_HINTED_KNOWN: usize = 64;
/// count; links with fewer than which any way to a peer will do, a relay's bytes included.
pub const ENOUGH_PEERS: usize = 8;
/// count; peers we dial until we have that many.
pub const TARGET_PEERS: usize = 12;
/// count; above this the worst is asked to leave, so that there is room for somebody with work.
pub const FULL_PEERS: usize = 14;
/// count; connected peers, those who dialled us included. Browsers slow down with many
/// peer connections.
pub const MAX_CONNECTED_PEERS: usize = 16;
/// count; links drawn by lot, whatever they are worth. Two to a node join 10,000 in one piece.
pub const FAR_LINKS: usize = 2;
/// count; dials at once. Each may hold an ICE agent for half a minute.
pub const MAX_DIALS: usize = 4;
/// ms; a dial through a relay without an answer counts as failed after this.
pub const DIAL_TIMEOUT: Millis = Millis(30_000);
/// ms; so does a direct one, which takes a circuit, two descriptions and the search for a way.
pub const DIRECT_TIMEOUT: Millis = Millis(60_000);
/// ms; a peer that is reached through a relay is dialled directly again after this.
pub const DIRECT_RETRY_MIN: Millis = Millis(60_000);
/// ms; while it is busy with work of ours, or we with its, that waits for so long each time.
pub const DIRECT_RETRY_BUSY: Millis = Millis(10_000);
/// ms; and at least so often, however often it failed.
pub const DIRECT_RETRY_MAX: Millis = Millis(10 * 60_000);
/// ms; the first wait after a dial failed.
pub const DIAL_BACKOFF_MIN: Millis = Millis(2_000);
/// ms; the longest wait between dials of one peer: registrations outlive tabs.
pub const DIAL_BACKOFF_MAX: Millis = Millis(5 * 60_000);
/// ms; after a dial that led nowhere, whoever is next waits so long, twice as long each time.
pub const DIAL_PAUSE_MIN: Millis = Millis(500);
/// ms; the longest of these waits.
pub const DIAL_PAUSE_MAX: Millis = Millis(2 * 60_000);
/// ms; the longest with fewer than [`ENOUGH_PEERS`].
pub const DIAL_PAUSE_FEW: Millis = Millis(8_000);
/// count; peers that were there and not reached directly, one after the other, before a node takes
/// it that nobody will be.
pub const BLOCKED_AFTER: u32 = 4;
/// ms; a connection shorter than this counts as a failed dial: the other side is full.
pub const LINK_STABLE: Millis = Millis(10_000);
/// ms; a peer that nobody mentions for this long is forgotten. Longer than a liar is shunned.
pub const PEER_FORGOTTEN: Millis = Millis(2 * 3_600_000);
/// ms; half to one and a half of it between two exchanges of a link for a better one.
pub const CHURN_PERIOD: Millis = Millis(30_000);
/// ms; half to one and a half of it until a link drawn by lot is drawn anew: this is how halves of
/// a hive that lost sight of each other grow together again.
pub const FAR_PERIOD: Millis = Millis(4 * 60_000);
/// ms; from there being too many links until the worst is asked to leave. A guest has asked its
/// question by then, and a newcomer's round trip and advert are known.
pub const PRUNE_GRACE: Millis = Millis(10_000);
/// ms; the same where nobody else could be taken at all. A guest that is refused comes again.
pub const PRUNE_SOON: Millis = Millis(2_000);
/// ms; who was asked to leave and has not is disconnected.
pub const PART_TIMEOUT: Millis = Millis(3_000);
/// ms; how long a peer that parted, or that we parted from, is not dialled.
pub const PARTED_PAUSE: Millis = Millis(5 * 60_000);
/// ms; a fault counts half after this: a peer that stumbled is tried again.
pub const FAULT_HALF_LIFE: Millis = Millis(5 * 60_000);
/// count; models that were asked for lately and count in the choice of links.
pub const MAX_WANTS: usize = 4;
/// ms; how long they count. A conversation's pauses are shorter.
pub const WANT_TIME: Millis = Millis(10 * 60_000);
/// ms; how often peers that nobody mentions any more are forgotten.
pub const SWEEP_PERIOD: Millis = Millis(60_000);
/// count; addresses kept of one peer: two relays with two transports each, and as many direct ones.
pub const MAX_ADDRESSES: usize = 8;
/// bytes; one address. A circuit address over webrtc-direct has about 300.
pub const MAX_ADDRESS_BYTES: usize = 512;

/// ms; how long a first lie keeps a peer from being asked; doubles with each.
pub const SHUN_MIN: Millis = Millis(60_000);
/// ms; the longest shunning. A tab rarely lives longer.
pub const SHUN_MAX: Millis = Millis(3_600_000);
/// count; lies after which a peer is disconnected, and refused while it is shunned.
pub const MAX_LIES: u32 = 3;

/// ms; changes within this are said in one advert.
pub const ADVERT_DEBOUNCE: Millis = Millis(250);
/// ms; a stream that carries an advert is given up after this.
pub const ADVERT_TIMEOUT: Millis = Millis(10_000);
/// ms; an advert older than the last one by more than this comes from a peer that started anew.
pub const ADVERT_RESTART: Millis = Millis(60_000);

/// count; streams one peer may hold open to us: its tasks, an advert, and some that are closing.
pub const MAX_STREAMS_PER_PEER: usize = 8;
/// count; streams a peer may open in a burst.
pub const STREAM_BURST: u64 = 32;
/// ms; after a burst a peer may open one more per this.
pub const STREAM_PERIOD: Millis = Millis(500);

/// count; asks under way. A page shows one conversation, a program a few.
pub const MAX_ASKS: usize = 8;
/// count; attempts at one ask that may fail before we stop.
pub const MAX_ATTEMPTS: u32 = 4;
/// count; refusals of one ask before we stop. A refusal is quick and costs nobody anything.
pub const MAX_REFUSALS: u32 = 16;
/// count; failures of our own engine at one ask before it is left to others.
pub const MAX_LOCAL_FAILURES: u32 = 2;
/// count; providers that call a request invalid before we believe it.
pub const INVALID_VERDICTS: usize = 2;
/// ms; for a stream to open. A circuit needs several round trips.
pub const OPEN_TIMEOUT: Millis = Millis(10_000);
/// ms; from the prompt to its acceptance.
pub const ACCEPT_TIMEOUT: Millis = Millis(10_000);
/// ms; a provider silent for three heartbeats is gone.
pub const SILENCE_TIMEOUT: Millis = Millis(3 * HEARTBEAT_PERIOD.0);
/// ms; how long an ask that may also be answered here waits for peers that are on their way.
pub const AUTO_PATIENCE: Millis = Millis(2_000);
/// ms; how long an ask waits for somebody who can answer.
pub const PATIENCE: Millis = Millis(10_000);
/// ms; how long it waits while somebody who has the model is being dialled.
pub const SEEK_PATIENCE: Millis = Millis(40_000);
/// ms; how often a waiting ask looks again.
pub const ROUTE_PERIOD: Millis = Millis(1_000);
/// ms; how long one ask leaves a peer alone that was busy or failed.
pub const AVOID_TIME: Millis = Millis(3_000);
/// count; heartbeats above one per period and attempt: those that a slow link delivers at once.
pub const HEARTBEAT_SLACK: u64 = 16;
/// bytes; one answer. 4,096 tokens of 64 bytes; real tokens have about four.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// ms; from an opened task stream to its prompt.
pub const PROMPT_TIMEOUT: Millis = Millis(10_000);
/// count; tasks a donor may allow at once. A tab's engine shares one device.
pub const MAX_SLOTS: u32 = 8;
/// count; tasks remembered so that a repeated one is refused.
pub const MAX_SEEN_TASKS: usize = 1_024;
/// ms; how long somebody who was refused for want of a slot goes before those who just had one.
/// A little more than [`AVOID_TIME`], after which it asks again.
pub const WAITING_TIME: Millis = Millis(4_000);
/// count; peers remembered as waiting for a slot.
pub const MAX_WAITING: usize = MAX_CONNECTED_PEERS;

/// count; times the engine is loaded again without anybody asking.
pub const MAX_ENGINE_FAILURES: u32 = 3;
/// ms; the first wait before the engine is loaded again.
pub const ENGINE_BACKOFF_MIN: Millis = Millis(2_000);
/// ms; the longest wait before the engine is loaded again.
pub const ENGINE_BACKOFF_MAX: Millis = Millis(30_000);
/// ms; an engine that held this long works: its failures are forgotten.
pub const ENGINE_STABLE: Millis = Millis(60_000);

/// ms; how often we announce what we can do, at least half of it. A record outlives one that is
/// lost on the way.
pub const ANNOUNCE_PERIOD_MIN: Millis = Millis(4 * 60_000);
/// ms; and at least so seldom, where enough others say the same.
pub const ANNOUNCE_PERIOD_MAX: Millis = Millis(64 * 60_000);
/// ms; between two announcements of ours, whatever changes.
pub const ANNOUNCE_SPACING: Millis = Millis(15_000);
/// ms; how long we listen before the first announcement and after a change, half of it at least.
pub const ANNOUNCE_DELAY: Millis = Millis(2_000);
/// ms; on top of that for each peer we know: the more would speak, the longer each listens first.
pub const ANNOUNCE_DELAY_PER_PEER: Millis = Millis(250);
/// ms; what was heard within this tells whether an announcement of ours would say anything new.
pub const ANNOUNCE_WINDOW: Millis = Millis(2 * 60_000);
/// count; peers heard in [`ANNOUNCE_WINDOW`] that answer with our model: no more are needed.
pub const ANNOUNCE_ENOUGH_OF_MODEL: usize = 8;
/// count; peers heard in [`ANNOUNCE_WINDOW`] at all: six a minute cost each peer of any number some
/// forty messages a minute, with six neighbours in gossip's mesh to pass each on to. With twenty a
/// thousand peers send 132 each in the minutes after they came, with twelve 103 (docs/mesh.md).
pub const ANNOUNCE_ENOUGH: usize = 12;
/// count; peers remembered from their announcements. Several times what [`ANNOUNCE_ENOUGH`] brings
/// within a record's life.
pub const MAX_ANNOUNCED: usize = 256;
/// count; announcements passed on in a burst, as when all come at once after a relay's restart.
pub const ACCEPT_BURST: u64 = 128;
/// ms; after a burst one more is passed on per this.
pub const ACCEPT_PERIOD: Millis = Millis(1_000);
/// count; announcements that one neighbour may pass on in a burst: twice what the honest do.
pub const GOSSIP_BURST: u64 = 2 * ACCEPT_BURST;
/// ms; after a burst a neighbour may pass on one more per this.
pub const GOSSIP_PERIOD: Millis = Millis(ACCEPT_PERIOD.0 / 2);
/// count; announcements of one author in a burst: what changes in the first minute.
pub const AUTHOR_BURST: u64 = 3;
/// ms; after a burst an author may be heard once more per this. Shorter than
/// [`ANNOUNCE_SPACING`], for some are late and some are early.
pub const AUTHOR_PERIOD: Millis = Millis(10_000);
/// ms; how far the clocks of honest peers are apart. A record from later than that is not believed.
pub const MAX_CLOCK_SKEW: Millis = Millis(2 * 60_000);

/// count; models that are written down for others to look up. A tab has one; a relay's rendezvous
/// keeps sixteen namespaces for a peer.
pub const MAX_OFFERED_MODELS: usize = 4;
/// ms; how often an offer is written into the Kademlia table again, where it lives for eleven
/// minutes.
pub const PROVIDE_PERIOD: Millis = Millis(8 * 60_000);
/// count; models that are looked up at once.
pub const MAX_LOOKUPS: usize = MAX_ASKS;
/// ms; a model is looked up again after this, while somebody waits for it.
pub const LOOKUP_PERIOD: Millis = Millis(8_000);
/// ms; an answer that is not there by then is not waited for.
pub const LOOKUP_TIMEOUT: Millis = Millis(4_000);
/// ms; how often those who were found already are tried, while somebody waits.
pub const SEEK_PERIOD: Millis = Millis(1_000);
/// count; peers remembered of those that were looked up for one model.
pub const MAX_FOUND: usize = 64;
/// count; peers dialled at once because somebody waits for them, above [`TARGET_PEERS`].
pub const MAX_SOUGHT_DIALS: usize = 3;

/// ms; how long after a change of the network its kind is looked at: addresses come one by one.
pub const DIAGNOSE_DELAY: Millis = Millis(2_000);

/// ms; how often it is looked at otherwise. Phones change networks without a word.
pub const DIAGNOSE_PERIOD: Millis = Millis(30 * 60 * 1_000);
