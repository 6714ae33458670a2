//! Every bound of the relay, each with its unit and its reason.

use std::num::NonZeroU32;
use std::time::Duration;

/// Peers with a reservation at once; a tab holds one, so this is the largest hive of one relay.
pub const MAX_RESERVATIONS: usize = 8192;

/// Reservations of one peer at once; a tab that reconnects may briefly hold two.
pub const MAX_RESERVATIONS_PER_PEER: usize = 2;

/// How long a reservation lasts unless renewed; clients renew at three quarters of it.
pub const RESERVATION_DURATION: Duration = Duration::from_secs(60 * 60);

/// Circuits open at once; each costs two streams and at most two 256 KiB yamux windows. Tabs need
/// one for the seconds in which they agree on a direct connection: half of a full relay may.
pub const MAX_CIRCUITS: usize = MAX_RESERVATIONS / 2;

/// Circuits of one peer at once: a tab dials four others at most, and as many dial it.
pub const MAX_CIRCUITS_PER_PEER: usize = 8;

/// How long one circuit lives. What tabs say to meet directly takes seconds; an answer that must
/// go through the relay takes minutes, and goes on over the next circuit.
pub const MAX_CIRCUIT_DURATION: Duration = Duration::from_secs(10 * 60);

/// Bytes that one circuit carries, both ways together. Meeting takes about 10 KB; a signed token
/// frame is below 1 KiB, so that the longest answer, 4,096 tokens, still passes.
pub const MAX_CIRCUIT_BYTES: u64 = 4 * 1024 * 1024;

/// Reservations a peer may ask for at once, and how often it gains another one.
pub const RESERVATION_BURST_PER_PEER: (NonZeroU32, Duration) =
    (non_zero(30), Duration::from_secs(10));

/// Reservations that an address may ask for at once, of which there may be so many connections, and
/// how often it gains another one; a school or an office shares one. A proxy may have more.
#[must_use]
pub const fn reservations_per_ip(max_connections_per_ip: u32) -> (NonZeroU32, Duration) {
    burst_per_ip(256, Duration::from_secs(1), max_connections_per_ip)
}

/// Circuits a peer may open at once, and how often it gains another one.
pub const CIRCUIT_BURST_PER_PEER: (NonZeroU32, Duration) = (non_zero(64), Duration::from_secs(2));

/// As [`reservations_per_ip`], of circuits.
#[must_use]
pub const fn circuits_per_ip(max_connections_per_ip: u32) -> (NonZeroU32, Duration) {
    burst_per_ip(512, Duration::from_millis(500), max_connections_per_ip)
}

/// `least` at once and one more in each `period`; where there may be more connections, as many at
/// once as there may be connections, and others as much more often.
const fn burst_per_ip(
    least: u32,
    period: Duration,
    max_connections_per_ip: u32,
) -> (NonZeroU32, Duration) {
    if max_connections_per_ip <= least {
        return (non_zero(least), period);
    }
    let period = period.as_micros() as u64 * least as u64 / max_connections_per_ip as u64;
    (
        non_zero(max_connections_per_ip),
        Duration::from_micros(period),
    )
}

/// Established connections in all, unless configured: every peer with a reservation, and a
/// quarter more that only ask.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 10_240;

/// Connections, established or in their handshake, of one address, unless configured.
pub const DEFAULT_MAX_CONNECTIONS_PER_IP: u32 = 64;

/// Connections of one subnet (IPv4 /24 or IPv6 /48) for each that one address may have.
pub const ADDRESSES_PER_SUBNET: u32 = 8;

/// Established connections of one peer; two transports, twice during a reconnect.
pub const MAX_CONNECTIONS_PER_PEER: u32 = 4;

/// Handshakes at once; each webrtc-direct handshake holds a whole peer connection.
pub const MAX_PENDING_CONNECTIONS: u32 = 256;

/// Handshakes in all; each is some ten signatures and key agreements.
pub const MAX_HANDSHAKES: Rate = Rate {
    per_sec: 200,
    burst: 400,
};

/// Handshakes in all over UDP, where addresses may be invented: webrtc-direct, by which a relay
/// without a certificate is reached.
pub const MAX_UNPROVEN_HANDSHAKES: Rate = Rate {
    per_sec: 32,
    burst: 64,
};

/// Handshakes over UDP at once. The rest of [`MAX_PENDING_CONNECTIONS`] is for TCP.
pub const MAX_PENDING_UNPROVEN: u32 = 128;

