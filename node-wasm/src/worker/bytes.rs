//! The bytes of a file that is at hand, piece by piece; never the whole in the heap.

use super::error::{LoadError, text_of};
use wasm_bindgen::JsCast as _;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Blob, ReadableStream, ReadableStreamDefaultReader};

/// bytes; what is copied into the heap at once. Hashing and parsing a piece takes a few ms.
const PIECE_BYTES: u32 = 1 << 20;

/// A stream of the browser, cut into pieces.
pub(super) struct Pieces {
    reader: ReadableStreamDefaultReader,
    /// the rest of the last chunk that the browser gave
    chunk: Option<js_sys::Uint8Array>,
}

impl Pieces {
    /// # Errors
    /// What the browser throws; none is known to.
    pub(super) fn new(stream: &ReadableStream) -> Result<Self, LoadError> {
        let reader = ReadableStreamDefaultReader::new(stream)?;
        let chunk = None;
        Ok(Self { reader, chunk })
    }

    /// Replaces `piece` with the next bytes; false at the end.
    ///
    /// # Errors
    /// What the browser says, in words.
    pub(super) async fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool, String> {
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

    async fn read(&self) -> Result<Option<js_sys::Uint8Array>, String> {
        let read = JsFuture::from(self.reader.read()).await;
        let of = |name: &str| {
            let result = read.as_ref().map_err(text_of)?;
            js_sys::Reflect::get(result, &name.into()).map_err(|thrown| text_of(&thrown))
        };
        if of("done")?.is_truthy() {
            return Ok(None);
        }
        let chunk = of("value")?.dyn_into();
        chunk
            .map(Some)
            .map_err(|_| "a chunk is no bytes".to_owned())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        let cancelled = JsFuture::from(self.reader.cancel());
        spawn_local(async move {
            // It fails where the connection was aborted, and nobody else would hear of that.
            cancelled.await.ok();
        });
    }
}

/// A file at hand.
pub(super) struct BlobBytes {
    name: String,
    pieces: Pieces,
}

impl BlobBytes {
    /// # Errors
    /// What the browser throws; none is known to.
    pub(super) fn new(name: &str, blob: &Blob) -> Result<Self, LoadError> {
        Ok(Self {
            name: name.to_owned(),
            pieces: Pieces::new(&blob.stream())?,
        })
    }

    /// As [`Pieces::next`].
    ///
    /// # Errors
    /// [`LoadError::Unreachable`] where the file went away or changed.
    pub(super) async fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool, LoadError> {
        let next = self.pieces.next(piece).await;
        next.map_err(|reason| LoadError::Unreachable {
            url: self.name.clone(),
            reason,
        })
    }
}
