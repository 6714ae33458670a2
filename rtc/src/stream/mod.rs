//! One stream: two halves that end on their own, and the channel under them.
//!
//! The machine knows no clock, no channel and no task. What happens is told to it (`handle_*`, and
//! what the reader and the writer want); then [`Stream::transmit`] gives the messages that the
//! channel is to send, and [`Stream::wants_channel_closed`] says when there is nothing left to say.
//!
//! A half ends cleanly with FIN. The other side answers FIN with FIN_ACK at once, and the channel
//! is closed when both sides' FINs are answered, so that its number can be used again: by the side
//! that heard the last answer, while the side that gave it waits a moment. What does not come in
//! time is not waited for.
//!
//! A browser can hand over a channel of a peer that then never sends (Chromium 156 does so about once
//! in 40,000, where the channel's state changes while the page is told of it). Who was given it closes
//! it unread ([`Stream::handle_mute`]); who opened it, and heard nothing on it, says all of it again
//! on another ([`Stream::start_over`]).
//!
//! Data channels hand over what arrives whether it is read or not. Two peers with this machine
//! therefore tell each other how much they take (`max_data`, see [`crate::frame`]); another peer is
//! heard without it up to [`crate::limits::MAX_UNREAD`].

mod error;
mod opening;
#[cfg(test)]
mod peer_tests;
mod receive;
mod send;
#[cfg(test)]
mod tests;

pub use error::StreamError;

use std::time::Duration;

use crate::frame::{Decoder, Flag, Frame};
use crate::limits::{
    CLOSE_GRACE, CLOSE_TIMEOUT, MAX_PAYLOAD, MAX_PAYLOAD_PLAIN, OPEN_TIMEOUT, RECEIVE_WINDOW,
};
use opening::Opening;
use receive::Receive;
use send::Send;

/// What a half of a stream can do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready<T> {
    /// That much, at once.
    Now(T),
    /// Nothing before the next `handle_*`.
    Later,
}

/// How much of the specification the peer of a connection knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Peer {
    /// All of it.
    #[default]
    Full,
    /// Not known yet: FINs are not answered before it is, and messages are short.
    Unknown,
    /// No FIN_ACK, which would end the stream there, and no message above 8 KiB: libp2p-webrtc of
    /// Rust as a server.
    Plain,
}

/// The channel under a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Opening,
    Open,
    Closed,
}

/// A stream's state. Times are since any moment that stays the same.
#[derive(Debug)]
pub struct Stream {
    channel: Channel,
    peer: Peer,
    /// the peer has answered a FIN
    heard_fin_ack: bool,
    decoder: Decoder,
    receive: Receive,
    send: Send,
    /// flags that go before anything else
    fin_ack: bool,
    stop_sending: bool,
    reset: bool,
    /// the last word was an answer of ours, which is to arrive before the channel closes
    answered_last: bool,
    /// nobody holds the stream any more
    released: bool,
    /// when what is missing is not waited for any longer
    deadline: Option<Deadline>,
    /// what was said before the peer said anything
    opening: Opening,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    until: Duration,
    /// bytes; what the channel held then
    buffered: usize,
    /// bytes; what had left for the channel
    sent: u64,
}

impl Stream {
    /// A stream whose channel is not open yet.
    pub fn new(now: Duration) -> Self {
        Self {
            channel: Channel::Opening,
            peer: Peer::Full,
            heard_fin_ack: false,
            decoder: Decoder::default(),
            receive: Receive::new(RECEIVE_WINDOW),
            send: Send::default(),
            fin_ack: false,
            stop_sending: false,
            reset: false,
            answered_last: false,
            released: false,
            deadline: Some(Deadline {
                until: now + OPEN_TIMEOUT,
                buffered: 0,
                sent: 0,
            }),
            opening: Opening::default(),
        }
    }

    /// Says what is known of the peer; [`Peer::Full`] where nobody says anything.
    pub fn set_peer(&mut self, peer: Peer) {
        self.peer = peer;
        self.fin_ack &= peer != Peer::Plain;
    }

    /// Whether the peer has answered a FIN on this stream.
    pub fn heard_fin_ack(&self) -> bool {
        self.heard_fin_ack
    }

