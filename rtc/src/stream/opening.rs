//! What a stream says before the peer says anything, kept to be said again.

use std::collections::VecDeque;

use crate::limits::MAX_OPENING;

/// The beginning of a stream.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// messages that have left for the channel
    said: Vec<Vec<u8>>,
    /// bytes; in them
    bytes: usize,
    /// messages that are said again
    again: VecDeque<Vec<u8>>,
    answered: bool,
}

impl Opening {
    /// A message has left for the channel for the first time.
    pub(super) fn said(&mut self, message: &[u8]) {
        self.bytes = self.bytes.saturating_add(message.len());
        if self.answered || self.bytes > MAX_OPENING {
            self.said = Vec::new();
        } else {
            self.said.push(message.to_vec());
        }
    }

    /// The peer has answered: nothing is said again.
    pub(super) fn heard(&mut self) {
        self.answered = true;
        self.said = Vec::new();
        self.again = VecDeque::new();
    }

    /// Has all be said again; false where that is not possible.
    pub(super) fn repeat(&mut self) -> bool {
        if self.answered || self.bytes > MAX_OPENING {
            return false;
        }
        self.again = self.said.iter().cloned().collect();
        true
    }

    /// The next message that is said again.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.again.pop_front()
    }
}
