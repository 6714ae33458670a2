//! Owns whom the relay dials: federated relays of its settings, and nobody else, whatever any
//! protocol would like to.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

/// Why a dial is refused.
#[derive(Debug, thiserror::Error)]
#[error("the relay dials federated relays only")]
pub(super) struct NotFederated;

/// Refuses every other dial.
pub(super) struct Behaviour {
    allowed: BTreeSet<PeerId>,
}

impl Behaviour {
    pub(super) fn new(allowed: BTreeSet<PeerId>) -> Self {
        Self { allowed }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_outbound_connection(
        &mut self,
        _connection_id: ConnectionId,
        peer: Option<PeerId>,
        _addresses: &[Multiaddr],
        _role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        match peer {
            Some(peer) if self.allowed.contains(&peer) => Ok(Vec::new()),
            Some(_) | None => Err(ConnectionDenied::new(NotFederated)),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _connection_id: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _connection_id: ConnectionId,
        _peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relays_of_the_settings_are_dialled() {
        let (friend, stranger) = (PeerId::random(), PeerId::random());
        let mut outgoing = Behaviour::new([friend].into());
        let mut dial = |peer| {
            let id = ConnectionId::new_unchecked(1);
            let dialled =
                outgoing.handle_pending_outbound_connection(id, peer, &[], Endpoint::Dialer);
            dialled.is_ok()
        };
        assert!(dial(Some(friend)));
        assert!(!dial(Some(stranger)));
        assert!(!dial(None));
    }
}
