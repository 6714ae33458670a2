//! Saying what we can do, and hearing what others can: one stream per advert, then closed.

use crate::backoff::jittered;
use crate::env::{Env, earlier};
use crate::io::{Output, StreamId, StreamKind};
use crate::limits::{ADVERT_DEBOUNCE, ADVERT_TIMEOUT};
use crate::misbehaviour::Misbehaviour;
use crate::roster::Roster;
use std::collections::{BTreeMap, BTreeSet};
use thrum_protocol::advert::Advert;
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::ADVERT_PERIOD;
use thrum_protocol::time::Millis;

/// Says our advert on connecting, soon after a change, and every [`ADVERT_PERIOD`].
pub(crate) struct Beacon {
    /// what we last said, or are about to; its sequence is the last one used
    content: Advert,
    /// when everybody is told next
    due: Millis,
    /// whom to tell; connected peers only
    untold: BTreeSet<NodeId>,
    /// streams that are being opened for it
    opening: BTreeMap<StreamId, Opening>,
}

struct Opening {
    peer: NodeId,
    until: Millis,
}

impl Beacon {
    pub(crate) fn new(now: Millis, content: Advert) -> Self {
        Self {
            content,
            due: now + ADVERT_PERIOD,
            untold: BTreeSet::new(),
            opening: BTreeMap::new(),
        }
    }

    pub(crate) fn connected(&mut self, peer: NodeId) {
        self.untold.insert(peer);
    }

    pub(crate) fn disconnected(&mut self, peer: NodeId) {
        self.untold.remove(&peer);
        self.opening.retain(|_, opening| opening.peer != peer);
    }

    /// Everybody is told at once: after a pause, others may have forgotten us.
    pub(crate) fn resumed(&mut self, now: Millis) {
        self.due = now;
    }

    /// Whether the stream was ours.
    pub(crate) fn opened(&mut self, env: &mut Env, stream: StreamId) -> bool {
        if self.opening.remove(&stream).is_none() {
            return false;
        }
        self.content.sequence = env.now.0.max(self.content.sequence + 1);
        let frame = self.content.seal(&env.key);
        env.push(Output::Send { stream, frame });
        env.push(Output::Close(stream));
        true
    }

    /// Whether the stream was ours. The peer is told with everybody else next time.
    pub(crate) fn closed(&mut self, stream: StreamId) -> bool {
        self.opening.remove(&stream).is_some()
    }

    /// `current` is what we can do; its sequence is ours to set.
    pub(crate) fn tick(&mut self, env: &mut Env, roster: &Roster, current: Advert) {
        let current = Advert {
            sequence: self.content.sequence,
            ..current
        };
        if current != self.content {
            self.content = current;
            self.due = self.due.min(env.now + ADVERT_DEBOUNCE);
        }
        if self.due <= env.now {
            self.due = env.now + jittered(&mut env.rng, ADVERT_PERIOD);
            self.untold
                .extend(roster.connected().map(|(peer, _, _)| peer));
        }
        self.opening.retain(|&stream, opening| {
            let waits = env.now < opening.until;
            if !waits {
                env.push(Output::Close(stream));
            }
            waits
        });
        for peer in std::mem::take(&mut self.untold) {
            let opening = self.opening.values().any(|opening| opening.peer == peer);
            if opening || !roster.is_connected(peer) {
                continue;
            }
            let stream = env.open(peer, StreamKind::Advert);
            let until = env.now + ADVERT_TIMEOUT;
            self.opening.insert(stream, Opening { peer, until });
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        let openings = self.opening.values().map(|opening| Some(opening.until));
        openings.fold(Some(self.due), earlier)
    }
}

/// Streams on which an advert is due. No more than the floodgate admits.
#[derive(Default)]
pub(crate) struct Ear {
    streams: BTreeMap<StreamId, Opening>,
}

impl Ear {
    pub(crate) fn accepted(&mut self, now: Millis, stream: StreamId, peer: NodeId) {
        let until = now + ADVERT_TIMEOUT;
        self.streams.insert(stream, Opening { peer, until });
    }

    /// The peer and what it says, where the stream was ours.
    pub(crate) fn frame(
        &mut self,
        env: &mut Env,
        stream: StreamId,
        bytes: &[u8],
    ) -> Option<(NodeId, Result<Advert, Misbehaviour>)> {
        let Opening { peer, .. } = self.streams.remove(&stream)?;
        env.push(Output::Close(stream));
        let heard = match Advert::open(bytes) {
            Ok((sender, advert)) if sender == peer => Ok(advert),
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
        self.streams.retain(|_, opening| opening.peer != peer);
    }

    /// Streams that stayed silent are closed.
    pub(crate) fn tick(&mut self, env: &mut Env) {
        self.streams.retain(|&stream, opening| {
            let waits = env.now < opening.until;
            if !waits {
                env.push(Output::Close(stream));
            }
            waits
        });
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        self.streams.values().map(|opening| opening.until).min()
    }
}
