//! The worker's script: how its address becomes a running module worker.

use super::SpawnError;
use crate::fault::text_of;
use wasm_bindgen::JsValue;
use web_sys::{Blob, BlobPropertyBag, Url, Worker, WorkerOptions, WorkerType};

/// Starts the script at `url` as a module worker.
///
/// # Errors
/// [`SpawnError`] where the browser throws.
pub(super) fn start(url: &str) -> Result<Worker, SpawnError> {
    try_start(&absolute(url)).map_err(|thrown| SpawnError::Refused {
        url: url.to_owned(),
        reason: text_of(&thrown),
    })
}

/// `url` seen from the page; a worker would read it from its own script's place.
pub(super) fn absolute(url: &str) -> String {
    // What is no URL stays as it is, and the error speaks of it when it is used.
    Url::new_with_base(url, &base()).map_or_else(|_| url.to_owned(), |url| url.href())
}

fn try_start(url: &str) -> Result<Worker, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    options.set_name("thrum engine");
    if Url::new(url)?.origin() == Url::new(&base())?.origin() {
        return Worker::new_with_options(url, &options);
    }
    // A page may only start workers of its own origin, but those may import from anywhere.
    let shim = js_sys::Array::of1(&format!("import {url:?};").into());
    let properties = BlobPropertyBag::new();
    properties.set_type("text/javascript");
    let shim = Blob::new_with_str_sequence_and_options(&shim, &properties)?;
    let shim_url = Url::create_object_url_with_blob(&shim)?;
    let worker = Worker::new_with_options(&shim_url, &options);
    Url::revoke_object_url(&shim_url)?;
    worker
}

/// The address that relative ones are seen from, in a page as in a worker.
fn base() -> String {
    let location = js_sys::Reflect::get(&js_sys::global(), &"location".into()).ok();
    let href = location.and_then(|it| js_sys::Reflect::get(&it, &"href".into()).ok());
    href.and_then(|href| href.as_string()).unwrap_or_default()
}
