//! A connection as libp2p's swarm uses it: every data channel is a stream.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures_timer::Delay;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::noise;
use send_wrapper::SendWrapper;

use super::channel::Channel;
use super::clock::now;
use super::peer_connection::PeerConnection;
use super::shared::{Shared, State};
use super::substream::Substream;
use crate::error::{ConnectError, Stage};
use crate::limits::{DRAIN_PERIOD, DRAIN_TIMEOUT, PROBE_TIMEOUT};
use crate::stream::Peer;

/// A connection from browser to browser. Dropping it closes it.
pub struct Connection {
    inner: SendWrapper<PeerConnection>,
    /// when the next stream waits no longer
    timer: Option<(Duration, Delay)>,
    /// how a server proved who it is; its answer to the end of that says what it knows
    proof: Option<Proof>,
    /// until when what is in the channels may leave, while the connection is closed
    closing: Option<Duration>,
}

struct Proof {
    /// held, so that nothing more is said on its channel
    _ended: noise::Output<Substream>,
    /// when a server that has not answered counts as one that does not
    until: Duration,
}

impl Connection {
    pub(super) fn new(inner: PeerConnection) -> Self {
        inner.watch_dtls();
        Self {
            inner: SendWrapper::new(inner),
            timer: None,
            proof: None,
            closing: None,
        }
    }

    /// A connection to a server that has proved who it is, on a channel that this side has ended.
    pub(super) fn proved(inner: PeerConnection, ended: noise::Output<Substream>) -> Self {
        let proof = Proof {
            _ended: ended,
            until: now() + PROBE_TIMEOUT,
        };
        Self {
            proof: Some(proof),
            ..Self::new(inner)
        }
    }

    /// When it is clear what the server knows; none when it is.
    fn poll_probe(&self, time: Duration) -> Option<Duration> {
        let proof = self.proof.as_ref()?;
        if self.shared().peer() != Peer::Unknown {
            return None;
        }
        if time < proof.until {
            return Some(proof.until);
        }
        self.shared().learn(Peer::Plain);
        None
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        self.inner.shared()
    }

    fn ended(&self) -> Option<ConnectError> {
        match self.shared().state() {
            State::Ended(why) => Some(ConnectError::new(Stage::Connect, why)),
            State::Connecting | State::Connected => None,
        }
    }

    /// Has streams that waited long enough wait no longer, and wakes for the next.
    fn poll_timers(&mut self, context: &mut Context<'_>) {
        loop {
            let channels = self.shared().channels();
            let time = now();
            let mut next = self.poll_probe(time);
            for channel in channels {
                if channel.next_timeout().is_some_and(|at| at <= time) {
                    channel.handle_timeout(time);
                }
                next = next.into_iter().chain(channel.next_timeout()).min();
            }
            next = next
                .into_iter()
                .chain(self.shared().handle_silence(time))
                .min();
            self.shared().sweep();
            let Some(next) = next else {
                self.timer = None;
                return;
            };
            if self.poll_sleep(next, time, context).is_pending() {
                return;
            }
        }
    }

    /// Ready when it is `until`. A timer that is replaced wakes whoever polled it, so that one is
    /// kept for as long as it is for the same moment.
    fn poll_sleep(
        &mut self,
        until: Duration,
        time: Duration,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let (_, delay) = match self.timer.take() {
            Some((at, delay)) if at == until => self.timer.insert((at, delay)),
            Some(_) | None => {
                let delay = Delay::new(until.saturating_sub(time));
                self.timer.insert((until, delay))
            }
        };
        if delay.poll_unpin(context).is_pending() {
            return Poll::Pending;
        }
        self.timer = None;
        Poll::Ready(())
    }
}

impl StreamMuxer for Connection {
    type Substream = Substream;
    type Error = ConnectError;

    fn poll_inbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Substream, ConnectError>> {
        if let Some(error) = self.ended() {
            return Poll::Ready(Err(error));
        }
        let channel = self.shared().poll_waiting(context);
        channel.map(|channel| Ok(Substream::new(channel)))
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Substream, ConnectError>> {
        if let Some(error) = self.ended() {
            return Poll::Ready(Err(error));
        }
        let channel = self.shared().poll_create(context);
        channel.map(|channel| Ok(Substream::new(channel)))
    }

    /// Lets what is in the channels leave first.
    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ConnectError>> {
        loop {
            let time = now();
            let until = *self.closing.get_or_insert(time + DRAIN_TIMEOUT);
            let holds = |channel: &Rc<Channel>| channel.buffered() > 0 && !channel.is_closed();
            let is_empty = !self.shared().channels().iter().any(holds);
            if is_empty || time >= until || self.ended().is_some() {
                self.inner.close();
                return Poll::Ready(Ok(()));
            }
            let period = time + DRAIN_PERIOD;
            let next = self
                .timer
                .as_ref()
                .map_or(period, |(at, _)| period.min(*at));
            if self.poll_sleep(next, time, context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectError>> {
        self.shared().register_connection(context);
        self.poll_timers(context);
        match self.ended() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared().state();
        f.debug_struct("Connection").field("state", &state).finish()
    }
}
