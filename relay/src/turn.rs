//! Owns STUN and TURN (RFC 8489, RFC 8656) as a machine without sockets, clock or chance.
//!
//! 1. [`Server::handle`] takes one input; then [`Server::poll`] until it returns `None`.
//! 2. Requests are answered ([`requests`]); an allocation asks for a socket by [`Output::Open`].
//! 3. Packets go between a client and the peers that it permitted, within its budget ([`budget`]).
//! 4. At [`Server::next_wake`] an [`Input::Wake`] is due: allocations that ran out are closed.
//!
//! Invariant: nobody takes memory by asking. Without credentials a request leaves nothing behind;
//! with them what is kept is bounded by [`crate::limits`].
//!
//! Not here: TCP, TLS and DTLS between client and relay, reserved ports, several addresses.

mod allocation;
mod budget;
mod reach;
mod requests;
pub(crate) mod secret;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelValue;

use crate::address_cap::Tally;
use crate::bucket::AddressBuckets;
use crate::limits::{MAX_ALLOCATIONS_PER_IP, MAX_DATAGRAM_BYTES, REQUESTS_PER_ADDRESS};
use crate::stun::write::{Draft, channel_data};
use crate::stun::{Class, Message, Method, TransactionId, attribute};
use allocation::Allocations;
use budget::Accounts;
use secret::Secret;

/// The moment of an input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Since the server began; never goes back.
    pub(crate) elapsed: Duration,
    /// What the wall clock says, by which credentials run out.
    pub(crate) unix_secs: u64,
}

/// Who sends requests: an address, at one of the relay's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Client {
    pub(crate) socket: usize,
    pub(crate) address: SocketAddr,
}

/// An allocation's number, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RelayId(u64);

/// What happened outside.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// A datagram came to a socket of the relay.
    FromClient { client: Client, bytes: &'a [u8] },
    /// A datagram came to an allocation's port.
    FromPeer {
        relay: RelayId,
        peer: SocketAddr,
        bytes: &'a [u8],
    },
    /// The answer to [`Output::Open`]; without a port there was none.
    Opened { relay: RelayId, port: Option<u16> },
    /// The moment of [`Server::next_wake`] has come.
    Wake,
}

/// What is to be done outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Close the port of this allocation.
    Close { relay: RelayId },
    /// Open a port for this allocation, and answer by [`Input::Opened`].
    Open { relay: RelayId },
    /// Send from the socket that the client talks to.
    ToClient { client: Client, bytes: Vec<u8> },
    /// Send from the allocation's port.
    ToPeer {
        relay: RelayId,
        peer: SocketAddr,
        bytes: Vec<u8>,
    },
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelValue)]
pub(crate) enum Refusal {
    /// The address has as many allocations as it may.
    AddressQuota,
    /// There is no allocation, or there is one already.
    AllocationMismatch,
    BadRequest,
    /// The peer sent as much as it may for now.
    Bandwidth,
    /// The address is one that the relay does not send to.
    Forbidden,
    InsufficientCapacity,
    Malformed,
    NoPermission,
    Oversized,
    PeerFamilyMismatch,
    /// The peer has as many allocations as it may.
    PeerQuota,
    RateLimit,
    StaleNonce,
    Unauthorized,
    UnknownAttribute,
    UnsupportedFamily,
    UnsupportedTransport,
    WrongCredentials,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Binding requests answered.
    pub(crate) n_bindings: u64,
    /// Allocations made.
    pub(crate) n_allocated: u64,
    /// Bytes carried from clients to peers, without headers.
    pub(crate) n_bytes_to_peers: u64,
    /// Bytes carried from peers to clients, without headers.
    pub(crate) n_bytes_to_clients: u64,
    pub(crate) n_refused: BTreeMap<Refusal, u64>,
}

/// How TURN is offered.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Where relayed ports are reached.
    pub(crate) relayed_ip: IpAddr,
    /// Whether packets may go into the relay's own network.
    pub(crate) allow_private: bool,
}

