//! The bytes of a model's file, piece by piece, from a URL or a Blob; never the whole in the heap.

use super::clock::{scope, sleep};
use super::error::{LoadError, text_of};
use futures::FutureExt as _;
use thrum_protocol::time::Millis;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    AbortController, Blob, ReadableStream, ReadableStreamDefaultReader, RequestInit, Response,
};

/// bytes; what is copied into the heap at once. Hashing and parsing a piece takes a few ms.
const PIECE_BYTES: u32 = 1 << 20;

/// ms; a connection over which nothing came for so long is dead.
const STALL: Millis = Millis(60_000);

/// A file that arrives. Dropped before its end, the download stops.
pub(super) struct Bytes {
    /// where it comes from, for errors
    origin: String,
    reader: ReadableStreamDefaultReader,
    abort: Option<AbortController>,
    /// the rest of the last chunk that the browser gave
    chunk: Option<js_sys::Uint8Array>,
    /// bytes in all, where they are known
    total: Option<u64>,
}

impl Bytes {
    /// The file behind `url`.
    ///
    /// # Errors
    /// [`LoadError::Http`], [`LoadError::Unreachable`] or [`LoadError::Stalled`].
    pub(super) async fn fetch(url: &str) -> Result<Self, LoadError> {
        let abort = AbortController::new()?;
        let init = RequestInit::new();
        init.set_signal(Some(&abort.signal()));
        let answer = JsFuture::from(scope().fetch_with_str_and_init(url, &init));
        let response: Response = within_stall(url, answer).await?.unchecked_into();
        if !response.ok() {
            return Err(LoadError::Http {
                status: response.status(),
                url: url.to_owned(),
            });
        }
        let body = response.body().ok_or_else(|| LoadError::Unreachable {
            url: url.to_owned(),
            reason: "the answer has no body".to_owned(),
        })?;
        Self::new(url, &body, Some(abort), content_length(&response)?)
    }

    /// The bytes of `blob`.
    ///
    /// # Errors
    /// What the browser throws; none is known to.
    pub(super) fn of_blob(name: &str, blob: &Blob) -> Result<Self, LoadError> {
        Self::new(name, &blob.stream(), None, Some(blob.size() as u64))
    }

    fn new(
        origin: &str,
        stream: &ReadableStream,
        abort: Option<AbortController>,
        total: Option<u64>,
    ) -> Result<Self, LoadError> {
        let reader = ReadableStreamDefaultReader::new(stream)?;
        Ok(Self {
            origin: origin.to_owned(),
            reader,
            abort,
            chunk: None,
            total,
        })
    }

    /// Bytes in all, where the other side says so.
    pub(super) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Replaces `piece` with the next bytes; false at the end.
    ///
    /// # Errors
    /// [`LoadError::Unreachable`] or [`LoadError::Stalled`].
    pub(super) async fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool, LoadError> {
        let chunk = match self.chunk.take() {
            Some(chunk) => chunk,
            None => match self.read().await? {
                Some(chunk) => chunk,
                None => return Ok(false),
            },
        };
        let taken = chunk.length().min(PIECE_BYTES);
        piece.resize(taken as usize, 0);
        chunk.subarray(0, taken).copy_to(piece);
        if taken < chunk.length() {
            self.chunk = Some(chunk.subarray(taken, chunk.length()));
        }
        Ok(true)
    }

    async fn read(&self) -> Result<Option<js_sys::Uint8Array>, LoadError> {
        let read = JsFuture::from(self.reader.read());
        let result = within_stall(&self.origin, read).await?;
        if js_sys::Reflect::get(&result, &"done".into())?.is_truthy() {
            return Ok(None);
        }
        let value = js_sys::Reflect::get(&result, &"value".into())?;
        Ok(Some(value.dyn_into()?))
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        match &self.abort {
            Some(abort) => abort.abort(),
            // The promise is of no interest: a Blob holds nothing open.
            None => drop(self.reader.cancel()),
        }
    }
}

async fn within_stall(origin: &str, promised: JsFuture) -> Result<JsValue, LoadError> {
    futures::select_biased! {
        result = promised.fuse() => result.map_err(|thrown| LoadError::Unreachable {
            url: origin.to_owned(),
            reason: text_of(&thrown),
        }),
        () = sleep(STALL).fuse() => {
            Err(LoadError::Stalled { url: origin.to_owned(), after: STALL })
        }
    }
}

/// The length of the file, where the header means the file and not a compressed form of it.
fn content_length(response: &Response) -> Result<Option<u64>, LoadError> {
    let headers = response.headers();
    if headers
        .get("content-encoding")?
        .is_some_and(|encoding| encoding != "identity")
    {
        return Ok(None);
    }
    Ok(headers
        .get("content-length")?
        .and_then(|length| length.parse().ok()))
}
