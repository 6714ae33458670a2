//! Owns who may connect: how many connections an address has (an IPv4 address, or an IPv6 /64,
//! since one household or one server holds a whole /64) and its subnet, and how fast it may begin
//! handshakes.
//!
//! A connection counts from the start of its handshake until it is closed or fails. One whose
//! address holds no IP, or that comes through a circuit, is nobody's and counts for none: the
//! IP in a circuit's address is the relay's.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use crate::bucket::{AddressBuckets, Bucket};
use crate::limits;

/// How many connections each address has, or whatever else is counted by addresses.
#[derive(Debug)]
pub(crate) struct Tally {
    max_per_block: u32,
    block_of: fn(IpAddr) -> IpAddr,
    /// Invariant: no block with zero connections, so that its size is bounded by theirs.
    n_by_block: BTreeMap<IpAddr, u32>,
}

/// The address has as many connections as it may.
#[derive(Debug, thiserror::Error)]
#[error("this address has {max_per_block} connections, which is the most that one may have")]
pub(crate) struct AddressFull {
    max_per_block: u32,
}

impl Tally {
    pub(crate) fn new(max_per_block: u32) -> Self {
        Self::by(block_of, max_per_block)
    }

    fn by(block_of: fn(IpAddr) -> IpAddr, max_per_block: u32) -> Self {
        Self {
            max_per_block,
            block_of,
            n_by_block: BTreeMap::new(),
        }
    }

    pub(crate) fn admit(&mut self, ip: IpAddr) -> Result<(), AddressFull> {
        let n = self.n_by_block.entry((self.block_of)(ip)).or_insert(0);
        if *n >= self.max_per_block {
            return Err(AddressFull {
                max_per_block: self.max_per_block,
            });
        }
        *n += 1;
        Ok(())
    }

    /// Takes back one [`Tally::admit`] of the same address.
    pub(crate) fn release(&mut self, ip: IpAddr) {
        if let Entry::Occupied(mut entry) = self.n_by_block.entry((self.block_of)(ip)) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

pub(crate) fn block_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// The IPv4 /24 or IPv6 /48 that an address is in.
fn subnet_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    AddressFull(#[from] AddressFull),
    #[error("this address begins handshakes too fast")]
    AddressTooFast,
    #[error("all addresses together begin handshakes too fast")]
    AllTooFast,
    #[error("its subnet has as many connections as one may have")]
    SubnetFull,
    #[error("this address has as many handshakes as one may have at once")]
    TooManyPending,
}

impl Refusal {
    /// What it is counted under.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::AddressFull(_) => "AddressFull",
            Self::AddressTooFast => "AddressTooFast",
            Self::AllTooFast => "AllTooFast",
            Self::SubnetFull => "SubnetFull",
            Self::TooManyPending => "TooManyPending",
        }
    }
}

/// What a connection is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Established,
    Pending,
}

/// Decides who may begin a handshake.
#[derive(Debug)]
struct Gate {
    connections: Tally,
    by_subnet: Tally,
    pending: Tally,
    rates: AddressBuckets,
    all: Bucket,
}

impl Gate {
    fn new(max_per_ip: u32, seed: u64) -> Self {
        let max_per_subnet = max_per_ip.saturating_mul(limits::ADDRESSES_PER_SUBNET);
        Self {
            connections: Tally::new(max_per_ip),
            by_subnet: Tally::by(subnet_of, max_per_subnet),
            pending: Tally::new(limits::max_pending_per_ip(max_per_ip)),
            rates: AddressBuckets::new(limits::handshakes_per_ip(max_per_ip), seed),
            all: Bucket::default(),
        }
    }

    /// Counts a handshake that begins, or says why it may not; then nothing is counted.
    fn admit(&mut self, now: Duration, ip: IpAddr) -> Result<(), Refusal> {
        self.connections.admit(ip)?;
        if self.by_subnet.admit(ip).is_err() {
            self.connections.release(ip);
            return Err(Refusal::SubnetFull);
        }
        if self.pending.admit(ip).is_err() {
            self.connections.release(ip);
            self.by_subnet.release(ip);
            return Err(Refusal::TooManyPending);
        }
        let refusal = if !self.rates.take(now, ip) {
            Refusal::AddressTooFast
        } else if !self.all.take(now, 1, limits::MAX_HANDSHAKES) {
            Refusal::AllTooFast
        } else {
            return Ok(());
        };
        self.release(ip, Stage::Pending);
        Err(refusal)
    }

