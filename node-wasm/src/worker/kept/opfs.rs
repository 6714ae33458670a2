//! Files in a folder of the origin's private file system, written through handles that only
//! workers have.

use super::pieces::PIECE_BYTES;
use super::{KeepError, storage};
use crate::worker::clock::{Hop, now_ms};
use crate::worker::error::{LoadError, text_of};
use js_sys::{AsyncIterator, Function, Reflect};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemReadWriteOptions, FileSystemSyncAccessHandle,
};

/// Folder of the origin's private file system.
const FOLDER: &str = "thrum-kept";

/// Folder of an earlier version, whose files have no records.
const EARLIER_FOLDER: &str = "thrum-models";

/// bytes; a longer record is none of ours.
const MAX_RECORD_BYTES: f64 = 1e6;

/// ms; what is read and used between two turns of the event loop.
const SLICE_MS: f64 = 8.0;

#[wasm_bindgen]
extern "C" {
    /// `FileSystemFileHandle`, with an argument that is not in web-sys yet.
    type Readable;

    #[wasm_bindgen(method, catch, js_name = createSyncAccessHandle)]
    fn open(this: &Readable, options: &JsValue) -> Result<js_sys::Promise, JsValue>;
}

/// A folder.
#[derive(Clone)]
pub(super) struct Folder {
    handle: FileSystemDirectoryHandle,
}

impl Folder {
    pub(super) async fn open() -> Result<Self, KeepError> {
        let root = JsFuture::from(storage()?.get_directory()).await?;
        let root: FileSystemDirectoryHandle = root.dyn_into()?;
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        let handle = root.get_directory_handle_with_options(FOLDER, &options);
        let handle = JsFuture::from(handle).await?.dyn_into()?;
        let recursive = web_sys::FileSystemRemoveOptions::new();
        recursive.set_recursive(true);
        // Where it is not there, all is well.
        JsFuture::from(root.remove_entry_with_options(EARLIER_FOLDER, &recursive))
            .await
            .ok();
        Ok(Self { handle })
    }

    /// The contents of all records.
    pub(super) async fn texts(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for name in self.names().await.unwrap_or_default() {
            if name.ends_with(".json") {
                texts.extend(self.text(&name).await);
            }
        }
        texts
    }

    /// The contents of a short file.
    pub(super) async fn text(&self, name: &str) -> Option<String> {
        let file = self.file(name).await?;
        if file.size() > MAX_RECORD_BYTES {
            return None;
        }
        JsFuture::from(file.text()).await.ok()?.as_string()
    }

    /// `FileSystemDirectoryHandle.keys()`, not yet in web-sys.
    async fn names(&self) -> Result<Vec<String>, JsValue> {
        let keys: Function = Reflect::get(&self.handle, &"keys".into())?.dyn_into()?;
        let keys: AsyncIterator = keys.call0(&self.handle)?.unchecked_into();
        let mut names = Vec::new();
        loop {
            let next = JsFuture::from(keys.next()?).await?;
            if Reflect::get(&next, &"done".into())?.is_truthy() {
                return Ok(names);
            }
            names.extend(Reflect::get(&next, &"value".into())?.as_string());
        }
    }

    pub(super) async fn put_text(&self, name: &str, text: &str) -> Result<(), KeepError> {
        let mut writer = self.write(name, 0).await?;
        writer.append(text.as_bytes())?;
        writer.close()
    }

    pub(super) async fn file(&self, name: &str) -> Option<File> {
        let handle = JsFuture::from(self.handle.get_file_handle(name)).await;
        let handle: FileSystemFileHandle = handle.ok()?.dyn_into().ok()?;
        let file = JsFuture::from(handle.get_file()).await;
        file.ok()?.dyn_into().ok()
    }

    pub(super) async fn length(&self, name: &str) -> u64 {
        self.file(name).await.map_or(0, |file| file.size() as u64)
    }

    /// Whether it is gone: what is open in another tab stays.
    pub(super) async fn remove(&self, name: &str) -> bool {
        match JsFuture::from(self.handle.remove_entry(name)).await {
            Ok(_) => true,
            Err(thrown) => {
                let error = Reflect::get(&thrown, &"name".into()).ok();
                error.and_then(|name| name.as_string()).as_deref() == Some("NotFoundError")
            }
        }
    }

    /// Opens a file for reading straight into the heap: as a Blob it would come through another
    /// process. `owner` is for people.
    pub(super) async fn read(&self, name: &str, owner: &str) -> Result<FileReader, JsValue> {
        let handle = JsFuture::from(self.handle.get_file_handle(name)).await?;
        let options = js_sys::Object::new();
        // Where it is not known, one reader at a time has the file.
        Reflect::set(&options, &"mode".into(), &"read-only".into())?;
        let access = handle.unchecked_into::<Readable>().open(&options)?;
        let access = JsFuture::from(access).await?.dyn_into()?;
        Ok(FileReader {
            access,
            owner: owner.to_owned(),
            position: 0,
            hop: Hop::new()?,
            turned_ms: now_ms(),
        })
    }

    pub(super) async fn write(&self, name: &str, kept: u64) -> Result<FileWriter, KeepError> {
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let handle = self.handle.get_file_handle_with_options(name, &options);
        let handle: FileSystemFileHandle = JsFuture::from(handle).await?.dyn_into()?;
        let access = JsFuture::from(handle.create_sync_access_handle()).await?;
        let access = FileWriter {
            access: access.dyn_into()?,
            position: kept,
        };
        access.access.truncate_with_f64(kept as f64)?;
        Ok(access)
    }
}

/// A file being read.
pub(crate) struct FileReader {
    access: FileSystemSyncAccessHandle,
    owner: String,
    position: u64,
    hop: Hop,
    /// when the event loop turned last
    turned_ms: f64,
}

impl FileReader {
    /// Replaces `piece` with the next [`PIECE_BYTES`], or what there is; false at the end.
    pub(super) async fn next(&mut self, piece: &mut Vec<u8>) -> Result<bool, LoadError> {
        if now_ms() - self.turned_ms >= SLICE_MS {
            self.hop.hop().await?;
            self.turned_ms = now_ms();
        }
        piece.resize(PIECE_BYTES, 0);
        let options = FileSystemReadWriteOptions::new();
        options.set_at(self.position as f64);
        let read = self
            .access
            .read_with_u8_array_and_options(piece, &options)
            .map_err(|thrown| LoadError::Unreachable {
                url: self.owner.clone(),
                reason: text_of(&thrown),
            })?;
        piece.truncate(read as usize);
        self.position += piece.len() as u64;
        Ok(!piece.is_empty())
    }
}

impl Drop for FileReader {
    fn drop(&mut self) {
        self.access.close();
    }
}

/// A file being written.
pub(crate) struct FileWriter {
    access: FileSystemSyncAccessHandle,
    position: u64,
}

impl FileWriter {
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), KeepError> {
        let options = FileSystemReadWriteOptions::new();
        options.set_at(self.position as f64);
        let written = self
            .access
            .write_with_u8_array_and_options(bytes, &options)?;
        self.position += bytes.len() as u64;
        if written == bytes.len() as f64 {
            return Ok(());
        }
        Err(KeepError {
            reason: format!("{written} of {} bytes were written", bytes.len()),
        })
    }

    pub(super) fn close(self) -> Result<(), KeepError> {
        Ok(self.access.flush()?)
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        self.access.close();
    }
}
