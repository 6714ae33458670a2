//! Saying what we can do: one stream per advert, then closed.

use crate::backoff::jittered;
use crate::env::{Env, earlier};
use crate::io::{Output, StreamId, StreamKind};
use crate::limits::{ADVERT_DEBOUNCE, ADVERT_TIMEOUT};
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
    /// it, signed, until it changes or is said to everybody again
    sealed: Option<Vec<u8>>,
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
            sealed: None,
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
        let frame = self.sealed(env);
        env.push(Output::Send { stream, frame });
        env.push(Output::Close(stream));
        true
    }

    /// Signed once for all peers.
    fn sealed(&mut self, env: &Env) -> Vec<u8> {
        if let Some(frame) = &self.sealed {
            return frame.clone();
        }
        self.content.sequence = env.now.0.max(self.content.sequence + 1);
        let frame = self.content.seal(&env.key);
        self.sealed = Some(frame.clone());
        frame
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
            self.sealed = None;
            self.due = self.due.min(env.now + ADVERT_DEBOUNCE);
        }
        if self.due <= env.now {
            self.due = env.now + jittered(&mut env.rng, ADVERT_PERIOD);
            self.sealed = None;
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
