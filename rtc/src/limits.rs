//! The bounds of everything a peer can make this crate hold, wait for or send.

use std::time::Duration;

/// bytes; the largest frame on the wire, its length prefix included. The specification's limit.
pub const MAX_FRAME: usize = 16 * 1024;

/// bytes; the most that is not payload in a frame: a prefix of two bytes, a flag of two, the
/// payload's tag and two bytes of length, and a window of two bytes of tag and ten of number.
const FRAME_OVERHEAD: usize = 2 + 2 + (1 + 2) + (2 + 10);

/// bytes; the largest payload that is put in one frame.
pub const MAX_PAYLOAD: usize = MAX_FRAME - FRAME_OVERHEAD;

/// bytes; the largest payload for a peer that may lose longer messages: libp2p-webrtc 0.10 of Rust
/// reads them into 8 KiB.
pub const MAX_PAYLOAD_PLAIN: usize = 8 * 1024 - FRAME_OVERHEAD;

/// s; how long a server may take to answer a FIN before it counts as one that does not: js-libp2p
/// and Go answer at once, and wait as long for the answer to theirs.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// bytes; what a stream of ours lets its peer have in flight and unread, where the peer knows
/// windows. At 100 ms from end to end that still is 10 MB/s, more than SCTP reaches there.
pub const RECEIVE_WINDOW: u64 = 1024 * 1024;

/// bytes; what is sent before the peer has said whether it knows windows: no receiver that knows
/// them may open with less.
pub const FIRST_WINDOW: u64 = 256 * 1024;

/// bytes; what is kept unread of a peer that knows no windows, before the stream is reset.
/// js-libp2p hands 2 MiB to a channel at once and goes on as they leave.
pub const MAX_UNREAD: usize = 16 * 1024 * 1024;

/// bytes; what a writer may be ahead of the channel.
pub const MAX_UNSENT: usize = 64 * 1024;

/// bytes; what is kept of a stream's beginning, to be said again where the channel is of no use: a
/// request. A peer has answered by the time that more is sent.
pub const MAX_OPENING: usize = 64 * 1024;

/// count; how often a stream begins anew.
pub const MAX_STARTS: u8 = 3;

/// count; messages that may come in the two turns in which a browser makes up its mind about a
/// channel. js-libp2p sends 2 MiB ahead, in 128.
pub const MAX_EARLY: usize = 1_024;

/// ms; how long a channel that a peer has opened may be none in this browser's eyes. What is missing
/// is on its way from another thread.
pub const MUTE_TIMEOUT: Duration = Duration::from_millis(100);

/// bytes; what a channel may hold before it gets no more: browsers close one that holds 16 MiB.
pub const MAX_BUFFERED: usize = 1024 * 1024;

/// bytes; below this a channel that was full gets more.
pub const LOW_BUFFERED: usize = MAX_BUFFERED / 4;

/// s; how long a channel may take to open: one round trip, on a connection that stands.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// s; who has said FIN_ACK last leaves the closing of the channel to the other side for so long, so
/// that a browser does not drop the answer with the channel.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// s; how long the last words of a stream may take while nothing moves.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(
    FIRST_WINDOW <= RECEIVE_WINDOW,
    "the first window is always granted"
);

/// bytes; the largest message of signalling. A description of one data channel takes 1 to 2 kB.
pub const MAX_SIGNAL_MESSAGE: usize = 16 * 1024;

/// count; candidates that are taken from a peer, and that are sent to one. A tab with several
/// networks and relays has some ten.
pub const MAX_CANDIDATES: usize = 64;

/// bytes; the longest candidate that is taken.
pub const MAX_CANDIDATE: usize = 2 * 1024;

/// s; how long a peer may take to answer an offer, or to make one.
pub const DESCRIPTION_TIMEOUT: Duration = Duration::from_secs(10);

/// s; how long ICE, DTLS and SCTP may take together once both descriptions are there.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// s; how long a browser may look for its addresses: it gives a STUN server that is silent up after
/// some 10 s.
pub const GATHER_TIMEOUT: Duration = Duration::from_secs(12);

/// s; how long the end of signalling is waited for when the connection stands.
pub const PART_TIMEOUT: Duration = Duration::from_secs(10);

/// count; channels of ours that may be open on one connection. Browsers number channels to 1,023,
/// half of them ours, and a number is free again only when both sides have closed.
pub const MAX_CHANNELS: usize = 256;

/// count; channels that the peer has opened and nobody has asked for yet.
pub const MAX_WAITING_CHANNELS: usize = 64;

/// s; how long what is still in the channels may take when a connection is closed.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// ms; how often that is looked at.
pub const DRAIN_PERIOD: Duration = Duration::from_millis(20);

/// s; how long a dial that gave way waits for the connection that the peer makes.
pub const SUPERSEDED_TIMEOUT: Duration = Duration::from_secs(30);

/// s; how long a peer that the browser hears no more may stay silent before the connection ends. A
/// browser says that it hears nothing after some 5 s, and that all is lost after a quarter of a
/// minute more.
pub const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);
