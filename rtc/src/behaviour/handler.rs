//! One connection's part in signalling: opens streams when asked and takes those of the peer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError,
    SubstreamProtocol,
};

use super::Reply;
use crate::error::{ConnectError, Stage};
use crate::signal::PROTOCOL;

/// count; streams of the peer that wait to be handed on.
const MAX_ARRIVED: usize = 4;

/// The handler of every connection, relayed or not.
#[derive(Debug, Default)]
pub struct Handler {
    wanted: VecDeque<Reply>,
    arrived: VecDeque<Stream>,
    waker: Option<Waker>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Reply;
    type ToBehaviour = Stream;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Reply;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(protocol(), ())
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, Reply, Stream>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(stream));
        }
        while let Some(reply) = self.wanted.pop_front() {
            if reply.is_canceled() {
                continue;
            }
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(protocol(), reply),
            });
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, reply: Reply) {
        self.wanted.push_back(reply);
        self.wake();
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Reply>,
    ) {
        // libp2p's enum grows; the rest says nothing about signalling.
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
            protocol: stream,
            ..
        }) = event
        {
            // Dropping a stream resets it.
            if self.arrived.len() < MAX_ARRIVED {
                self.arrived.push_back(stream);
                self.wake();
            }
        } else if let ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
            protocol: stream,
            info: reply,
        }) = event
        {
            // Nobody waits any more: the stream is dropped.
            reply.send(Ok(stream)).ok();
        } else if let ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) = event {
            info.send(Err(refused(&error))).ok();
        }
    }
}

impl Handler {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn protocol() -> ReadyUpgrade<StreamProtocol> {
    ReadyUpgrade::new(StreamProtocol::new(PROTOCOL))
}

fn refused(error: &StreamUpgradeError<Infallible>) -> ConnectError {
    let reason = match error {
        StreamUpgradeError::Timeout => "the peer did not answer".to_owned(),
        StreamUpgradeError::NegotiationFailed => {
            "the peer does not take direct connections".to_owned()
        }
        StreamUpgradeError::Apply(never) => match *never {},
        StreamUpgradeError::Io(error) => error.to_string(),
    };
    ConnectError::new(Stage::Signalling, reason)
}
