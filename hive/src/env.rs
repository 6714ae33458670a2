//! What the small machines share: the moment, our key, the seeded draw, and the outputs to be
//! drained.

use crate::io::{JobId, Output, StreamId, StreamKind};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use std::collections::VecDeque;
use thrum_protocol::SigningKey;
use thrum_protocol::id::{NodeId, TaskId};
use thrum_protocol::limits::MAX_SAFE_INTEGER;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskUpdate, Event, LogLevel, LogLine};

/// The surroundings of one mutation.
pub(crate) struct Env {
    pub(crate) now: Millis,
    pub(crate) me: NodeId,
    pub(crate) key: SigningKey,
    pub(crate) rng: ChaCha8Rng,
    /// whether the view changed since the last drain
    pub(crate) changed: bool,
    /// drained after every mutation; one input causes a bounded number of outputs
    pub(crate) out: VecDeque<Output>,
    /// what the wall clock showed at moment zero, once that is known
    dawn: Option<Millis>,
    next_stream: u64,
    next_job: u64,
}

impl Env {
    pub(crate) fn new(key: SigningKey, seed: [u8; 32], now: Millis) -> Self {
        let me = NodeId::from_public_key(key.verifying_key().to_bytes())
            .expect("a signing key's public half is a point of the curve");
        Self {
            now,
            me,
            key,
            rng: ChaCha8Rng::from_seed(seed),
            changed: true,
            out: VecDeque::new(),
            dawn: None,
            next_stream: 0,
            next_job: 0,
        }
    }

    /// It shows `today` now, in ms since 1970.
    pub(crate) fn set_wall_clock(&mut self, today: Millis) {
        let today = today.min(Millis(MAX_SAFE_INTEGER));
        self.dawn = Some(today - self.now);
    }

    /// What the wall clock shows now.
    pub(crate) fn wall_clock(&self) -> Option<Millis> {
        self.dawn.map(|dawn| dawn + self.now)
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn notify(&mut self, event: Event) {
        self.push(Output::Notify(event));
    }

    pub(crate) fn update(&mut self, ask: u64, update: AskUpdate) {
        self.notify(Event::Ask { ask, update });
    }

    /// A line that the person at the page may read. Never a prompt or an answer.
    pub(crate) fn log(&mut self, level: LogLevel, message: String) {
        match level {
            LogLevel::Debug => tracing::debug!(peer = %self.me.fmt_short(), "{message}"),
            LogLevel::Info => tracing::info!(peer = %self.me.fmt_short(), "{message}"),
            LogLevel::Warn => tracing::warn!(peer = %self.me.fmt_short(), "{message}"),
            LogLevel::Error => tracing::error!(peer = %self.me.fmt_short(), "{message}"),
        }
        let at_millis = self.now;
        self.notify(Event::Log(LogLine {
            at_millis,
            level,
            message,
        }));
    }

    /// Opens a stream; its number is even.
    pub(crate) fn open(&mut self, peer: NodeId, kind: StreamKind) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 2;
        self.push(Output::Open { stream, peer, kind });
        stream
    }

    pub(crate) fn next_job(&mut self) -> JobId {
        let job = JobId(self.next_job);
        self.next_job += 1;
        job
    }

    pub(crate) fn draw_task_id(&mut self) -> TaskId {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        TaskId(bytes)
    }
}

/// The earlier of two moments that may not be set.
pub(crate) fn earlier(a: Option<Millis>, b: Option<Millis>) -> Option<Millis> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