/// How fast one address may begin handshakes that may have so many connections: half of them at
/// once, all of them in a quarter of a minute.
#[must_use]
pub const fn handshakes_per_ip(max_connections_per_ip: u32) -> Rate {
    let n = max_connections_per_ip as u64;
    Rate {
        per_sec: n.div_ceil(16),
        burst: n.div_ceil(2) + 4,
    }
}

/// Handshakes at once of one address that may have so many connections.
#[must_use]
pub const fn max_pending_per_ip(max_connections_per_ip: u32) -> u32 {
    max_connections_per_ip.div_ceil(4) + 4
}

/// How long a handshake may take; webrtc-direct needs about ten round trips.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes; the largest WebSocket message. A browser writes what noise has gathered in one: at most
/// 128 KiB and then a frame of 64 KiB.
pub const MAX_WEBSOCKET_MESSAGE_BYTES: usize = 256 * 1024;

/// Streams of one connection at once; a busy peer has some thirty.
pub const MAX_STREAMS_PER_CONNECTION: usize = 128;

/// How long a connection without a reservation, a circuit or a stream is kept. A tab that only
/// asks sits idle between prompts.
pub const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// Seconds; the shortest life of a rendezvous registration. Clients renew at half their own.
pub const MIN_REGISTRATION_SECS: u64 = 30;

/// Seconds; the longest life of a rendezvous registration, which is also what a client asks for
/// that names none. It ends with the peer's last connection, whatever it says.
pub const MAX_REGISTRATION_SECS: u64 = 2 * 60 * 60;

/// Rendezvous namespaces of one peer: the product's and a few capabilities.
pub const MAX_REGISTRATIONS_PER_PEER: usize = 16;

/// Rendezvous registrations in all; every peer with a reservation in two namespaces.
pub const MAX_REGISTRATIONS: usize = 2 * MAX_RESERVATIONS;

/// bytes; the longest rendezvous namespace, as libp2p has it.
pub const MAX_NAMESPACE_BYTES: usize = 255;

/// bytes; the largest signed record of a peer. One with eight addresses through relays has 1.5 kB.
pub const MAX_RECORD_BYTES: usize = 4 * 1024;

/// bytes; the largest rendezvous request: a record, a namespace and a few numbers.
pub const MAX_RENDEZVOUS_REQUEST_BYTES: usize = 2 * MAX_RECORD_BYTES;

/// Rendezvous requests of one connection at once; a tab has a few namespaces.
pub const MAX_RENDEZVOUS_STREAMS: usize = 32;

/// Registrations told at once, whatever is asked for; more than any tab keeps of one asking.
pub const MAX_DISCOVERED: usize = 128;

/// bytes; the largest answer to a rendezvous request, which libp2p's clients take.
pub const MAX_DISCOVERY_BYTES: usize = 1024 * 1024;

/// Registrations that a peer may make in [`REGISTRATION_WINDOW`] before it is disconnected.
/// Each is a signature checked, and told to every federated relay.
pub const MAX_REGISTRATIONS_PER_WINDOW: u32 = 30;

/// The window of [`MAX_REGISTRATIONS_PER_WINDOW`].
pub const REGISTRATION_WINDOW: Duration = Duration::from_secs(60);

/// How long a provider record of Kademlia lives unless renewed; as long as a tab's registration.
pub const PROVIDER_LIFE: Duration = Duration::from_secs(11 * 60);

/// Keys that have providers; a key stands for a model, or a capability.
pub const MAX_PROVIDED_KEYS: usize = 4096;

/// Providers of one key that are told; who looks for one asks again soon, and finds others.
pub const MAX_PROVIDERS_PER_KEY: usize = 16;

/// Keys of one provider: a few models.
pub const MAX_KEYS_PER_PROVIDER: usize = 16;

/// bytes; the longest provider key. A hash has 32.
pub const MAX_PROVIDER_KEY_BYTES: usize = 64;

/// Addresses of one provider that are told: one for each of its relays.
pub const MAX_PROVIDER_ADDRESSES: usize = 3;

/// bytes; the longest address of a provider that is told. A circuit's has some 140.
pub const MAX_PROVIDER_ADDRESS_BYTES: usize = 160;

/// bytes; the largest message of Kademlia, which is what libp2p's clients take.
pub const MAX_KAD_MESSAGE_BYTES: usize = 16 * 1024;

