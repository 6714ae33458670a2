//! The half of a stream that is read.

use std::collections::VecDeque;

use super::{Ready, StreamError};
use crate::limits::MAX_UNREAD;

#[derive(Debug)]
pub(super) struct Receive {
    state: State,
    unread: VecDeque<u8>,
    /// bytes; all that has come
    received: u64,
    /// bytes; what the peer may send from the stream's start on
    allowed: u64,
    /// the peer has been told of that
    granted: bool,
    window: u64,
}

#[derive(Debug)]
enum State {
    Open,
    /// nobody reads; the peer has not ended
    Stopped,
    Finished,
    Failed(StreamError),
}

impl Receive {
    pub(super) fn new(window: u64) -> Self {
        Self {
            state: State::Open,
            unread: VecDeque::new(),
            received: 0,
            allowed: window,
            granted: false,
            window,
        }
    }

    /// Keeps what came.
    pub(super) fn take(&mut self, payload: &[u8], windows: bool) -> Result<(), StreamError> {
        if payload.is_empty() {
            return Ok(());
        }
        match self.state {
            State::Open | State::Stopped => {}
            State::Finished | State::Failed(_) => {
                let bytes = payload.len();
                return Err(StreamError::AfterEnd { bytes });
            }
        }
        self.received = self.received.saturating_add(payload.len() as u64);
        if windows && self.received > self.allowed {
            return Err(StreamError::BeyondWindow {
                received: self.received,
                allowed: self.allowed,
            });
        }
        if matches!(self.state, State::Stopped) {
            return Ok(());
        }
        let unread = self.unread.len() + payload.len();
        if unread > MAX_UNREAD {
            let allowed = MAX_UNREAD;
            return Err(StreamError::Unread { unread, allowed });
        }
        self.unread.extend(payload);
        Ok(())
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<Ready<usize>, StreamError> {
        if !self.unread.is_empty() {
            let (front, _) = self.unread.as_slices();
            let n = front.len().min(out.len());
            out[..n].copy_from_slice(&front[..n]);
            self.unread.drain(..n);
            if self.unread.is_empty() {
                // A stream that was full once and idles since holds no memory.
                self.unread = VecDeque::new();
            }
            return Ok(Ready::Now(n));
        }
        match &self.state {
            State::Open => Ok(Ready::Later),
            State::Stopped | State::Finished => Ok(Ready::Now(0)),
            State::Failed(error) => Err(error.clone()),
        }
    }

    pub(super) fn finish(&mut self) {
        match self.state {
            State::Open | State::Stopped => self.state = State::Finished,
            State::Finished | State::Failed(_) => {}
        }
    }

    /// Throws away what came and what will; true when the peer is to be told.
    pub(super) fn stop(&mut self) -> bool {
        self.unread = VecDeque::new();
        match self.state {
            State::Open => {
                self.state = State::Stopped;
                true
            }
            State::Stopped | State::Finished | State::Failed(_) => false,
        }
    }

    /// What came before can still be read.
    pub(super) fn fail(&mut self, error: StreamError) {
        match self.state {
            State::Open | State::Stopped => self.state = State::Failed(error),
            State::Finished | State::Failed(_) => {}
        }
    }

    /// Throws away what came.
    pub(super) fn discard(&mut self) {
        self.unread = VecDeque::new();
        // The end was not heard either.
        if matches!(self.state, State::Finished) {
            self.state = State::Open;
        }
    }

    pub(super) fn give_up_waiting(&mut self) {
        if matches!(self.state, State::Stopped) {
            self.state = State::Finished;
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed(_))
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Finished | State::Failed(_))
    }

    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Whether the peer waits, or soon will, for a larger window than it knows of.
    pub(super) fn owes_window(&self, windows: bool) -> bool {
        let open = matches!(self.state, State::Open | State::Stopped);
        open && windows && (!self.granted || self.next_allowed() - self.allowed >= self.window / 2)
    }

    /// What a frame that goes out now says: the first always, so that the peer learns that this
    /// side knows windows; later ones where the window has moved.
    pub(super) fn grant(&mut self, windows: bool) -> Option<u64> {
        if self.granted && !self.owes_window(windows) {
            return None;
        }
        self.granted = true;
        self.allowed = self.next_allowed();
        Some(self.allowed)
    }

    fn next_allowed(&self) -> u64 {
        let read = self.received - self.unread.len() as u64;
        read.saturating_add(self.window).max(self.allowed)
    }
}
