//! The pieces of a kept file, on their way through the browser's SHA-256.

use super::pieces::Pieces;
use crate::worker::error::LoadError;
use std::collections::VecDeque;
use thrum_protocol::id::ModelId;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

/// count; pieces that are hashed while the next is read. Browsers that hash on a thread of their
/// own keep a copy of each.
const MAX_UNDER_WAY: usize = 4;

#[wasm_bindgen]
extern "C" {
    /// `SubtleCrypto`
    #[derive(Clone)]
    pub(crate) type Subtle;

    /// Copies `data` before it returns.
    #[wasm_bindgen(method, catch)]
    fn digest(this: &Subtle, algorithm: &str, data: &[u8]) -> Result<js_sys::Promise, JsValue>;
}

impl Subtle {
    /// The browser's; it has none where the page came over plain HTTP.
    pub(crate) fn of_this_browser() -> Option<Self> {
        let crypto = js_sys::Reflect::get(&js_sys::global(), &"crypto".into()).ok()?;
        let subtle = js_sys::Reflect::get(&crypto, &"subtle".into()).ok()?;
        subtle.is_object().then(|| subtle.unchecked_into())
    }
}

/// Compares a file with the list of its pieces.
pub(crate) struct Checker {
    subtle: Subtle,
    pieces: Pieces,
    /// pieces that came
    begun: usize,
    /// by number
    under_way: VecDeque<(usize, JsFuture)>,
}

impl Checker {
    pub(crate) fn new(subtle: Subtle, pieces: Pieces) -> Self {
        Self {
            subtle,
            pieces,
            begun: 0,
            under_way: VecDeque::new(),
        }
    }

    /// Takes the next piece, and waits for one of those before where many are under way.
    ///
    /// # Errors
    /// [`LoadError::Damaged`] where one is not as it was.
    pub(crate) async fn begin(&mut self, piece: &[u8]) -> Result<(), LoadError> {
        if self.under_way.len() == MAX_UNDER_WAY {
            self.settle().await?;
        }
        let digest = self.subtle.digest("SHA-256", piece)?;
        self.under_way.push_back((self.begun, digest.into()));
        self.begun += 1;
        Ok(())
    }

    /// Waits for all; gives the digest of the whole file.
    ///
    /// # Errors
    /// As [`Checker::begin`], and where pieces are missing.
    pub(crate) async fn end(mut self) -> Result<ModelId, LoadError> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        match self.begun == self.pieces.len() {
            true => Ok(self.pieces.file().sha256),
            false => Err(LoadError::Damaged { piece: self.begun }),
        }
    }

    async fn settle(&mut self) -> Result<(), LoadError> {
        let Some((piece, digest)) = self.under_way.pop_front() else {
            return Ok(());
        };
        let digest = js_sys::Uint8Array::new(&digest.await?).to_vec();
        let digest = digest.try_into().map(ModelId);
        match digest.is_ok_and(|digest| self.pieces.has(piece, digest)) {
            true => Ok(()),
            false => Err(LoadError::Damaged { piece }),
        }
    }
}
