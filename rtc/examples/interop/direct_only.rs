//! Keeps a behaviour off relayed connections: what it does then goes directly.
//!
//! js-libp2p refuses most protocols on a connection that a relay limits, and a behaviour that has
//! said its first words there does not repeat them on the direct one.

use std::collections::{BTreeMap, BTreeSet};
use std::task::{Context, Poll};

use either::Either;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use thrum_rtc::address::is_relayed;

/// A behaviour that sees direct connections only.
pub(crate) struct DirectOnly<B> {
    pub(crate) inner: B,
    /// whether it sees relayed ones after all
    relayed: bool,
    /// connections that it does not see
    off: BTreeSet<ConnectionId>,
    /// how many of each peer it sees
    on: BTreeMap<PeerId, usize>,
}

impl<B: NetworkBehaviour> DirectOnly<B> {
    pub(crate) fn new(inner: B, relayed: bool) -> Self {
        Self {
            inner,
            relayed,
            off: BTreeSet::new(),
            on: BTreeMap::new(),
        }
    }

    fn takes(&mut self, connection: ConnectionId, address: &Multiaddr) -> bool {
        let takes = self.relayed || !is_relayed(address);
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
        let event = ConnectionClosed {
            remaining_established,
            ..event
        };
        self.inner
            .on_swarm_event(FromSwarm::ConnectionClosed(event));
    }
}

const NONE: dummy::ConnectionHandler = dummy::ConnectionHandler;

impl<B: NetworkBehaviour> NetworkBehaviour for DirectOnly<B> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !self.takes(connection, local) {
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

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.established(event),
            FromSwarm::ConnectionClosed(event) => self.closed(event),
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
        self.inner
            .poll(context)
            .map(|action| action.map_in(Either::Left))
    }
}
