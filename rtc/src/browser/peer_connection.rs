//! The browser's `RTCPeerConnection`, owned: what it says is kept until somebody asks, and it is
//! closed when nobody holds it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use js_sys::{Array, JSON, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Event, EventTarget, RtcConfiguration, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelInit,
    RtcIceCandidateInit, RtcIceServer, RtcIceTransportPolicy, RtcPeerConnection,
    RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use super::Config;
use super::bindings::{create_channel, words};
use super::channel::{Channel, Purpose};
use super::clock::now;
use crate::limits::{MAX_CANDIDATES, MAX_CHANNELS, MAX_WAITING_CHANNELS, SILENCE_TIMEOUT};
use crate::signal::INIT_LABEL;
use crate::stream::Peer;

/// A connection, its channels, and the callbacks of the browser.
pub(super) struct PeerConnection {
    shared: Rc<Shared>,
    callbacks: Callbacks,
}

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

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Connected,
    /// for good, with the browser's word for it
    Ended(&'static str),
}

/// What a connection says while it is made.
#[derive(Debug)]
pub(super) enum Found {
    Candidate(String),
    State(State),
}

/// Held for as long as the browser may call them.
struct Callbacks {
    _on_channel: Closure<dyn FnMut(RtcDataChannelEvent)>,
    _on_candidate: Closure<dyn FnMut(RtcPeerConnectionIceEvent)>,
    on_state: Closure<dyn FnMut(Event)>,
}

impl PeerConnection {
    /// Makes a connection to nobody yet.
    ///
    /// # Errors
    /// What the browser throws: it counts connections, also closed ones that it has not cleaned up.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let inner = RtcPeerConnection::new_with_configuration(&configuration(config));
        let inner = inner.map_err(|error| words(&error))?;
        let shared = Rc::new(Shared {
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
        });
        let callbacks = Callbacks::new(&shared);
        Ok(Self { shared, callbacks })
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Makes the channel without which there would be nothing to offer.
    pub(super) fn create_init_channel(&self) -> Result<(), String> {
        let options = RtcDataChannelInit::new();
        let channel = create_channel(&self.shared.inner, INIT_LABEL, &options);
        let channel = channel.map_err(|error| words(&error))?;
        *self.shared.init.borrow_mut() = Some(channel);
        Ok(())
    }

    /// Ends that channel.
    pub(super) fn close_init_channel(&self) {
        if let Some(channel) = self.shared.init.take() {
            channel.close();
        }
    }

    /// Makes the channel on which a server and this side prove who they are: both know its number.
    pub(super) fn create_proof_channel(&self) -> Result<Rc<Channel>, String> {
        let options = RtcDataChannelInit::new();
        options.set_negotiated(true);
        options.set_id(0);
        let channel = create_channel(&self.shared.inner, "", &options);
        let channel = channel.map_err(|error| words(&error))?;
        Ok(self.shared.adopt(channel, Purpose::Proof))
    }

    pub(super) async fn create_offer(&self) -> Result<String, String> {
        sdp(self.shared.inner.create_offer()).await
    }

    pub(super) async fn create_answer(&self) -> Result<String, String> {
        sdp(self.shared.inner.create_answer()).await
    }

    pub(super) async fn set_local(&self, kind: RtcSdpType, sdp: &str) -> Result<(), String> {
        let description = description(kind, sdp);
        settled(self.shared.inner.set_local_description(&description)).await
    }

    pub(super) async fn set_remote(&self, kind: RtcSdpType, sdp: &str) -> Result<(), String> {
        let description = description(kind, sdp);
        settled(self.shared.inner.set_remote_description(&description)).await
    }

    /// Takes a candidate of the peer, as JSON.
    pub(super) async fn add_candidate(&self, json: &str) -> Result<(), String> {
        let candidate = JSON::parse(json).map_err(|error| words(&error))?;
        if !candidate.is_object() {
            return Err("a candidate is an object".to_owned());
        }
        let candidate: RtcIceCandidateInit = candidate.unchecked_into();
        let inner = &self.shared.inner;
        settled(inner.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&candidate))).await
    }

    /// What has been found, candidates first.
    pub(super) fn poll_found(&self, context: &mut Context<'_>, known: State) -> Poll<Found> {
        if let Some(candidate) = self.shared.candidates.borrow_mut().pop_front() {
            return Poll::Ready(Found::Candidate(candidate));
        }
        let state = self.shared.state.get();
        if state != known {
            return Poll::Ready(Found::State(state));
        }
        set(&self.shared.wakers.handshake, context);
        Poll::Pending
    }
}

