//! Models kept in the browser: records, and the bytes of their files, whole or in the making.
//!
//! A record is written before the first byte, so that everything here has one and can be listed
//! and removed. A download that was interrupted leaves its bytes and the record that says whose
//! they are; what cannot be used leaves nothing. Bytes are hashed again each time they are read, as
//! a whole or in [`pieces`].
//!
//! They lie in the origin's private file system; where that is missing, in IndexedDB.

mod checker;
mod database;
mod opfs;
mod pieces;
mod record;

pub(crate) use checker::{Checker, Subtle};
pub(crate) use pieces::{Check, FileHash, Means, Pieces, WholeFile};
pub(crate) use record::{PartRecord, Record, model_id};

use super::bytes::BlobBytes;
use super::clock::scope;
use super::error::{LoadError, text_of};
use database::{ChunkWriter, Chunks, Database};
use opfs::{FileReader, FileWriter, Folder};
use thrum_protocol::id::ModelId;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Why nothing can be kept: full, forbidden (private windows), or busy in another tab.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the browser's storage: {reason}")]
pub(crate) struct KeepError {
    reason: String,
}

impl KeepError {
    pub(crate) fn no_room(needed_bytes: u64, free_bytes: u64) -> Self {
        let reason = format!("{needed_bytes} bytes are needed and {free_bytes} are free");
        Self { reason }
    }
}

impl From<JsValue> for KeepError {
    fn from(thrown: JsValue) -> Self {
        Self {
            reason: text_of(&thrown),
        }
    }
}

/// What this origin may keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// bytes in use, by everything this origin keeps
    pub(crate) used_bytes: Option<u64>,
    /// bytes in all
    pub(crate) quota_bytes: Option<u64>,
}

impl Room {
    /// As the browser estimates it; nothing where it says nothing.
    pub(crate) async fn estimate() -> Self {
        let Ok(storage) = storage() else {
            return Self::default();
        };
        let Ok(promise) = storage.estimate() else {
            return Self::default();
        };
        let Ok(estimate) = JsFuture::from(promise).await else {
            return Self::default();
        };
        let of = |name: &str| {
            let value = js_sys::Reflect::get(&estimate, &name.into()).ok()?;
            Some(value.as_f64()? as u64)
        };
        Self {
            used_bytes: of("usage"),
            quota_bytes: of("quota"),
        }
    }

    /// Bytes that are free.
    pub(crate) fn free_bytes(self) -> Option<u64> {
        Some(self.quota_bytes?.saturating_sub(self.used_bytes?))
    }
}

/// Absent outside secure contexts, where calling it would throw past us.
fn storage() -> Result<web_sys::StorageManager, JsValue> {
    js_sys::Reflect::get(&scope().navigator(), &"storage".into())?.dyn_into()
}

/// Where models are kept.
#[derive(Clone)]
pub(crate) struct Kept {
    place: Place,
}

#[derive(Clone)]
enum Place {
    Database(Database),
    Folder(Folder),
}

impl Kept {
    /// Opens the place.
    ///
    /// # Errors
    /// [`KeepError`] where the browser gives none.
    pub(crate) async fn open() -> Result<Self, KeepError> {
        let folder = Folder::open().await;
        let place = match folder {
            Ok(folder) => Place::Folder(folder),
            Err(no_folder) => match Database::open().await {
                Ok(database) => Place::Database(database),
                Err(no_database) => {
                    let reason = format!("{no_folder}; {no_database}");
                    return Err(KeepError { reason });
                }
            },
        };
        Ok(Self { place })
    }

    /// Everything that is kept; what cannot be read is left out.
    pub(crate) async fn records(&self) -> Vec<Record> {
        let texts = match &self.place {
            Place::Database(database) => database.texts().await,
            Place::Folder(folder) => folder.texts().await,
        };
        let records = texts
            .iter()
            .filter_map(|text| serde_json::from_str(text).ok());
        records.collect()
    }

    /// A note beside the models; none where there is none.
    pub(crate) async fn note(&self, name: &str) -> Option<String> {
        match &self.place {
            Place::Database(database) => database.text(name).await,
            Place::Folder(folder) => folder.text(name).await,
        }
    }

    /// Writes a note in place of the one before.
    ///
    /// # Errors
    /// [`KeepError`] where the storage is full.
    pub(crate) async fn put_note(&self, name: &str, text: &str) -> Result<(), KeepError> {
        match &self.place {
            Place::Database(database) => database.put_text(name, text).await,
            Place::Folder(folder) => folder.put_text(name, text).await,
        }
    }

    /// The record of these files.
    pub(crate) async fn find(&self, parts: &[PartRecord]) -> Option<Record> {
        let mut records = self.records().await;
        // One that is whole is better than one on its way.
        records.sort_by_key(|record| record.id.is_none());
        records.into_iter().find(|record| record.is_of(parts))
    }

    /// Writes a record in place of the one before.
    ///
    /// # Errors
    /// [`KeepError`] where the storage is full.
    pub(crate) async fn put(&self, record: &Record) -> Result<(), KeepError> {
        let name = record_name(record);
        let text = serde_json::to_string(record).map_err(|error| KeepError {
            reason: error.to_string(),
        })?;
        match &self.place {
            Place::Database(database) => database.put_text(&name, &text).await,
            Place::Folder(folder) => folder.put_text(&name, &text).await,
        }
    }

