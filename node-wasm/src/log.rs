//! The log: what `tracing` says becomes lines that the page shows.
//!
//! One ring for all nodes of the page. Our own lines are kept from DEBUG up, those of libraries
//! from WARN up.

use crate::clock::Clock;
use futures::channel::mpsc;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Once;
use thrum_protocol::view::{LogLevel, LogLine};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// count; lines that are kept for a page that opens its log later.
const MAX_LINES: usize = 512;

/// bytes; one line. Longer ones come from error chains and lose their end.
const MAX_LINE_BYTES: usize = 1_024;

/// count; lines that wait for a node's loop; more are only in the ring.
const MAX_WAITING: usize = 256;

thread_local! {
    static LOG: RefCell<Log> = RefCell::new(Log {
        clock: Clock::start(),
        lines: VecDeque::new(),
        listeners: Vec::new(),
    });
}

struct Log {
    clock: Clock,
    lines: VecDeque<LogLine>,
    listeners: Vec<mpsc::Sender<LogLine>>,
}

/// Begins to collect, once per page. Another subscriber that is already set stays.
pub(crate) fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        tracing::subscriber::set_global_default(Lines).ok();
    });
}

/// The lines that are kept, oldest first.
pub(crate) fn kept() -> Vec<LogLine> {
    LOG.with_borrow(|log| log.lines.iter().cloned().collect())
}

/// The lines to come.
pub(crate) fn follow() -> mpsc::Receiver<LogLine> {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    LOG.with_borrow_mut(|log| {
        log.listeners.retain(|listener| !listener.is_closed());
        log.listeners.push(sender);
    });
    receiver
}

/// Adds a line.
pub(crate) fn add(level: LogLevel, mut message: String) {
    truncate(&mut message);
    LOG.with(|log| {
        // A line that is said while the log itself is at work is dropped.
        let Ok(mut log) = log.try_borrow_mut() else {
            return;
        };
        let line = LogLine {
            at_millis: log.clock.now(),
            level,
            message,
        };
        if log.lines.len() == MAX_LINES {
            log.lines.pop_front();
        }
        log.lines.push_back(line.clone());
        for listener in &mut log.listeners {
            // One that is behind finds the line in the ring.
            listener.try_send(line.clone()).ok();
        }
    });
}

fn truncate(message: &mut String) {
    if message.len() > MAX_LINE_BYTES {
        let end = (0..=MAX_LINE_BYTES)
            .rev()
            .find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or(0));
        message.push('…');
    }
}

/// The subscriber: events only, spans are not followed.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("thrum");
        metadata.is_event() && *metadata.level() <= if ours { Level::DEBUG } else { Level::WARN }
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => LogLevel::Error,
            Level::WARN => LogLevel::Warn,
            Level::INFO => LogLevel::Info,
            Level::DEBUG | Level::TRACE => LogLevel::Debug,
        };
        add(level, text.sentence + &text.fields);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// The sentence of an event and its fields behind it.
#[derive(Default)]
struct Text {
    sentence: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a String does not fail.
        if field.name() == "message" {
            write!(self.sentence, "{value:?}").ok();
        } else {
            write!(self.fields, " {}={value:?}", field.name()).ok();
        }
    }
}
