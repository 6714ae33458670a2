//! What survives a reload: small values by name, in IndexedDB where the browser lets us, in memory
//! where it does not.

mod indexed_db;
mod memory;

pub(crate) use indexed_db::IndexedDb;
pub(crate) use memory::MemoryStore;

use futures::future::LocalBoxFuture;
use std::rc::Rc;

/// What kind of value it is; each kind has its own object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shelf {
    /// what the person chose and contributed
    Choices,
    /// the secret key
    Identity,
}

/// Why a value could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// There is no IndexedDB, or this page may not use it (private mode, blocked cookies).
    #[error("the browser does not let this page keep anything: {reason}")]
    Unavailable { reason: String },
    /// The disk or the page's share of it is full.
    #[error("the browser has no more room for this site")]
    Full,
    /// A later version of Thrum wrote this database.
    #[error("database written by a later version (its schema is {found}, ours {known})")]
    TooNew { found: u32, known: u32 },
    /// The value is not what we wrote.
    #[error("the value kept under {key:?} is damaged")]
    Damaged { key: String },
    /// Anything else that IndexedDB says.
    #[error("the browser's database failed: {reason}")]
    Failed { reason: String },
}

/// Keeps values. A `put` that is done has been committed.
pub(crate) trait Store {
    /// The value under a key, `None` where there is none.
    fn get<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Keeps a value in place of the one before.
    fn put<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
        value: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), StoreError>>;
}

/// The store of a node: the lasting one, and what it could not take in memory beside it.
#[derive(Clone)]
pub(crate) struct Keeper {
    lasting: Result<Rc<dyn Store>, StoreError>,
    memory: Rc<MemoryStore>,
}

impl Keeper {
    /// Opens the database `name`, or falls back to memory.
    pub(crate) async fn open(name: &str) -> Self {
        let lasting = match IndexedDb::open(name).await {
            Ok(store) => Ok(Rc::new(store) as Rc<dyn Store>),
            Err(error) => Err(error),
        };
        Self {
            lasting,
            memory: Rc::default(),
        }
    }

    /// Why nothing survives a reload, `None` where it does.
    pub(crate) fn trouble(&self) -> Option<StoreError> {
        self.lasting.as_ref().err().cloned()
    }

    /// The newest value under a key.
    ///
    /// # Errors
    /// [`StoreError`] where there may be a value that could not be read.
    pub(crate) async fn get(&self, shelf: Shelf, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let unsaved = self.memory.get(shelf, key).await?;
        match (&self.lasting, unsaved) {
            (Ok(_), Some(value)) => Ok(Some(value)),
            (Ok(lasting), None) => lasting.get(shelf, key).await,
            (Err(_), value) => Ok(value),
        }
    }

    /// Keeps a value; where the browser has no room for it, in memory.
    ///
    /// # Errors
    /// [`StoreError`] why it will not survive a reload. It can be read until then.
    pub(crate) async fn put(
        &self,
        shelf: Shelf,
        key: &str,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let kept = match &self.lasting {
            Ok(lasting) => lasting.put(shelf, key, value).await,
            Err(error) => Err(error.clone()),
        };
        if kept.is_err() {
            self.memory.put(shelf, key, value).await?;
        } else {
            self.memory.forget(shelf, key);
        }
        kept
    }
}

#[cfg(test)]
mod tests;