    /// Removes a record and its files; what is not there is no error. A record stays with a file
    /// that does, being read in another tab.
    pub(crate) async fn remove(&self, record: &Record) {
        let mut gone = true;
        for part in 0..record.parts.len() {
            gone &= self.remove_file(&file_name(record, part)).await;
            gone &= self.remove_file(&list_name(record, part)).await;
        }
        if gone {
            self.remove_file(&record_name(record)).await;
        }
    }

    /// Whether it is gone.
    async fn remove_file(&self, name: &str) -> bool {
        match &self.place {
            Place::Database(database) => {
                database.remove(name).await;
                true
            }
            Place::Folder(folder) => folder.remove(name).await,
        }
    }

    /// The text that lists a file's pieces.
    pub(crate) async fn list(&self, record: &Record, part: usize) -> Option<String> {
        self.note(&list_name(record, part)).await
    }

    /// Keeps the list of a file's pieces. Without it the file is hashed whole each time.
    pub(crate) async fn put_list(&self, record: &Record, part: usize, pieces: &Pieces) {
        let name = list_name(record, part);
        // A storage that is full costs some time at the next load, and is told of elsewhere.
        self.put_note(&name, &pieces.to_text()).await.ok();
    }

    /// Removes the models that `id` means.
    pub(crate) async fn remove_model(&self, id: ModelId) {
        for record in self.records().await {
            if record.answers_to(id) {
                self.remove(&record).await;
            }
        }
    }

    /// Bytes of a file that are here.
    pub(crate) async fn part_bytes(&self, record: &Record, part: usize) -> u64 {
        let name = file_name(record, part);
        match &self.place {
            Place::Database(database) => database.length(&name).await,
            Place::Folder(folder) => folder.length(&name).await,
        }
    }

    /// The bytes of a file that are here.
    ///
    /// # Errors
    /// [`LoadError::Unreachable`] where there are none.
    pub(crate) async fn read(&self, record: &Record, part: usize) -> Result<KeptBytes, LoadError> {
        let name = file_name(record, part);
        match &self.place {
            Place::Database(database) => Ok(KeptBytes::Chunks(database.read(&name))),
            Place::Folder(folder) => match folder.read(&name, &record.name).await {
                Ok(reader) => Ok(KeptBytes::Pieces(reader)),
                // Another tab has it alone, in a browser that lets only one read.
                Err(_) => self.read_as_blob(folder, &name, record).await,
            },
        }
    }

    async fn read_as_blob(
        &self,
        folder: &Folder,
        name: &str,
        record: &Record,
    ) -> Result<KeptBytes, LoadError> {
        match folder.file(name).await {
            Some(file) => Ok(KeptBytes::File(BlobBytes::new(&record.name, &file)?)),
            None => Err(LoadError::Unreachable {
                url: record.name.clone(),
                reason: "its file is no longer in the browser's storage".to_owned(),
            }),
        }
    }

    /// Opens a file for writing after its first `kept_bytes`; what lies beyond is removed.
    ///
    /// # Errors
    /// [`KeepError`] where another tab is writing it, or the storage is full.
    pub(crate) async fn write(
        &self,
        record: &Record,
        part: usize,
        kept_bytes: u64,
    ) -> Result<PartWriter, KeepError> {
        let name = file_name(record, part);
        Ok(match &self.place {
            Place::Database(database) => {
                PartWriter::Chunks(database.write(&name, kept_bytes).await?)
            }
            Place::Folder(folder) => PartWriter::File(folder.write(&name, kept_bytes).await?),
        })
    }
}

fn record_name(record: &Record) -> String {
    format!("{}.json", record.key)
}

fn list_name(record: &Record, part: usize) -> String {
    format!("{}.{part}.pieces", record.key)
}

fn file_name(record: &Record, part: usize) -> String {
    format!("{}.{part}", record.key)
}

/// Bytes that come from the storage.
pub(crate) enum KeptBytes {
    Chunks(Chunks),
    File(BlobBytes),
    Pieces(FileReader),
}

impl KeptBytes {
    /// Whether they come in pieces as they are listed.
    pub(crate) fn in_pieces(&self) -> bool {
        match self {
            Self::Chunks(_) | Self::File(_) => false,
            Self::Pieces(_) => true,
        }
    }

    /// Replaces `piece` with the next bytes; false at the end.
    ///
    /// # Errors
    /// [`LoadError::Unreachable`] where they cannot be read.
    pub(crate) async fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool, LoadError> {
        match self {
            Self::Chunks(chunks) => chunks.next(piece).await,
            Self::File(file) => file.next(piece).await,
            Self::Pieces(file) => file.next(piece).await,
        }
    }
}

/// A file being written. Dropped, it keeps what was appended.
pub(crate) enum PartWriter {
    Chunks(ChunkWriter),
    File(FileWriter),
}

impl PartWriter {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`KeepError`] where the storage is full.
    pub(crate) async fn append(&mut self, bytes: &[u8]) -> Result<(), KeepError> {
        match self {
            Self::Chunks(chunks) => chunks.append(bytes).await,
            Self::File(file) => file.append(bytes),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`KeepError`] where the storage is full.
    pub(crate) async fn close(self) -> Result<(), KeepError> {
        match self {
            Self::Chunks(chunks) => chunks.close().await,
            Self::File(file) => file.close(),
        }
    }
}
