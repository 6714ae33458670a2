//! Parting politely: a peer that is one too many is told of others and asked to leave; if it has
//! not left after a moment, it is disconnected.

use crate::env::Env;
use crate::io::{Output, StreamId, StreamKind};
use crate::limits::PART_TIMEOUT;
use std::collections::BTreeMap;
use thrum_protocol::hint::Hint;
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;

/// Whom we part from. Connected peers only.
#[derive(Default)]
pub(crate) struct Farewell {
    leaving: BTreeMap<NodeId, Leaving>,
}

struct Leaving {
    stream: StreamId,
    /// `None` once it is said
    hint: Option<Hint>,
    until: Millis,
}

impl Farewell {
    pub(crate) fn begin(&mut self, env: &mut Env, peer: NodeId, hint: Hint) {
        let stream = env.open(peer, StreamKind::Hint);
        let leaving = Leaving {
            stream,
            hint: Some(hint),
            until: env.now + PART_TIMEOUT,
        };
        self.leaving.insert(peer, leaving);
    }

    /// Whether the stream was ours.
    pub(crate) fn opened(&mut self, env: &mut Env, stream: StreamId) -> bool {
        let found = self.leaving.values_mut().find(|it| it.stream == stream);
        let Some(leaving) = found else {
            return false;
        };
        if let Some(hint) = leaving.hint.take() {
            let frame = hint.seal(&env.key);
            env.push(Output::Send { stream, frame });
            env.push(Output::Close(stream));
        }
        true
    }

    /// Whether the stream was ours. A peer that does not understand hints goes without one.
    pub(crate) fn closed(&mut self, now: Millis, stream: StreamId) -> bool {
        let found = self.leaving.values_mut().find(|it| it.stream == stream);
        let Some(leaving) = found else {
            return false;
        };
        leaving.until = now;
        true
    }

    pub(crate) fn disconnected(&mut self, peer: NodeId) {
        self.leaving.remove(&peer);
    }

    /// Who has to go now.
    pub(crate) fn overdue(&mut self, env: &mut Env) -> Vec<NodeId> {
        let now = env.now;
        let due: Vec<NodeId> = self
            .leaving
            .iter()
            .filter(|(_, leaving)| leaving.until <= now)
            .map(|(&peer, _)| peer)
            .collect();
        for peer in &due {
            if let Some(Leaving { stream, hint, .. }) = self.leaving.remove(peer)
                && hint.is_some()
            {
                env.push(Output::Close(stream));
            }
        }
        due
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        self.leaving.values().map(|leaving| leaving.until).min()
    }
}
