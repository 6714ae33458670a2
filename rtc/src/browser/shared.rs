//! What is known of a connection: its channels, what the browser said of it, and who waits for it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use js_sys::{JSON, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::{
    EventTarget, RtcDataChannel, RtcDataChannelInit, RtcPeerConnection, RtcPeerConnectionIceEvent,
    RtcPeerConnectionState,
};

use super::bindings::{create_channel, words};
use super::channel::{Channel, Purpose};
use super::clock::now;
use crate::limits::{MAX_CANDIDATES, MAX_CHANNELS, MAX_WAITING_CHANNELS, SILENCE_TIMEOUT};
use crate::signal::INIT_LABEL;
use crate::stream::Peer;

/// What callbacks and channels reach.
pub(super) struct Shared {
    inner: RtcPeerConnection,
    channels: RefCell<BTreeMap<u32, Rc<Channel>>>,
    next_key: Cell<u32>,
    /// channels that the peer opened and nobody has asked for
    waiting: RefCell<VecDeque<Rc<Channel>>>,
    candidates: RefCell<VecDeque<String>>,
    state: Cell<State>,
    /// since when the peer is not heard
    silent_since: Cell<Option<Duration>>,
    peer: Cell<Peer>,
    /// the peer has told of its windows
    knows_windows: Cell<bool>,
    /// the channel that an offer needs, until it is closed
    init: RefCell<Option<RtcDataChannel>>,
    wakers: Wakers,
}

#[derive(Default)]
struct Wakers {
    handshake: Cell<Option<Waker>>,
    inbound: Cell<Option<Waker>>,
    outbound: Cell<Option<Waker>>,
    connection: Cell<Option<Waker>>,
}

/// What a connection says while it is made.
#[derive(Debug)]
pub(super) enum Found {
    Candidate(String),
    State(State),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Connected,
    /// for good, with the browser's word for it
    Ended(&'static str),
}

impl Shared {
    pub(super) fn new(inner: RtcPeerConnection) -> Self {
        Self {
            inner,
            channels: RefCell::default(),
            next_key: Cell::new(0),
            waiting: RefCell::default(),
            candidates: RefCell::default(),
            state: Cell::new(State::Connecting),
            silent_since: Cell::new(None),
            peer: Cell::default(),
            knows_windows: Cell::default(),
            init: RefCell::default(),
            wakers: Wakers::default(),
        }
    }

    pub(super) fn keep_init(&self, channel: RtcDataChannel) {
        *self.init.borrow_mut() = Some(channel);
    }

    pub(super) fn close_init(&self) {
        if let Some(channel) = self.init.take() {
            channel.close();
        }
    }

    /// Has the browser call no channel any more. Not to be called from a callback.
    pub(super) fn forget_channels(&self) {
        for channel in self.channels() {
            channel.detach();
        }
        self.channels.borrow_mut().clear();
        self.waiting.borrow_mut().clear();
    }