    fn establish(&mut self, ip: IpAddr) {
        self.pending.release(ip);
    }

    fn release(&mut self, ip: IpAddr, stage: Stage) {
        self.connections.release(ip);
        self.by_subnet.release(ip);
        if stage == Stage::Pending {
            self.pending.release(ip);
        }
    }
}

/// Whose connection this is; `None` for one through a circuit.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    address.iter().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            Some(IpAddr::V4(ip))
        } else if let Protocol::Ip6(ip) = part {
            Some(IpAddr::V6(ip))
        } else {
            None
        }
    })
}

/// Refuses the connections that the gate does not admit.
pub(crate) struct Behaviour {
    gate: Gate,
    started: Instant,
    by_connection: BTreeMap<ConnectionId, (IpAddr, Stage)>,
}

impl Behaviour {
    pub(crate) fn new(max_per_block: u32) -> Self {
        Self {
            gate: Gate::new(max_per_block, rand::random()),
            started: Instant::now(),
            by_connection: BTreeMap::new(),
        }
    }

    fn forget(&mut self, connection_id: ConnectionId) {
        if let Some((ip, stage)) = self.by_connection.remove(&connection_id) {
            self.gate.release(ip, stage);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        _local_addr: &Multiaddr,
        remote_addr: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if let Some(ip) = ip_of(remote_addr) {
            self.gate
                .admit(self.started.elapsed(), ip)
                .map_err(ConnectionDenied::new)?;
            self.by_connection
                .insert(connection_id, (ip, Stage::Pending));
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection_id: ConnectionId,
        _peer: PeerId,
        _local_addr: &Multiaddr,
        _remote_addr: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if let Some((ip, stage @ Stage::Pending)) = self.by_connection.get_mut(&connection_id) {
            *stage = Stage::Established;
            self.gate.establish(*ip);
        }
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection_id: ConnectionId,
        _peer: PeerId,
        _addr: &Multiaddr,
        _role_override: Endpoint,
        _port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
        | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) = event
        {
            self.forget(connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _peer_id: PeerId,
        _connection_id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        _cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn refuses_the_one_after_the_last_and_admits_again_after_a_release() {
        let mut tally = Tally::new(2);
        tally.admit(ip("192.0.2.1")).unwrap();
        tally.admit(ip("192.0.2.1")).unwrap();
        assert!(tally.admit(ip("192.0.2.1")).is_err());
        tally.admit(ip("192.0.2.2")).unwrap();

        tally.release(ip("192.0.2.1"));
        tally.admit(ip("192.0.2.1")).unwrap();
        assert!(tally.admit(ip("192.0.2.1")).is_err());
    }

    #[test]
    fn counts_an_ipv6_network_and_an_embedded_ipv4_as_one() {
        let mut tally = Tally::new(1);
        tally.admit(ip("2001:db8:0:1::1")).unwrap();
        assert!(tally.admit(ip("2001:db8:0:1:ffff::2")).is_err());
        tally.admit(ip("2001:db8:0:2::1")).unwrap();

        tally.admit(ip("192.0.2.1")).unwrap();
        assert!(tally.admit(ip("::ffff:192.0.2.1")).is_err());
    }

    #[test]
    fn forgets_an_address_that_has_no_connection() {
        let mut tally = Tally::new(1);
        tally.admit(ip("192.0.2.1")).unwrap();
        tally.release(ip("192.0.2.1"));
        tally.release(ip("192.0.2.1"));
        assert!(tally.n_by_block.is_empty());
    }

    #[test]
    fn a_refused_or_failed_connection_gives_its_place_back() {
        let mut cap = Behaviour::new(1);
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/1/ws".parse().unwrap();
        let remote: Multiaddr = "/ip4/192.0.2.1/tcp/2/ws".parse().unwrap();
        let first = ConnectionId::new_unchecked(1);
        cap.handle_pending_inbound_connection(first, &local, &remote)
            .unwrap();
        let second = ConnectionId::new_unchecked(2);
        assert!(
            cap.handle_pending_inbound_connection(second, &local, &remote)
                .is_err()
        );

        cap.forget(second);
        assert!(
            cap.handle_pending_inbound_connection(second, &local, &remote)
                .is_err()
        );
        cap.forget(first);
        cap.handle_pending_inbound_connection(second, &local, &remote)
            .unwrap();
    }

    /// Takes connections one after the other until one is refused.
    fn fill(gate: &mut Gate, now: Duration, ips: impl Iterator<Item = IpAddr>) -> (u32, Refusal) {
        let mut n_admitted = 0;
        for ip in ips {
            match gate.admit(now, ip) {
                Ok(()) => n_admitted += 1,
                Err(refusal) => return (n_admitted, refusal),
            }
        }
        panic!("all {n_admitted} were admitted");
    }

    #[test]
    fn half_open_handshakes_of_one_address_have_an_end() {
        let mut gate = Gate::new(64, 1);
        let now = Duration::from_secs(1);
        let (n, refusal) = fill(&mut gate, now, std::iter::repeat_n(ip("192.0.2.1"), 100));
        assert!(matches!(refusal, Refusal::TooManyPending), "{refusal}");
        assert_eq!(n, limits::max_pending_per_ip(64));
        gate.admit(now, ip("192.0.2.2")).unwrap();
        gate.establish(ip("192.0.2.1"));
        gate.admit(now, ip("192.0.2.1")).unwrap();
    }

    #[test]
    fn an_address_that_comes_and_goes_is_slowed() {
        let mut gate = Gate::new(64, 1);
        let rate = limits::handshakes_per_ip(64);
        let mut n_admitted = 0;
        for millis in 0..10_000 {
            let now = Duration::from_millis(millis);
            if gate.admit(now, ip("192.0.2.1")).is_ok() {
                n_admitted += 1;
                gate.release(ip("192.0.2.1"), Stage::Pending);
            }
        }
        let most = rate.burst + 10 * rate.per_sec;
        assert!((most - 1..=most).contains(&n_admitted), "{n_admitted}");
    }

    #[test]
    fn a_subnet_has_its_share() {
        let mut gate = Gate::new(2, 1);
        let home = (0..=255).map(|last| IpAddr::from([192, 0, 2, last]));
        let (n, refusal) = fill(&mut gate, Duration::ZERO, home);
        assert!(matches!(refusal, Refusal::SubnetFull), "{refusal}");
        assert_eq!(n, 2 * limits::ADDRESSES_PER_SUBNET);
        gate.admit(Duration::ZERO, ip("192.0.3.1")).unwrap();
    }

    #[test]
    fn all_together_are_slowed_and_a_refused_one_counts_for_nothing() {
        let mut gate = Gate::new(64, 1);
        let everybody = (0..20_000_u32).map(|n| IpAddr::from((n << 8).to_be_bytes()));
        let (n, refusal) = fill(&mut gate, Duration::ZERO, everybody);
        assert!(matches!(refusal, Refusal::AllTooFast), "{refusal}");
        assert_eq!(u64::from(n), limits::MAX_HANDSHAKES.burst);
        assert_eq!(gate.connections.n_by_block.len(), n as usize);
        assert_eq!(gate.by_subnet.n_by_block.len(), n as usize);
        assert_eq!(gate.pending.n_by_block.len(), n as usize);
    }

    #[test]
    fn a_circuit_is_no_address() {
        let relay = PeerId::random();
        let through: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{relay}/p2p-circuit")
            .parse()
            .unwrap();
        assert_eq!(ip_of(&through), None);
        let webrtc: Multiaddr = "/ip6/2001:db8::1/udp/3/webrtc-direct".parse().unwrap();
        assert_eq!(ip_of(&webrtc), Some(ip("2001:db8::1")));
    }
}
