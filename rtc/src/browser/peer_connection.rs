//! The browser's `RTCPeerConnection`, owned: it is closed when nobody holds it.

use std::rc::{Rc, Weak};

use js_sys::{Array, JSON, Promise, Reflect};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Event, RtcConfiguration, RtcDataChannelEvent, RtcDataChannelInit, RtcIceCandidateInit,
    RtcIceServer, RtcIceTransportPolicy, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcSdpType,
    RtcSessionDescriptionInit,
};

use super::Config;
use super::bindings::{create_channel, words};
use super::channel::{Channel, Purpose};
use super::shared::Shared;
use crate::signal::INIT_LABEL;

/// A connection, what is known of it, and the callbacks of the browser.
pub(super) struct PeerConnection {
    shared: Rc<Shared>,
    callbacks: Callbacks,
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
        let shared = Rc::new(Shared::new(inner));
        let callbacks = Callbacks::new(&shared);
        Ok(Self { shared, callbacks })
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    /// Makes the channel without which there would be nothing to offer.
    pub(super) fn create_init_channel(&self) -> Result<(), String> {
        let options = RtcDataChannelInit::new();
        let channel = create_channel(self.shared.inner(), INIT_LABEL, &options);
        let channel = channel.map_err(|error| words(&error))?;
        self.shared.keep_init(channel);
        Ok(())
    }

    /// Ends that channel.
    pub(super) fn close_init_channel(&self) {
        self.shared.close_init();
    }

    /// Makes the channel on which a server and this side prove who they are: both know its number.
    pub(super) fn create_proof_channel(&self) -> Result<Rc<Channel>, String> {
        let options = RtcDataChannelInit::new();
        options.set_negotiated(true);
        options.set_id(0);
        let channel = create_channel(self.shared.inner(), "", &options);
        let channel = channel.map_err(|error| words(&error))?;
        Ok(self.shared.adopt(channel, Purpose::Proof))
    }

    pub(super) async fn create_offer(&self) -> Result<String, String> {
        sdp(self.shared.inner().create_offer()).await
    }

    pub(super) async fn create_answer(&self) -> Result<String, String> {
        sdp(self.shared.inner().create_answer()).await
    }

    pub(super) async fn set_local(&self, kind: RtcSdpType, sdp: &str) -> Result<(), String> {
        let description = description(kind, sdp);
        settled(self.shared.inner().set_local_description(&description)).await
    }

    pub(super) async fn set_remote(&self, kind: RtcSdpType, sdp: &str) -> Result<(), String> {
        let description = description(kind, sdp);
        settled(self.shared.inner().set_remote_description(&description)).await
    }

    /// Takes a candidate of the peer, as JSON.
    pub(super) async fn add_candidate(&self, json: &str) -> Result<(), String> {
        let candidate = JSON::parse(json).map_err(|error| words(&error))?;
        if !candidate.is_object() {
            return Err("a candidate is an object".to_owned());
        }
        let candidate: RtcIceCandidateInit = candidate.unchecked_into();
        let inner = self.shared.inner();
        settled(inner.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&candidate))).await
    }

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
        let inner = self.shared.inner();
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
        self.shared.forget_channels();
    }
}

impl Callbacks {
    fn new(shared: &Rc<Shared>) -> Self {
        let inner = shared.inner();
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
