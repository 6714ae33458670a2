//! What the browser calls for a channel.

use std::rc::Weak;

use wasm_bindgen::prelude::*;
use web_sys::{Event, MessageEvent, RtcDataChannel, RtcDataChannelType};

use super::Channel;
use crate::limits::LOW_BUFFERED;

/// Held for as long as the browser may call them.
pub(super) struct Callbacks {
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_event: Closure<dyn FnMut(Event)>,
}

impl Callbacks {
    pub(super) fn new(channel: &Weak<Channel>, inner: &RtcDataChannel) -> Self {
        inner.set_binary_type(RtcDataChannelType::Arraybuffer);
        inner.set_buffered_amount_low_threshold(LOW_BUFFERED as u32);
        let weak = Weak::clone(channel);
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event| {
            if let Some(channel) = weak.upgrade() {
                channel.on_message(&event);
            }
        });
        let weak = Weak::clone(channel);
        let on_event = Closure::<dyn FnMut(Event)>::new(move |event| {
            if let Some(channel) = weak.upgrade() {
                channel.on_event(&event);
            }
        });
        inner.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let other = Some(on_event.as_ref().unchecked_ref());
        inner.set_onopen(other);
        inner.set_onclose(other);
        inner.set_onerror(other);
        inner.set_onbufferedamountlow(other);
        Self {
            _on_message: on_message,
            _on_event: on_event,
        }
    }
}

/// Has the browser call nobody for a channel.
pub(super) fn silence(inner: &RtcDataChannel) {
    inner.set_onmessage(None);
    inner.set_onopen(None);
    inner.set_onclose(None);
    inner.set_onerror(None);
    inner.set_onbufferedamountlow(None);
}