    /// What has been found, candidates first.
    pub(super) fn poll_found(&self, context: &mut Context<'_>, known: State) -> Poll<Found> {
        if let Some(candidate) = self.candidates.borrow_mut().pop_front() {
            return Poll::Ready(Found::Candidate(candidate));
        }
        let state = self.state.get();
        if state != known {
            return Poll::Ready(Found::State(state));
        }
        set(&self.wakers.handshake, context);
        Poll::Pending
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    /// How much of the specification the peer knows.
    pub(super) fn peer(&self) -> Peer {
        self.peer.get()
    }

    /// Has every stream, also those to come, do as this peer needs it.
    pub(super) fn learn(&self, peer: Peer) {
        if self.peer.replace(peer) != peer {
            for channel in self.channels() {
                channel.set_peer(peer);
            }
        }
    }

    /// Whether the peer knows windows, so far as it has said.
    pub(super) fn peer_knows_windows(&self) -> bool {
        self.knows_windows.get()
    }

    pub(super) fn learn_windows(&self) {
        self.knows_windows.set(true);
    }

    /// A channel for a stream.
    ///
    /// # Errors
    /// What the browser throws where it has no number left.
    pub(super) fn create_channel(&self) -> Result<RtcDataChannel, String> {
        let options = RtcDataChannelInit::new();
        create_channel(&self.inner, "", &options).map_err(|error| words(&error))
    }

    /// A channel of ours; none while too many are open or the browser has no number left.
    pub(super) fn poll_create(self: &Rc<Self>, context: &mut Context<'_>) -> Poll<Rc<Channel>> {
        if self.channels.borrow().len() < MAX_CHANNELS {
            match self.create_channel() {
                Ok(channel) => return Poll::Ready(self.adopt(channel, Purpose::Opened)),
                Err(error) => tracing::debug!(error, "the browser makes no channel"),
            }
        }
        set(&self.wakers.outbound, context);
        Poll::Pending
    }

    /// A channel that the peer has opened.
    pub(super) fn poll_waiting(&self, context: &mut Context<'_>) -> Poll<Rc<Channel>> {
        if let Some(channel) = self.waiting.borrow_mut().pop_front() {
            return Poll::Ready(channel);
        }
        set(&self.wakers.inbound, context);
        Poll::Pending
    }

    pub(super) fn register_connection(&self, context: &Context<'_>) {
        set(&self.wakers.connection, context);
    }

    pub(super) fn adopt(self: &Rc<Self>, inner: RtcDataChannel, purpose: Purpose) -> Rc<Channel> {
        let key = self.next_key.get();
        self.next_key.set(key.wrapping_add(1));
        let channel = Channel::new(key, inner, purpose, Rc::downgrade(self));
        let mut channels = self.channels.borrow_mut();
        channels.insert(key, Rc::clone(&channel));
        channel
    }

    /// Every channel that is not closed.
    pub(super) fn channels(&self) -> Vec<Rc<Channel>> {
        self.channels.borrow().values().cloned().collect()
    }

    /// A channel has closed, or waits for something.
    pub(super) fn channel_changed(&self) {
        wake(&self.wakers.connection);
    }

    /// Forgets channels that are closed. Not to be called from a callback.
    pub(super) fn sweep(&self) {
        let closed: Vec<_> = {
            let channels = self.channels.borrow();
            let closed = channels.values().filter(|channel| channel.is_closed());
            closed.map(|channel| channel.key()).collect()
        };
        if closed.is_empty() {
            return;
        }
        for key in closed {
            let channel = self.channels.borrow_mut().remove(&key);
            if let Some(channel) = channel {
                channel.detach();
            }
        }
        wake(&self.wakers.outbound);
    }

    pub(super) fn on_channel(self: &Rc<Self>, channel: RtcDataChannel) {
        let too_many = self.channels.borrow().len() >= 2 * MAX_CHANNELS
            || self.waiting.borrow().len() >= MAX_WAITING_CHANNELS;
        if channel.label() == INIT_LABEL || too_many {
            channel.close();
            return;
        }
        let channel = self.adopt(channel, Purpose::Accepted);
        self.waiting.borrow_mut().push_back(channel);
        wake(&self.wakers.inbound);
    }

    pub(super) fn on_candidate(&self, event: &RtcPeerConnectionIceEvent) {
        // None, and one that is empty, say that there will be no more.
        let Some(candidate) = event.candidate().filter(|it| !it.candidate().is_empty()) else {
            return;
        };
        let json = JSON::stringify(&candidate.to_json()).ok();
        if let Some(json) = json.and_then(|json| json.as_string()) {
            let mut candidates = self.candidates.borrow_mut();
            if candidates.len() < MAX_CANDIDATES {
                candidates.push_back(json);
            }
        }
        wake(&self.wakers.handshake);
    }

    pub(super) fn on_state(&self) {
        let state = self.inner.connection_state();
        let silent = state == RtcPeerConnectionState::Disconnected;
        self.silent_since.set(silent.then(now));
        wake(&self.wakers.connection);
        if state == RtcPeerConnectionState::Connected && self.state.get() == State::Connecting {
            self.state.set(State::Connected);
            self.wake_all();
        } else if state == RtcPeerConnectionState::Failed {
            self.end("no way to the peer works (ICE or DTLS failed)");
        } else if state == RtcPeerConnectionState::Closed {
            self.end("the connection was closed");
        }
    }

    /// Ends a connection whose peer has been silent for too long, and says when that will be.
    pub(super) fn handle_silence(&self, time: Duration) -> Option<Duration> {
        let until = self.silent_since.get()? + SILENCE_TIMEOUT;
        if time < until {
            return Some(until);
        }
        self.silent_since.set(None);
        self.end("the peer was not heard of any more");
        None
    }

    pub(super) fn inner(&self) -> &RtcPeerConnection {
        &self.inner
    }

    /// The connection is over, whoever said so.
    pub(super) fn end(&self, why: &'static str) {
        if !matches!(self.state.get(), State::Ended(_)) {
            self.state.set(State::Ended(why));
        }
        for channel in self.channels() {
            channel.closed();
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        let wakers = &self.wakers;
        wake(&wakers.handshake);
        wake(&wakers.inbound);
        wake(&wakers.outbound);
        wake(&wakers.connection);
    }

    /// The DTLS transport under the channels, once there is one: it closes as soon as the peer
    /// closes the connection, while the connection itself is noticed as failed much later.
    pub(super) fn dtls(&self) -> Option<EventTarget> {
        let sctp = Reflect::get(&self.inner, &"sctp".into()).ok()?;
        let dtls = Reflect::get(&sctp, &"transport".into()).ok()?;
        dtls.dyn_into().ok()
    }

    pub(super) fn dtls_is_closed(&self) -> bool {
        let state = self.dtls().map(|dtls| Reflect::get(&dtls, &"state".into()));
        state
            .and_then(Result::ok)
            .is_some_and(|state| state == "closed")
    }
}

fn set(place: &Cell<Option<Waker>>, context: &Context<'_>) {
    place.set(Some(context.waker().clone()));
}

fn wake(place: &Cell<Option<Waker>>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}
