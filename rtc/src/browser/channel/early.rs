//! What comes on a channel before it is clear that it works.

use js_sys::ArrayBuffer;
use wasm_bindgen::prelude::*;

use crate::limits::{MAX_EARLY, MAX_UNREAD};

/// The beginning of a channel that the peer has opened.
#[derive(Default)]
pub(super) struct Early {
    pub(super) messages: Vec<JsValue>,
    /// bytes; in them
    bytes: usize,
    /// an event that says that it is open can still come
    pub(super) waits_for_open: bool,
}

impl Early {
    /// Keeps a message; one that is too much is replaced by one that is none, which resets.
    pub(super) fn keep(&mut self, message: JsValue) {
        let bytes = message.dyn_ref::<ArrayBuffer>();
        self.bytes += bytes.map_or(0, |bytes| bytes.byte_length() as usize);
        let kept = self.bytes <= MAX_UNREAD && self.messages.len() < MAX_EARLY;
        match (kept, self.messages.last_mut()) {
            (false, Some(last)) => *last = JsValue::NULL,
            (true, _) | (false, None) => self.messages.push(message),
        }
    }
}
