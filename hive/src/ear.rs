//! Hearing what takes one frame to say: an advert, or the hint of a peer that parts.

use crate::env::Env;
use crate::io::{Output, StreamId};
use crate::limits::ADVERT_TIMEOUT;
use crate::misbehaviour::Misbehaviour;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use thrum_protocol::advert::Advert;
use thrum_protocol::hint::Hint;
use thrum_protocol::id::NodeId;
use thrum_protocol::signed::OpenError;
use thrum_protocol::time::Millis;

/// A message that is a stream of its own.
pub(crate) trait Word: Sized {
    fn open(bytes: &[u8]) -> Result<(NodeId, Self), OpenError>;
}

impl Word for Advert {
    fn open(bytes: &[u8]) -> Result<(NodeId, Self), OpenError> {
        Self::open(bytes)
    }
}

impl Word for Hint {
    fn open(bytes: &[u8]) -> Result<(NodeId, Self), OpenError> {
        Self::open(bytes)
    }
}

/// Streams on which one is due. No more than the floodgate admits.
pub(crate) struct Ear<T> {
    streams: BTreeMap<StreamId, Waiting>,
    hears: PhantomData<T>,
}

struct Waiting {
    peer: NodeId,
    until: Millis,
}

impl<T: Word> Ear<T> {
    pub(crate) fn new() -> Self {
        Self {
            streams: BTreeMap::new(),
            hears: PhantomData,
        }
    }

    pub(crate) fn accepted(&mut self, now: Millis, stream: StreamId, peer: NodeId) {
        let until = now + ADVERT_TIMEOUT;
        self.streams.insert(stream, Waiting { peer, until });
    }

    /// The peer and what it says, where the stream was ours.
    pub(crate) fn frame(
        &mut self,
        env: &mut Env,
        stream: StreamId,
        bytes: &[u8],
    ) -> Option<(NodeId, Result<T, Misbehaviour>)> {
        let Waiting { peer, .. } = self.streams.remove(&stream)?;
        env.push(Output::Close(stream));
        let heard = match T::open(bytes) {
            Ok((sender, word)) if sender == peer => Ok(word),
            Ok((sender, _)) => Err(Misbehaviour::ForeignSender(sender)),
            Err(error) => Err(error.into()),
        };
        Some((peer, heard))
    }

    /// Whether the stream was ours.
    pub(crate) fn closed(&mut self, stream: StreamId) -> bool {
        self.streams.remove(&stream).is_some()
    }

    pub(crate) fn disconnected(&mut self, peer: NodeId) {
        self.streams.retain(|_, waiting| waiting.peer != peer);
    }

    /// Streams that stayed silent are closed.
    pub(crate) fn tick(&mut self, env: &mut Env) {
        self.streams.retain(|&stream, waiting| {
            let waits = env.now < waiting.until;
            if !waits {
                env.push(Output::Close(stream));
            }
            waits
        });
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        self.streams.values().map(|waiting| waiting.until).min()
    }
}
