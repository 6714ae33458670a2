//! Keeps a behaviour to some of the connections, and from making any of its own.
//!
//! Gossip goes from tab to tab only: what a relay carries is scarce. The Kademlia table is the
//! relays' alone. Neither may dial: a tab does not knock at hosts of a stranger's choice.

#[cfg(test)]
mod tests;

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, DialFailure};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll};

/// A behaviour that sees some connections only.
pub(super) struct Fenced<B> {
    pub(super) inner: B,
    /// whether it sees the connection at the other side's address
    sees: fn(&Multiaddr) -> bool,
    /// connections that it does not see
    off: BTreeSet<ConnectionId>,
    /// how many of each peer it sees
    on: BTreeMap<PeerId, usize>,
}

impl<B: NetworkBehaviour> Fenced<B> {
    pub(super) fn new(inner: B, sees: fn(&Multiaddr) -> bool) -> Self {
        Self {
            inner,
            sees,
            off: BTreeSet::new(),
            on: BTreeMap::new(),
        }
    }

    fn takes(&mut self, connection: ConnectionId, address: &Multiaddr) -> bool {
        let takes = (self.sees)(address);
        if !takes {
            self.off.insert(connection);
        }
        takes
    }

    fn established(&mut self, event: ConnectionEstablished<'_>) {
        if self.off.contains(&event.connection_id) {
            return;
        }
        let on = self.on.entry(event.peer_id).or_default();
        let other_established = *on;
        *on += 1;
        let event = ConnectionEstablished {
            other_established,
            ..event
        };
        self.inner
            .on_swarm_event(FromSwarm::ConnectionEstablished(event));
    }

    fn closed(&mut self, event: ConnectionClosed<'_>) {
        if self.off.remove(&event.connection_id) {
            return;
        }
        let on = self.on.entry(event.peer_id).or_default();
        *on = on.saturating_sub(1);
        let remaining_established = *on;
        if remaining_established == 0 {
            self.on.remove(&event.peer_id);
        }
        let event = ConnectionClosed {
            remaining_established,
            ..event
        };
        self.inner
            .on_swarm_event(FromSwarm::ConnectionClosed(event));
    }
}

const NONE: dummy::ConnectionHandler = dummy::ConnectionHandler;

impl<B: NetworkBehaviour> NetworkBehaviour for Fenced<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // A circuit names its relay in the local address alone.
        if !self.takes(connection, &joined(local, remote)) {
            return Ok(Either::Right(NONE));
        }
        self.inner
            .handle_established_inbound_connection(connection, peer, local, remote)
            .map(Either::Left)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.takes(connection, remote) {
            return Ok(Either::Right(NONE));
        }
        self.inner
            .handle_established_outbound_connection(connection, peer, remote, role, port)
            .map(Either::Left)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum grows; what concerns no one connection concerns the behaviour"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.established(event),
            FromSwarm::ConnectionClosed(event) => self.closed(event),
            FromSwarm::AddressChange(event) if self.off.contains(&event.connection_id) => {}
            event => self.inner.on_swarm_event(event),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Either::Left(event) => {
                self.inner
                    .on_connection_handler_event(peer, connection, event);
            }
            Either::Right(never) => match never {},
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<B::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.inner.poll(context) {
                Poll::Ready(ToSwarm::Dial { opts }) => {
                    let refused = DialFailure {
                        peer_id: opts.get_peer_id(),
                        error: &DialError::NoAddresses,
                        connection_id: opts.connection_id(),
                    };
                    self.inner.on_swarm_event(FromSwarm::DialFailure(refused));
                }
                Poll::Ready(action) => return Poll::Ready(action.map_in(Either::Left)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn joined(local: &Multiaddr, remote: &Multiaddr) -> Multiaddr {
    local.iter().chain(remote.iter()).collect()
}