/// Relays that one relay federates with.
pub const MAX_FEDERATED_RELAYS: usize = 8;

/// Addresses of a federated relay that are told to tabs, each no longer than a provider's.
pub const MAX_RELAY_ADDRESSES: usize = 4;

/// Registrations that one federated relay may tell; a page of them is what anybody asks for.
pub const MAX_FOREIGN_PER_RELAY: usize = 4096;

/// Registrations that ended early and that federated relays are still to be told of. Of one that
/// is forgotten they learn when its time is up.
pub const MAX_REMEMBERED_DROPS: usize = 4096;

/// Things told in one frame between federated relays.
pub const FEDERATION_BATCH: usize = 12;

/// bytes; the largest frame between federated relays.
pub const MAX_FEDERATION_FRAME_BYTES: usize = 64 * 1024;

/// How often a relay tells what changed; a tab looks for peers every 4 seconds at most.
pub const FEDERATION_PERIOD: Duration = Duration::from_secs(2);

/// How long a federated relay may take to read a frame.
pub const FEDERATION_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Things that one federated relay may tell; each is a signature to check, some 0.1 ms. At first it
/// tells all.
pub const FEDERATION_RATE: Rate = Rate {
    per_sec: 200,
    burst: 2 * MAX_FOREIGN_PER_RELAY as u64,
};

/// Things told that no honest relay tells, until it is cut off.
pub const MAX_BAD_CLAIMS: u32 = 64;

/// The first wait before a federated relay is dialled again.
pub const FEDERATION_REDIAL_MIN: Duration = Duration::from_secs(1);

/// The longest wait before a federated relay is dialled again.
pub const FEDERATION_REDIAL_MAX: Duration = Duration::from_secs(5 * 60);

/// How often is looked whether a federated relay is to be dialled.
pub const REDIAL_PERIOD: Duration = Duration::from_millis(500);

/// How often ended provider records are swept out.
pub const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// How long the listeners may take to name their addresses at start.
pub const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests in flight and connections may take to end after a stop is asked for.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the files of the TLS certificate are looked at; both are small.
pub const CERTIFICATE_PERIOD: Duration = Duration::from_secs(5);

/// HTTP connections in all; each costs a socket and two small buffers.
pub const MAX_HTTP_CONNECTIONS: usize = 1024;

/// HTTP connections of one address; browsers open six, and a proxy hides many browsers.
pub const MAX_HTTP_CONNECTIONS_PER_IP: u32 = 256;

/// How long a client may take to send its request's head, or stay idle between requests.
pub const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes; the largest `index.html`, which is read whole to hash its scripts.
pub const MAX_INDEX_HTML_BYTES: u64 = 1024 * 1024;

/// Bytes; the largest `models/index.json`, which is read whole to know what may be served.
pub const MAX_MODEL_INDEX_BYTES: u64 = 1024 * 1024;

/// Bytes; the largest key, certificate or configuration file; real ones are below 4 KiB.
pub const MAX_SMALL_FILE_BYTES: u64 = 256 * 1024;

/// bytes; the largest datagram at the STUN sockets and the relayed ports. Nothing that a browser
/// sends by UDP is larger than an Ethernet frame.
pub const MAX_DATAGRAM_BYTES: usize = 2048;

/// STUN and TURN requests of one address without an allocation, and of one allocation: a tab asks
/// some ten times to open a link, and an office of tabs shares an address.
pub const REQUESTS_PER_ADDRESS: Rate = Rate {
    per_sec: 20,
    burst: 60,
};

/// count; addresses that are counted apart in one table, 16 B each. More share one by chance.
pub const ADDRESS_BUCKETS: usize = 16 * 1024;

/// Datagrams read from the sockets and not yet handled, of clients and of peers each.
pub const MAX_WAITING_DATAGRAMS: usize = 256;

/// How long TURN credentials open allocations: asked for when a link needs them, used at once.
pub const CREDENTIAL_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Requests for TURN credentials answered at once; each is one small write.
pub const MAX_CREDENTIAL_STREAMS: usize = 64;

/// How long the answer to a request for TURN credentials may take to be written.
pub const CREDENTIAL_STREAM_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a TURN nonce is good; a browser gets a fresh one by being told that its is stale.
pub const NONCE_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// TURN allocations in all; each holds a socket.
pub const MAX_ALLOCATIONS: usize = 256;

