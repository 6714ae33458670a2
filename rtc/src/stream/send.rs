//! The half of a stream that is written.

use std::collections::VecDeque;

use super::{Ready, StreamError};
use crate::frame::{Flag, Frame};
use crate::limits::{FIRST_WINDOW, MAX_BUFFERED, MAX_UNSENT};

#[derive(Debug, Default)]
pub(super) struct Send {
    state: State,
    unsent: VecDeque<u8>,
    /// bytes; all that has left for the channel
    sent: u64,
    window: Window,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Open,
    /// FIN follows what is not sent yet
    Finishing,
    /// FIN is sent, FIN_ACK is missing
    Waiting,
    Finished,
    /// the peer reads no more; FIN is sent nevertheless, for a clean end
    StoppedFinishing,
    StoppedWaiting,
    Failed(StreamError),
}

/// What is known of the peer's window.
#[derive(Debug, Default)]
enum Window {
    /// nothing has come from it
    #[default]
    Unknown,
    /// it knows no windows
    None,
    /// bytes; from the stream's start on
    Until(u64),
}

impl Send {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<Ready<usize>, StreamError> {
        match &self.state {
            State::Open => {}
            State::Finishing | State::Waiting | State::Finished => {
                return Err(StreamError::Finished);
            }
            State::StoppedFinishing | State::StoppedWaiting => return Err(StreamError::Stopped),
            State::Failed(error) => return Err(error.clone()),
        }
        let room = MAX_UNSENT - self.unsent.len();
        if room == 0 && !bytes.is_empty() {
            return Ok(Ready::Later);
        }
        let n = bytes.len().min(room);
        self.unsent.extend(&bytes[..n]);
        Ok(Ready::Now(n))
    }

    pub(super) fn finish(&mut self) {
        if matches!(self.state, State::Open) {
            self.state = State::Finishing;
        }
    }

    pub(super) fn flushed(&self) -> Result<bool, StreamError> {
        match &self.state {
            State::Open => Ok(self.unsent.is_empty()),
            State::Finishing => Ok(false),
            State::Waiting | State::Finished => Ok(true),
            State::StoppedFinishing | State::StoppedWaiting => Err(StreamError::Stopped),
            State::Failed(error) => Err(error.clone()),
        }
    }

    pub(super) fn next_frame(
        &mut self,
        buffered: usize,
        flush: bool,
        max_payload: usize,
    ) -> Option<Frame> {
        match self.state {
            State::Open | State::Finishing => {}
            State::StoppedFinishing => {
                self.state = State::StoppedWaiting;
                return Some(fin());
            }
            State::Waiting | State::StoppedWaiting | State::Finished | State::Failed(_) => {
                return None;
            }
        }
        let finishing = matches!(self.state, State::Finishing);
        if self.unsent.is_empty() {
            return finishing.then(|| {
                self.state = State::Waiting;
                fin()
            });
        }
        if buffered >= MAX_BUFFERED {
            return None;
        }
        let allowed = match self.window {
            Window::Unknown => FIRST_WINDOW,
            Window::None => u64::MAX,
            Window::Until(allowed) => allowed,
        };
        let allowed = usize::try_from(allowed.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        let n = self.unsent.len().min(max_payload).min(allowed);
        if n == 0 || (n < max_payload && n < allowed && !flush && !finishing) {
            return None;
        }
        let payload = self.cut(n);
        if self.unsent.is_empty() {
            self.unsent = VecDeque::new();
        }
        self.sent += n as u64;
        Some(Frame {
            payload,
            ..Frame::default()
        })
    }

    fn cut(&mut self, n: usize) -> Vec<u8> {
        let (front, back) = self.unsent.as_slices();
        let of_front = n.min(front.len());
        let mut payload = Vec::with_capacity(n);
        payload.extend_from_slice(&front[..of_front]);
        payload.extend_from_slice(&back[..n - of_front]);
        self.unsent.drain(..n);
        payload
    }

    /// What a frame of the peer says of its window. A window never shrinks.
    pub(super) fn learn_window(&mut self, max_data: Option<u64>) {
        self.window = match (&self.window, max_data) {
            (Window::Until(known), Some(told)) => Window::Until(told.max(*known)),
            (Window::Unknown | Window::None, Some(told)) => Window::Until(told.max(FIRST_WINDOW)),
            (Window::Until(known), None) => Window::Until(*known),
            (Window::Unknown | Window::None, None) => Window::None,
        };
    }

    pub(super) fn peer_knows_windows(&self) -> bool {
        matches!(self.window, Window::Until(_))
    }

    pub(super) fn acknowledged(&mut self) {
        match self.state {
            State::Waiting | State::StoppedWaiting => self.state = State::Finished,
            // An answer to what was not said.
            State::Open | State::Finishing | State::StoppedFinishing => {}
            State::Finished | State::Failed(_) => {}
        }
    }

    pub(super) fn stopped(&mut self) {
        match self.state {
            State::Open | State::Finishing => {
                self.state = State::StoppedFinishing;
                self.unsent = VecDeque::new();
            }
            State::Waiting => self.state = State::StoppedWaiting,
            State::Finished
            | State::StoppedFinishing
            | State::StoppedWaiting
            | State::Failed(_) => {}
        }
    }

    pub(super) fn fail(&mut self, error: StreamError) {
        if !matches!(self.state, State::Finished | State::Failed(_)) {
            self.state = State::Failed(error);
            self.unsent = VecDeque::new();
        }
    }

    /// A peer that closes the channel after our FIN has seen it.
    pub(super) fn channel_closed(&mut self) {
        match self.state {
            State::Waiting | State::StoppedWaiting => self.state = State::Finished,
            State::Open | State::Finishing | State::StoppedFinishing => {
                self.fail(StreamError::ChannelClosed);
            }
            State::Finished | State::Failed(_) => {}
        }
    }

    pub(super) fn give_up_waiting(&mut self) {
        if matches!(self.state, State::Waiting | State::StoppedWaiting) {
            self.state = State::Finished;
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    pub(super) fn is_finishing(&self) -> bool {
        matches!(self.state, State::Finishing | State::StoppedFinishing)
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.sent == 0 && self.unsent.is_empty()
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting | State::StoppedWaiting)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Finished | State::Failed(_))
    }
}

fn fin() -> Frame {
    Frame {
        flag: Some(Flag::Fin),
        ..Frame::default()
    }
}
