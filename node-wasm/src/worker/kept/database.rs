//! Files in IndexedDB, for browsers without a private file system: records as text, bytes as
//! chunks of 1 MiB under `<name>/<number>`.
//!
//! Every transaction is one request, as in the page's own store.

use super::KeepError;
use crate::worker::error::LoadError;
use js_sys::Uint8Array;
use rexie::{KeyRange, ObjectStore, Rexie, TransactionMode};
use std::rc::Rc;
use wasm_bindgen::{JsCast as _, JsValue};

/// Name of the database.
const DATABASE: &str = "thrum-kept";

const TEXTS: &str = "texts";
const CHUNKS: &str = "chunks";

/// bytes; of every chunk but a file's last. What a browser copies in a few ms.
const CHUNK_BYTES: usize = 1 << 20;

/// Digits of a chunk's number, so that keys sort as numbers do.
const DIGITS: usize = 8;

/// A database.
#[derive(Clone)]
pub(super) struct Database {
    database: Rc<Rexie>,
}

impl From<rexie::Error> for KeepError {
    fn from(error: rexie::Error) -> Self {
        // rexie's own text is only "idb error": what the browser said is below it.
        let below = std::error::Error::source(&error);
        let reason = below.map_or_else(|| error.to_string(), |below| format!("{below:?}"));
        Self { reason }
    }
}

impl Database {
    pub(super) async fn open() -> Result<Self, KeepError> {
        let database = Rexie::builder(DATABASE)
            .version(1)
            .add_object_store(ObjectStore::new(TEXTS))
            .add_object_store(ObjectStore::new(CHUNKS))
            .build()
            .await?;
        Ok(Self {
            database: Rc::new(database),
        })
    }

    pub(super) async fn texts(&self) -> Vec<String> {
        let texts = async {
            let read = self
                .database
                .transaction(&[TEXTS], TransactionMode::ReadOnly)?;
            read.store(TEXTS)?.get_all(None, None).await
        };
        let texts = texts.await.unwrap_or_default();
        texts.iter().filter_map(JsValue::as_string).collect()
    }

    pub(super) async fn text(&self, name: &str) -> Option<String> {
        let text = async {
            let read = self
                .database
                .transaction(&[TEXTS], TransactionMode::ReadOnly)?;
            read.store(TEXTS)?.get(name.into()).await
        };
        text.await.ok()??.as_string()
    }

    pub(super) async fn put_text(&self, name: &str, text: &str) -> Result<(), KeepError> {
        self.put(TEXTS, name, &text.into()).await
    }

    async fn put(&self, store: &str, key: &str, value: &JsValue) -> Result<(), KeepError> {
        let write = self
            .database
            .transaction(&[store], TransactionMode::ReadWrite)?;
        write.store(store)?.put(value, Some(&key.into())).await?;
        match write.done().await? {
            result if result.is_committed() => Ok(()),
            // The only reason to abort a transaction whose request succeeded.
            _ => Err(KeepError {
                reason: "it is full".to_owned(),
            }),
        }
    }

    async fn delete(&self, store: &str, key: JsValue) -> Result<(), KeepError> {
        let write = self
            .database
            .transaction(&[store], TransactionMode::ReadWrite)?;
        write.store(store)?.delete(key).await?;
        write.done().await?;
        Ok(())
    }

    pub(super) async fn remove(&self, name: &str) {
        // What cannot be removed is written over by the next attempt.
        self.delete(TEXTS, name.into()).await.ok();
        for number in (0..self.count(name).await).rev() {
            self.delete(CHUNKS, key(name, number).into()).await.ok();
        }
    }

    /// Chunks of a file.
    async fn count(&self, name: &str) -> u32 {
        let count = async {
            let (first, last) = (key(name, 0), format!("{name}/~"));
            let range = KeyRange::bound(&first.into(), &last.into(), None, None);
            let range = range.map_err(rexie::Error::from)?;
            let read = self
                .database
                .transaction(&[CHUNKS], TransactionMode::ReadOnly)?;
            read.store(CHUNKS)?.count(Some(range)).await
        };
        count.await.unwrap_or(0)
    }

    async fn chunk(&self, name: &str, number: u32) -> Result<Option<Uint8Array>, KeepError> {
        let read = self
            .database
            .transaction(&[CHUNKS], TransactionMode::ReadOnly)?;
        let value = read.store(CHUNKS)?.get(key(name, number).into()).await?;
        Ok(value.and_then(|value| value.dyn_into().ok()))
    }

    pub(super) async fn length(&self, name: &str) -> u64 {
        let Some(last) = self.count(name).await.checked_sub(1) else {
            return 0;
        };
        let tail = self.chunk(name, last).await.ok().flatten();
        let tail_bytes = tail.map_or(0, |tail| u64::from(tail.length()));
        u64::from(last) * CHUNK_BYTES as u64 + tail_bytes
    }

    pub(super) fn read(&self, name: &str) -> Chunks {
        Chunks {
            database: self.clone(),
            name: name.to_owned(),
            number: 0,
        }
    }

    pub(super) async fn write(&self, name: &str, kept: u64) -> Result<ChunkWriter, KeepError> {
        let number = u32::try_from(kept / CHUNK_BYTES as u64).unwrap_or(u32::MAX);
        let rest = (kept % CHUNK_BYTES as u64) as usize;
        let mut held = Vec::with_capacity(CHUNK_BYTES);
        if rest > 0
            && let Some(chunk) = self.chunk(name, number).await?
        {
            held = chunk.to_vec();
            held.truncate(rest);
        }
        for beyond in (number..self.count(name).await).rev() {
            self.delete(CHUNKS, key(name, beyond).into()).await?;
        }
        Ok(ChunkWriter {
            database: self.clone(),
            name: name.to_owned(),
            number,
            held,
        })
    }
}

fn key(name: &str, number: u32) -> String {
    format!("{name}/{number:0DIGITS$}")
}

/// A file being read.
pub(crate) struct Chunks {
    database: Database,
    name: String,
    number: u32,
}

impl Chunks {
    pub(super) async fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool, LoadError> {
        let chunk = self.database.chunk(&self.name, self.number).await;
        let chunk = chunk.map_err(|error| LoadError::Unreachable {
            url: self.name.clone(),
            reason: error.to_string(),
        })?;
        let Some(chunk) = chunk else {
            return Ok(false);
        };
        piece.resize(chunk.length() as usize, 0);
        chunk.copy_to(piece);
        self.number += 1;
        Ok(true)
    }
}

/// A file being written.
pub(crate) struct ChunkWriter {
    database: Database,
    name: String,
    /// of the chunk that `held` will be
    number: u32,
    held: Vec<u8>,
}

impl ChunkWriter {
    pub(super) async fn append(&mut self, mut bytes: &[u8]) -> Result<(), KeepError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = later;
            if self.held.len() == CHUNK_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn close(mut self) -> Result<(), KeepError> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), KeepError> {
        let chunk = Uint8Array::from(self.held.as_slice());
        let key = key(&self.name, self.number);
        self.database.put(CHUNKS, &key, &chunk.into()).await?;
        self.number += 1;
        self.held.clear();
        Ok(())
    }
}
