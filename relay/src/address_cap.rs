//! Owns who may connect: how many connections an address has (an IPv4 address, or an IPv6 /64,
//! since one household or one server holds a whole /64) and its subnet, and how fast it may begin
//! handshakes.
//!
//! A connection counts from the start of its handshake until it is closed or fails. One whose
//! address holds no IP, or that comes through a circuit, is nobody's and counts for none: the
//! IP in a circuit's address is the relay's.

mod gate;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::Instant;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour,
    THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

pub(crate) use gate::Refusal;
use gate::{Gate, Origin, Stage};

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

/// Where this connection comes from; `None` for one through a circuit.
fn origin_of(address: &Multiaddr) -> Option<Origin> {
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    let ip = address.iter().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            Some(IpAddr::V4(ip))
        } else if let Protocol::Ip6(ip) = part {
            Some(IpAddr::V6(ip))
        } else {
            None
        }
    })?;
    let is_proven = address.iter().any(|part| matches!(part, Protocol::Tcp(_)));
    Some(Origin { ip, is_proven })
}

/// Refuses the connections that the gate does not admit.
pub(crate) struct Behaviour {
    gate: Gate,
    started: Instant,
    by_connection: BTreeMap<ConnectionId, (Origin, Stage)>,
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
        if let Some((origin, stage)) = self.by_connection.remove(&connection_id) {
            self.gate.release(origin, stage);
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
        if let Some(origin) = origin_of(remote_addr) {
            self.gate
                .admit(self.started.elapsed(), origin)
                .map_err(ConnectionDenied::new)?;
            self.by_connection
                .insert(connection_id, (origin, Stage::Pending));
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
        if let Some((origin, stage @ Stage::Pending)) = self.by_connection.get_mut(&connection_id) {
            *stage = Stage::Established;
            self.gate.establish(*origin);
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

    #[test]
    fn a_circuit_is_no_address() {
        let relay = PeerId::random();
        let through: Multiaddr = format!("/ip4/192.0.2.1/tcp/1/ws/p2p/{relay}/p2p-circuit")
            .parse()
            .unwrap();
        assert_eq!(origin_of(&through), None);
        let webrtc: Multiaddr = "/ip6/2001:db8::1/udp/3/webrtc-direct".parse().unwrap();
        let (ip, is_proven) = (ip("2001:db8::1"), false);
        assert_eq!(origin_of(&webrtc), Some(Origin { ip, is_proven }));
    }
}