/// Answers STUN, and TURN where there are terms for it.
pub(crate) struct Server {
    terms: Option<Terms>,
    secret: Secret,
    buckets: AddressBuckets,
    accounts: Accounts,
    tally: Tally,
    allocations: Allocations,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl Server {
    /// `seed` is a number that nobody else knows.
    pub(crate) fn new(terms: Option<Terms>, secret: Secret, seed: u64) -> Self {
        Self {
            terms,
            secret,
            buckets: AddressBuckets::new(REQUESTS_PER_ADDRESS, seed),
            accounts: Accounts::default(),
            tally: Tally::new(MAX_ALLOCATIONS_PER_IP),
            allocations: Allocations::default(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    pub(crate) fn handle(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::FromClient { bytes, .. } | Input::FromPeer { bytes, .. }
                if bytes.len() > MAX_DATAGRAM_BYTES =>
            {
                self.refuse(Refusal::Oversized);
            }
            Input::FromClient { client, bytes } => self.on_client(now, client, bytes),
            Input::FromPeer { relay, peer, bytes } => {
                self.carry_to_client(now.elapsed, relay, peer, bytes);
            }
            Input::Opened { relay, port } => self.on_opened(now.elapsed, relay, port),
            Input::Wake => {}
        }
        for relay in self.allocations.expired(now.elapsed) {
            self.close(relay);
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When an [`Input::Wake`] is due, since the server began.
    pub(crate) fn next_wake(&self) -> Option<Duration> {
        self.allocations.next_expiry()
    }

    pub(crate) fn n_allocations(&self) -> usize {
        self.allocations.len()
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    fn on_client(&mut self, now: Now, client: Client, bytes: &[u8]) {
        if let Some(0x40..=0x4F) = bytes.first() {
            return self.on_channel_data(now.elapsed, client, bytes);
        }
        let Ok(message) = Message::parse(bytes) else {
            return self.refuse(Refusal::Malformed);
        };
        match (message.class, message.method) {
            (Class::Request, Method::Binding) => self.on_binding(now.elapsed, client, &message),
            (Class::Request, _) if self.terms.is_some() => self.on_request(now, client, &message),
            (Class::Indication, Method::Send) => self.on_send(now.elapsed, client, &message),
            (Class::Indication, Method::Binding) => {} // Keeps a NAT's mapping open.
            (Class::Request | Class::Indication | Class::Success | Class::Error, _) => {
                self.refuse(Refusal::Malformed);
            }
        }
    }

    fn on_binding(&mut self, now: Duration, client: Client, message: &Message<'_>) {
        if !self.take_request(now, client) {
            return self.refuse(Refusal::RateLimit);
        }
        let unknown = message.not_understood();
        let answer = |class| Draft::new(class, Method::Binding, message.transaction);
        let bytes = if unknown.is_empty() {
            self.stats.n_bindings += 1;
            answer(Class::Success).with_address(attribute::XOR_MAPPED_ADDRESS, client.address)
        } else {
            self.refuse(Refusal::UnknownAttribute);
            requests::name_unknown(answer(Class::Error), &unknown)
        };
        let bytes = bytes.unsigned();
        self.outputs.push_back(Output::ToClient { client, bytes });
    }

    /// Whether this client may be answered at this moment. One with an allocation has a bucket of
    /// its own, which no flood from invented addresses can empty.
    fn take_request(&mut self, now: Duration, client: Client) -> bool {
        match self.allocations.of_client_mut(client) {
            Some((_, one)) => one.requests.take(now, 1, REQUESTS_PER_ADDRESS),
            None => self.buckets.take(now, client.address.ip()),
        }
    }

    fn on_opened(&mut self, now: Duration, relay: RelayId, port: Option<u16>) {
        let Some(port) = port else {
            if let Some(one) = self.forget(relay) {
                self.refuse(Refusal::InsufficientCapacity);
                let answer = Draft::new(Class::Error, Method::Allocate, one.transaction);
                let bytes = requests::name_refusal(answer, Refusal::InsufficientCapacity)
                    .signed(&one.user.key);
                let client = one.client;
                self.outputs.push_back(Output::ToClient { client, bytes });
            }
            return;
        };
        if self.allocations.opened(relay, port).is_none() {
            self.outputs.push_back(Output::Close { relay });
            return;
        }
        self.stats.n_allocated += 1;
        self.tell_allocated(now, relay);
    }

    fn on_channel_data(&mut self, now: Duration, client: Client, bytes: &[u8]) {
        let Some((&[n0, n1, l0, l1], rest)) = bytes.split_first_chunk() else {
            return self.refuse(Refusal::Malformed);
        };
        let n_bytes = usize::from(u16::from_be_bytes([l0, l1]));
        let Some(data) = rest.get(..n_bytes) else {
            return self.refuse(Refusal::Malformed);
        };
        let channel = u16::from_be_bytes([n0, n1]);
        let bound = self.allocations.of_client(client);
        let found = bound.and_then(|(relay, one)| Some((relay, one.peer_of(now, channel)?)));
        match found {
            Some((relay, peer)) => self.carry_to_peer(now, relay, peer, data),
            None => self.refuse(Refusal::AllocationMismatch),
        }
    }

    fn on_send(&mut self, now: Duration, client: Client, message: &Message<'_>) {
        let Some((relay, _)) = self.allocations.of_client(client) else {
            return self.refuse(Refusal::AllocationMismatch);
        };
        let peer = message.address(attribute::XOR_PEER_ADDRESS);
        match peer.zip(message.value(attribute::DATA)) {
            Some((peer, data)) => self.carry_to_peer(now, relay, peer, data),
            None => self.refuse(Refusal::Malformed),
        }
    }

    /// Sends what a client said to one of its peers, within the machine where both are clients.
    fn carry_to_peer(&mut self, now: Duration, relay: RelayId, peer: SocketAddr, data: &[u8]) {
        let (Some(terms), Some(one)) = (&self.terms, self.allocations.get(relay)) else {
            return self.refuse(Refusal::AllocationMismatch);
        };
        let Some(port) = one.port else {
            return self.refuse(Refusal::AllocationMismatch);
        };
        if !one.permits(now, peer.ip()) {
            return self.refuse(Refusal::NoPermission);
        }
        let is_own = peer.ip() == terms.relayed_ip;
        let neighbour = self.allocations.at_port(peer.port()).filter(|_| is_own);
        let is_open = neighbour.is_some() || !is_own || terms.allow_private;
        if !is_open || peer.port() == 0 {
            return self.refuse(Refusal::Forbidden);
        }
        let from = SocketAddr::new(terms.relayed_ip, port);
        if !self.accounts.spend(now, one.user.peer(), data.len()) {
            return self.refuse(Refusal::Bandwidth);
        }
        self.stats.n_bytes_to_peers += data.len() as u64;
        match neighbour {
            Some(other) => self.carry_to_client(now, other, from, data),
            None => self.outputs.push_back(Output::ToPeer {
                relay,
                peer,
                bytes: data.to_vec(),
            }),
        }
    }

    fn carry_to_client(&mut self, now: Duration, relay: RelayId, peer: SocketAddr, data: &[u8]) {
        let Some(one) = self.allocations.get(relay) else {
            return self.refuse(Refusal::AllocationMismatch);
        };
        if !one.permits(now, peer.ip()) {
            return self.refuse(Refusal::NoPermission);
        }
        if !self.accounts.spend(now, one.user.peer(), data.len()) {
            return self.refuse(Refusal::Bandwidth);
        }
        self.stats.n_bytes_to_clients += data.len() as u64;
        let bytes = match one.channel_of(now, peer) {
            Some(channel) => channel_data(channel, data),
            None => {
                let mut transaction = [0; 12]; // Nothing answers an indication.
                transaction[..8].copy_from_slice(&self.stats.n_bytes_to_clients.to_be_bytes());
                Draft::new(Class::Indication, Method::Data, TransactionId(transaction))
                    .with_address(attribute::XOR_PEER_ADDRESS, peer)
                    .with(attribute::DATA, data)
                    .unsigned()
            }
        };
        let client = one.client;
        self.outputs.push_back(Output::ToClient { client, bytes });
    }

    fn close(&mut self, relay: RelayId) {
        if self.forget(relay).is_some() {
            self.outputs.push_back(Output::Close { relay });
        }
    }

    fn forget(&mut self, relay: RelayId) -> Option<allocation::Allocation> {
        let one = self.allocations.remove(relay)?;
        self.accounts.close(one.user.peer());
        self.tally.release(one.client.address.ip());
        Some(one)
    }

    fn refuse(&mut self, refusal: Refusal) {
        *self.stats.n_refused.entry(refusal).or_default() += 1;
    }
}