    /// The channel has opened.
    pub fn handle_open(&mut self) {
        if self.channel == Channel::Opening {
            self.channel = Channel::Open;
            self.deadline = None;
        }
    }

    /// A message has come.
    pub fn handle_message(&mut self, message: &[u8]) {
        if self.channel == Channel::Closed || self.receive.has_failed() {
            return;
        }
        self.opening.heard();
        let mut decoder = std::mem::take(&mut self.decoder);
        let read = decoder.push(message, |frame| self.handle_frame(frame));
        self.decoder = decoder;
        if let Err(error) = read {
            self.fail(StreamError::Frame(error));
        }
    }

    fn handle_frame(&mut self, frame: Frame) {
        if self.receive.has_failed() {
            return;
        }
        self.send.learn_window(frame.max_data);
        if let Err(error) = self
            .receive
            .take(&frame.payload, self.send.peer_knows_windows())
        {
            return self.fail(error);
        }
        match frame.flag {
            None => {}
            Some(Flag::Fin) => {
                self.receive.finish();
                self.fin_ack = self.peer != Peer::Plain;
            }
            Some(Flag::FinAck) => {
                self.heard_fin_ack = true;
                self.send.acknowledged();
                self.answered_last = false;
            }
            Some(Flag::StopSending) => self.send.stopped(),
            Some(Flag::Reset) => {
                self.answered_last = false;
                self.receive.fail(StreamError::ResetByPeer);
                self.send.fail(StreamError::ResetByPeer);
            }
        }
    }

    /// The channel is closed, by whomever.
    pub fn handle_closed(&mut self) {
        self.channel = Channel::Closed;
        self.receive.fail(StreamError::ChannelClosed);
        self.send.channel_closed();
        self.deadline = None;
    }

    /// The channel is one on which the browser sends nothing. Nothing that came on it is read, so
    /// that whoever opened it may say it again on another.
    pub fn handle_mute(&mut self) {
        self.receive.discard();
        self.handle_closed();
    }

    /// Goes on over a channel that is not open yet, where the one that has closed was of no use:
    /// false when the peer has said something on it, when too much was said to it, or when nobody
    /// holds the stream. Only for a stream opened here, to a peer that leaves unread what comes on
    /// a channel it cannot answer on: one that knows windows.
    pub fn start_over(&mut self, now: Duration) -> bool {
        if self.released || self.is_over() || !self.opening.repeat() {
            return false;
        }
        self.channel = Channel::Opening;
        self.deadline = None;
        self.wait(now + OPEN_TIMEOUT, 0);
        true
    }

    /// Whether the peer has said that it knows windows.
    pub fn peer_knows_windows(&self) -> bool {
        self.send.peer_knows_windows()
    }

    /// Time has passed; `buffered` bytes wait in the channel.
    pub fn handle_timeout(&mut self, now: Duration, buffered: usize) {
        let Some(deadline) = self.deadline else {
            return;
        };
        if now < deadline.until {
            return;
        }
        self.deadline = None;
        self.answered_last = false;
        if self.channel == Channel::Opening {
            return self.fail(StreamError::NotOpened);
        }
        // The last words may be on their way through a slow channel, or to a slow reader.
        let sent = self.send.sent();
        if buffered < deadline.buffered || sent > deadline.sent {
            return self.wait(now + CLOSE_TIMEOUT, buffered);
        }
        if self.send.is_open() || self.send.is_finishing() {
            return self.fail(StreamError::Unanswered);
        }
        self.send.give_up_waiting();
        self.receive.give_up_waiting();
    }