/// TURN allocations of one peer: two links, each over IPv4 and IPv6.
pub const MAX_ALLOCATIONS_PER_PEER: usize = 4;

/// TURN allocations of one IPv4 address or IPv6 /64; a school or an office shares one.
pub const MAX_ALLOCATIONS_PER_IP: u32 = 16;

/// The longest time until an allocation has to be refreshed, which is what browsers ask for.
pub const ALLOCATION_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How old an allocation grows however often it is refreshed; a link that still needs one asks
/// for credentials again.
pub const MAX_ALLOCATION_AGE: Duration = Duration::from_secs(60 * 60);

/// How long a peer's address stays permitted (RFC 8656 §9).
pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// How long a channel stays bound (RFC 8656 §12).
pub const CHANNEL_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// Addresses that one allocation permits at once; a peer has some ten candidates.
pub const MAX_PERMISSIONS: usize = 64;

/// Channels that one allocation binds at once; one for each candidate of a peer.
pub const MAX_CHANNELS: usize = 64;

/// Bytes a second that TURN carries for one peer, both ways together: 1 Mbit/s, enough to talk
/// and too little to move models through somebody else's server.
pub const TURN_RATE: Rate = Rate {
    per_sec: 125_000,
    burst: 250_000,
};

/// Bytes an hour that TURN carries for one peer, both ways together.
pub const TURN_BYTES_PER_HOUR: u64 = 200 * 1024 * 1024;

/// Peers whose use of TURN is remembered, some 200 B each.
pub const MAX_TURN_PEERS: usize = 4096;

/// How fast something may come, and how much of it at once.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// What is gained in a second; at least one.
    pub per_sec: u64,
    /// What is there after a rest.
    pub burst: u64,
}

const fn non_zero(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => panic!("a burst is at least one"),
    }
}

/// A full answer of Kademlia: the providers of a key, and the relays that know more.
const _: () = assert!(
    MAX_PROVIDERS_PER_KEY * kad_peer_bytes(MAX_PROVIDER_ADDRESSES)
        + MAX_FEDERATED_RELAYS * kad_peer_bytes(MAX_RELAY_ADDRESSES)
        <= MAX_KAD_MESSAGE_BYTES
);

/// bytes; a peer in a message of Kademlia: its id, its state, and its addresses with their lengths.
const fn kad_peer_bytes(n_addresses: usize) -> usize {
    48 + n_addresses * (MAX_PROVIDER_ADDRESS_BYTES + 3)
}

const _: () =
    assert!(MAX_DISCOVERED * (MAX_RECORD_BYTES + MAX_NAMESPACE_BYTES + 64) <= MAX_DISCOVERY_BYTES);
const _: () = assert!(
    FEDERATION_BATCH * (MAX_RECORD_BYTES + MAX_NAMESPACE_BYTES + 64)
        + MAX_RELAY_ADDRESSES * (MAX_PROVIDER_ADDRESS_BYTES + 3)
        <= MAX_FEDERATION_FRAME_BYTES
);
const _: () = assert!(MAX_CIRCUITS_PER_PEER <= MAX_CIRCUITS);
const _: () = assert!(MAX_RESERVATIONS_PER_PEER <= MAX_RESERVATIONS);
const _: () = assert!(DEFAULT_MAX_CONNECTIONS_PER_IP <= DEFAULT_MAX_CONNECTIONS);
const _: () = assert!(MAX_ALLOCATIONS_PER_PEER <= MAX_ALLOCATIONS);
const _: () = assert!(MAX_ALLOCATIONS < MAX_TURN_PEERS);
const _: () = assert!(ALLOCATION_LIFETIME.as_secs() <= MAX_ALLOCATION_AGE.as_secs());
const _: () = assert!(MAX_PENDING_UNPROVEN < MAX_PENDING_CONNECTIONS);
const _: () = assert!(MIN_REGISTRATION_SECS < MAX_REGISTRATION_SECS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_of_an_address_follow_its_connections() {
        let (n, period) = reservations_per_ip(DEFAULT_MAX_CONNECTIONS_PER_IP);
        assert_eq!((n.get(), period), (256, Duration::from_secs(1)));
        let (n, period) = reservations_per_ip(10_240);
        assert_eq!((n.get(), period), (10_240, Duration::from_millis(25)));
        let (n, period) = circuits_per_ip(1_024);
        assert_eq!((n.get(), period), (1_024, Duration::from_millis(250)));
    }
}