impl Shared {
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

    fn adopt(self: &Rc<Self>, inner: RtcDataChannel, purpose: Purpose) -> Rc<Channel> {
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

    fn on_channel(self: &Rc<Self>, channel: RtcDataChannel) {
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

    fn on_candidate(&self, event: &RtcPeerConnectionIceEvent) {
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

    fn on_state(&self) {
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
    fn dtls(&self) -> Option<EventTarget> {
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

impl PeerConnection {
    /// Has the end of the DTLS transport count as the end of the connection.
    pub(super) fn watch_dtls(&self) {
        if let Some(dtls) = self.shared.dtls() {
            let callback = self.callbacks.on_state.as_ref().unchecked_ref();
            dtls.add_event_listener_with_callback("statechange", callback)
                .ok();
        }
    }

    /// Closes the connection and everything on it.
    pub(super) fn close(&self) {
        let inner = &self.shared.inner;
        inner.set_ondatachannel(None);
        inner.set_onicecandidate(None);
        inner.set_onconnectionstatechange(None);
        if let Some(dtls) = self.shared.dtls() {
            let callback = self.callbacks.on_state.as_ref().unchecked_ref();
            dtls.remove_event_listener_with_callback("statechange", callback)
                .ok();
        }
        self.close_init_channel();
        inner.close();
        self.shared.end("the connection was closed on this side");
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        self.close();
        for channel in self.shared.channels() {
            channel.detach();
        }
        self.shared.channels.borrow_mut().clear();
        self.shared.waiting.borrow_mut().clear();
    }
}

impl Callbacks {
    fn new(shared: &Rc<Shared>) -> Self {
        let inner = &shared.inner;
        let weak = Rc::downgrade(shared);
        let on_channel = Closure::<dyn FnMut(RtcDataChannelEvent)>::new({
            let weak = Weak::clone(&weak);
            move |event: RtcDataChannelEvent| {
                if let Some(shared) = weak.upgrade() {
                    shared.on_channel(event.channel());
                }
            }
        });
        let on_candidate = Closure::<dyn FnMut(RtcPeerConnectionIceEvent)>::new({
            let weak = Weak::clone(&weak);
            move |event: RtcPeerConnectionIceEvent| {
                if let Some(shared) = weak.upgrade() {
                    shared.on_candidate(&event);
                }
            }
        });
        let on_state = Closure::<dyn FnMut(Event)>::new(move |_: Event| {
            if let Some(shared) = weak.upgrade() {
                if shared.dtls_is_closed() {
                    shared.end("the peer closed the connection");
                }
                shared.on_state();
            }
        });
        inner.set_ondatachannel(Some(on_channel.as_ref().unchecked_ref()));
        inner.set_onicecandidate(Some(on_candidate.as_ref().unchecked_ref()));
        inner.set_onconnectionstatechange(Some(on_state.as_ref().unchecked_ref()));
        Self {
            _on_channel: on_channel,
            _on_candidate: on_candidate,
            on_state,
        }
    }
}

fn configuration(config: &Config) -> RtcConfiguration {
    let servers: Array = config
        .ice_servers
        .iter()
        .map(|server| {
            let found = RtcIceServer::new();
            let urls: Array = server
                .urls
                .iter()
                .map(|url| JsValue::from_str(url))
                .collect();
            found.set_urls(&urls);
            if let Some(username) = &server.username {
                found.set_username(username);
            }
            if let Some(credential) = &server.credential {
                found.set_credential(credential);
            }
            found
        })
        .collect();
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&servers);
    if config.relay_only {
        configuration.set_ice_transport_policy(RtcIceTransportPolicy::Relay);
    }
    configuration
}

fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

async fn settled(promise: Promise) -> Result<(), String> {
    let settled = JsFuture::from(promise).await;
    settled.map(drop).map_err(|error| words(&error))
}

async fn sdp(promise: Promise) -> Result<String, String> {
    let description = JsFuture::from(promise).await;
    let description = description.map_err(|error| words(&error))?;
    let sdp = Reflect::get(&description, &"sdp".into()).ok();
    sdp.and_then(|sdp| sdp.as_string())
        .ok_or_else(|| "the browser made a description without SDP".to_owned())
}

fn set(place: &Cell<Option<Waker>>, context: &Context<'_>) {
    place.set(Some(context.waker().clone()));
}

fn wake(place: &Cell<Option<Waker>>) {
    if let Some(waker) = place.take() {
        waker.wake();
    }
}