    fn wait(&mut self, until: Duration, buffered: usize) {
        self.deadline = Some(Deadline {
            until,
            buffered,
            sent: self.send.sent(),
        });
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.until)
    }

    /// Takes what has come, at most as much as `out` holds: 0 at the end.
    ///
    /// # Errors
    /// Why nothing more comes, when what came before has been read.
    pub fn read(&mut self, out: &mut [u8]) -> Result<Ready<usize>, StreamError> {
        self.receive.read(out)
    }

    /// Takes what is to be sent, as much as there is room for.
    ///
    /// # Errors
    /// Why nothing more is sent.
    pub fn write(&mut self, bytes: &[u8]) -> Result<Ready<usize>, StreamError> {
        self.send.write(bytes)
    }

    /// Says that nothing more is written: FIN follows what was.
    pub fn finish(&mut self) {
        self.send.finish();
    }

    /// Whether all that was written, and the FIN if there is one, has left for the channel.
    ///
    /// # Errors
    /// Why it will not.
    pub fn flushed(&self) -> Result<bool, StreamError> {
        self.send.flushed()
    }

    /// Says that nothing more is read. What comes is thrown away.
    pub fn stop(&mut self) {
        if self.receive.stop() {
            self.stop_sending = true;
        }
    }

    /// Gives the stream up, both halves.
    pub fn reset(&mut self) {
        self.fail(StreamError::ResetHere);
    }

    /// Nobody reads or writes any more: what was not finished is reset, what was goes on by itself
    /// until the peer has answered.
    pub fn release(&mut self) {
        self.released = true;
        if self.send.is_open() {
            if !self.receive.is_over() || !self.send.is_untouched() {
                return self.reset();
            }
            // The peer has finished and nothing was said to it: no is an answer, too.
            self.send.finish();
        }
        self.stop();
    }

    /// The next message for a channel that holds `buffered` bytes; none when there is nothing to
    /// say, or no room. What does not fill a frame waits for more unless `flush` is said.
    pub fn transmit(&mut self, now: Duration, buffered: usize, flush: bool) -> Option<Vec<u8>> {
        if self.channel != Channel::Open {
            return None;
        }
        if let Some(message) = self.opening.next() {
            return Some(message);
        }
        let frame = self.next_frame(buffered, flush || self.released);
        if self.is_over() && self.answered_last && frame.is_some() {
            self.wait(now + CLOSE_GRACE, buffered);
        } else if self.deadline.is_none() && self.is_waiting_for_the_end() {
            self.wait(now + CLOSE_TIMEOUT, buffered);
        }
        let message = frame.map(Frame::encode);
        if let Some(message) = &message {
            self.opening.said(message);
        }
        message
    }

    fn next_frame(&mut self, buffered: usize, flush: bool) -> Option<Frame> {
        if std::mem::take(&mut self.reset) {
            return Some(flagged(Flag::Reset));
        }
        let max_payload = match self.peer {
            Peer::Full => MAX_PAYLOAD,
            Peer::Unknown | Peer::Plain => MAX_PAYLOAD_PLAIN,
        };
        let mut frame = if self.fin_ack && self.peer != Peer::Unknown {
            self.fin_ack = false;
            self.answered_last = true;
            flagged(Flag::FinAck)
        } else if std::mem::take(&mut self.stop_sending) {
            flagged(Flag::StopSending)
        } else if let Some(frame) = self.send.next_frame(buffered, flush, max_payload) {
            frame
        } else if self.receive.owes_window(self.send.peer_knows_windows()) {
            Frame::default()
        } else {
            return None;
        };
        frame.max_data = self.receive.grant(self.send.peer_knows_windows());
        Some(frame)
    }

    /// Only the peer's answers are missing.
    fn is_waiting_for_the_end(&self) -> bool {
        let written = self.released || self.send.is_waiting() || self.send.is_over();
        let read = self.released || self.receive.is_over() || self.receive.is_stopped();
        written && read && !self.is_over()
    }

    fn is_over(&self) -> bool {
        self.send.is_over() && self.receive.is_over()
    }

    /// Whether nothing more will be said on the channel.
    pub fn wants_channel_closed(&self) -> bool {
        let silent = !self.fin_ack && !self.stop_sending && !self.reset && !self.answered_last;
        self.channel != Channel::Closed && self.is_over() && silent
    }

    /// Whether the stream is over and its channel closed: it can be forgotten.
    pub fn is_closed(&self) -> bool {
        self.channel == Channel::Closed
    }

    /// bytes; what has come and is not read.
    pub fn unread(&self) -> usize {
        self.receive.unread()
    }

    fn fail(&mut self, error: StreamError) {
        let was_over = self.is_over();
        self.receive.fail(error.clone());
        self.send.fail(error);
        self.fin_ack = false;
        self.stop_sending = false;
        self.answered_last = false;
        self.reset = !was_over && self.channel != Channel::Closed;
        self.deadline = None;
    }
}

fn flagged(flag: Flag) -> Frame {
    Frame {
        flag: Some(flag),
        ..Frame::default()
    }
}
