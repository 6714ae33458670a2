//! What web-sys does not bind, or binds without catching what a browser throws.

use js_sys::{JSON, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::{RtcDataChannel, RtcDataChannelInit, RtcPeerConnection};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(extends = RtcPeerConnection)]
    type Channels;

    /// Throws when the connection is closed or all numbers of channels are in use.
    #[wasm_bindgen(method, catch, js_name = createDataChannel)]
    fn create(
        this: &Channels,
        label: &str,
        options: &RtcDataChannelInit,
    ) -> Result<RtcDataChannel, JsValue>;
}

/// Makes a channel.
///
/// # Errors
/// What the browser throws.
pub(super) fn create_channel(
    connection: &RtcPeerConnection,
    label: &str,
    options: &RtcDataChannelInit,
) -> Result<RtcDataChannel, JsValue> {
    let channels: &Channels = connection.unchecked_ref();
    channels.create(label, options)
}

/// What a browser threw, in words.
pub(super) fn words(error: &JsValue) -> String {
    let field = |name| {
        Reflect::get(error, &JsValue::from_str(name))
            .ok()?
            .as_string()
    };
    match (field("name"), field("message")) {
        (Some(name), Some(message)) => format!("{name}: {message}"),
        (None, Some(words)) | (Some(words), None) => words,
        (None, None) => JSON::stringify(error)
            .ok()
            .and_then(|text| text.as_string())
            .unwrap_or_else(|| "the browser does not say why".to_owned()),
    }
}
