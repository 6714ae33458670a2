//! Model files kept in the origin's private file system, by the SHA-256 they must have.
//!
//! A file is written as `<sha256>.part` and gets its name when its digest is known to be right, so
//! that what is found under a name was whole once. It is hashed again each time it is read.

use super::clock::scope;
use super::error::text_of;
use thrum_protocol::id::ModelId;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    File, FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions,
    FileSystemGetFileOptions, FileSystemSyncAccessHandle,
};

/// Folder of the origin's private file system.
const FOLDER: &str = "thrum-models";

/// Why the cache cannot be used: full, forbidden (private windows), or busy in another tab.
#[derive(Debug, thiserror::Error)]
#[error("the browser's storage: {reason}")]
pub(super) struct CacheError {
    reason: String,
}

impl From<JsValue> for CacheError {
    fn from(thrown: JsValue) -> Self {
        Self {
            reason: text_of(&thrown),
        }
    }
}

/// The folder of model files.
#[derive(Clone)]
pub(super) struct ModelCache {
    folder: FileSystemDirectoryHandle,
}

impl ModelCache {
    /// Opens the folder.
    ///
    /// # Errors
    /// [`CacheError`] where the browser gives none.
    pub(super) async fn open() -> Result<Self, CacheError> {
        // Absent outside secure contexts, where calling it would throw past us.
        let storage = js_sys::Reflect::get(&scope().navigator(), &"storage".into())?;
        let storage: web_sys::StorageManager = storage.dyn_into()?;
        let root = JsFuture::from(storage.get_directory()).await?;
        let root: FileSystemDirectoryHandle = root.dyn_into()?;
        let options = FileSystemGetDirectoryOptions::new();
        options.set_create(true);
        let folder = root.get_directory_handle_with_options(FOLDER, &options);
        Ok(Self {
            folder: JsFuture::from(folder).await?.dyn_into()?,
        })
    }

    /// The file of a model, if it is there.
    pub(super) async fn find(&self, model: ModelId) -> Option<File> {
        let handle = JsFuture::from(self.folder.get_file_handle(&model.to_string()))
            .await
            .ok()?;
        let handle: FileSystemFileHandle = handle.dyn_into().ok()?;
        JsFuture::from(handle.get_file())
            .await
            .ok()?
            .dyn_into()
            .ok()
    }

    /// Removes a model's file; it is no error if there is none.
    pub(super) async fn remove(&self, model: ModelId) {
        JsFuture::from(self.folder.remove_entry(&model.to_string()))
            .await
            .ok();
    }

    /// Begins to write a model's file.
    ///
    /// # Errors
    /// [`CacheError`] where another tab is writing it, or the storage is full.
    pub(super) async fn write(&self, model: ModelId) -> Result<CacheWrite, CacheError> {
        let part = format!("{model}.part");
        let options = FileSystemGetFileOptions::new();
        options.set_create(true);
        let handle = self.folder.get_file_handle_with_options(&part, &options);
        let handle: FileSystemFileHandle = JsFuture::from(handle).await?.dyn_into()?;
        let access = JsFuture::from(handle.create_sync_access_handle()).await?;
        let access: FileSystemSyncAccessHandle = access.dyn_into()?;
        access.truncate_with_u32(0)?;
        Ok(CacheWrite {
            cache: self.clone(),
            model,
            part,
            handle,
            access: Some(access),
        })
    }
}

/// A file on its way into the cache; removed when dropped before [`CacheWrite::keep`].
pub(super) struct CacheWrite {
    cache: ModelCache,
    model: ModelId,
    part: String,
    handle: FileSystemFileHandle,
    /// none once closed
    access: Option<FileSystemSyncAccessHandle>,
}

impl CacheWrite {
    /// Appends bytes.
    ///
    /// # Errors
    /// [`CacheError`] where the storage is full.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        let Some(access) = &self.access else {
            return Ok(());
        };
        let written = access.write_with_u8_array(bytes)?;
        if written == bytes.len() as f64 {
            return Ok(());
        }
        Err(CacheError {
            reason: format!("{written} of {} bytes were written", bytes.len()),
        })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`CacheError`] where the storage is full, or the browser cannot rename.
    pub(super) async fn keep(mut self) -> Result<(), CacheError> {
        let Some(access) = self.access.take() else {
            return Ok(());
        };
        let flushed = access.flush();
        access.close();
        let renamed = match flushed {
            Ok(()) => self.rename().await,
            Err(thrown) => Err(thrown),
        };
        if renamed.is_err() {
            JsFuture::from(self.cache.folder.remove_entry(&self.part))
                .await
                .ok();
        }
        Ok(renamed?)
    }

    /// `FileSystemHandle.move(name)`: in every browser with OPFS, not yet in web-sys.
    async fn rename(&self) -> Result<(), JsValue> {
        let rename = js_sys::Reflect::get(&self.handle, &"move".into())?;
        let rename: js_sys::Function = rename.dyn_into()?;
        let promise = rename.call1(&self.handle, &self.model.to_string().into())?;
        JsFuture::from(js_sys::Promise::resolve(&promise))
            .await
            .map(drop)
    }
}

impl Drop for CacheWrite {
    fn drop(&mut self) {
        let Some(access) = self.access.take() else {
            return;
        };
        access.close();
        let removed = JsFuture::from(self.cache.folder.remove_entry(&self.part));
        spawn_local(async move {
            // What cannot be removed is overwritten by the next attempt.
            removed.await.ok();
        });
    }
}
