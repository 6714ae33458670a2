//! Files in a folder of the origin's private file system, written through handles that only
//! workers have.

use super::{KeepError, storage};
use js_sys::{AsyncIterator, Function, Reflect};
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

    pub(super) async fn remove(&self, name: &str) {
        // What is not there is as it should be; what is open in another tab stays.
        JsFuture::from(self.handle.remove_entry(name)).await.ok();
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
