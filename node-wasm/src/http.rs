//! Small JSON documents over HTTP, with a limit on time and bytes.

use crate::fault::text_of;
use serde::de::DeserializeOwned;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortSignal, ReadableStreamDefaultReader, RequestInit, Response};

/// ms; a relay that answers more slowly than this is of no use to a person who waits.
const TIMEOUT_MILLIS: u32 = 10_000;

/// bytes; a catalogue of a thousand models.
const MAX_BYTES: usize = 1 << 20;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The browser got no answer.
    #[error("{url} does not answer: {reason}")]
    NoAnswer { url: String, reason: String },
    /// The answer is an error.
    #[error("{url} answers with status {status}")]
    Status { url: String, status: u16 },
    /// The answer is longer than any honest one.
    #[error("{url} answers with more than {MAX_BYTES} bytes")]
    TooLong { url: String },
    /// The answer is not the JSON expected.
    #[error("{url} answers with something else: {error}")]
    Malformed {
        url: String,
        error: serde_json::Error,
    },
}

/// The JSON document at `url`.
///
/// # Errors
/// [`HttpError`] where there is none within [`TIMEOUT_MILLIS`] and [`MAX_BYTES`].
pub(crate) async fn get_json<T: DeserializeOwned>(url: &str) -> Result<T, HttpError> {
    let bytes = get(url).await?;
    serde_json::from_slice(&bytes).map_err(|error| HttpError::Malformed {
        url: url.to_owned(),
        error,
    })
}

async fn get(url: &str) -> Result<Vec<u8>, HttpError> {
    let no_answer = |thrown: JsValue| HttpError::NoAnswer {
        url: url.to_owned(),
        reason: text_of(&thrown),
    };
    let window = web_sys::window().expect("a node runs on a page's thread");
    let init = RequestInit::new();
    init.set_signal(Some(&AbortSignal::timeout_with_u32(TIMEOUT_MILLIS)));
    let response = JsFuture::from(window.fetch_with_str_and_init(url, &init))
        .await
        .map_err(no_answer)?;
    let response: Response = response.dyn_into().map_err(no_answer)?;
    if !response.ok() {
        return Err(HttpError::Status {
            url: url.to_owned(),
            status: response.status(),
        });
    }
    let Some(body) = response.body() else {
        return Ok(Vec::new());
    };
    let reader: ReadableStreamDefaultReader = body
        .get_reader()
        .dyn_into()
        .map_err(|_| no_answer("the browser gives no reader for the answer".into()))?;
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(&reader).await.map_err(no_answer)? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            // The rest is of no interest.
            JsFuture::from(reader.cancel()).await.ok();
            return Err(HttpError::TooLong {
                url: url.to_owned(),
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn next_chunk(reader: &ReadableStreamDefaultReader) -> Result<Option<Vec<u8>>, JsValue> {
    let read = JsFuture::from(reader.read()).await?;
    let done = js_sys::Reflect::get(&read, &"done".into())?;
    if done.is_truthy() {
        return Ok(None);
    }
    let value = js_sys::Reflect::get(&read, &"value".into())?;
    Ok(Some(js_sys::Uint8Array::new(&value).to_vec()))
}
