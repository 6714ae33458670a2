//! What survives a reload: values of at most 1 MiB by name, in IndexedDB where the browser lets us,
//! in memory where it does not.
//!
//! Compiled into the worker's own module too, which keeps genomes here.

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
    /// adapters: records, and their files in chunks
    Genomes,
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

    /// Forgets a value; one that is not there is no error.
    fn remove<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
    ) -> LocalBoxFuture<'a, Result<(), StoreError>>;

    /// Every key of a shelf, in order.
    fn keys(&self, shelf: Shelf) -> LocalBoxFuture<'_, Result<Vec<String>, StoreError>>;
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
        Self::of(IndexedDb::open(name, &[Shelf::Choices, Shelf::Identity]).await)
    }

    /// Opens the genomes of the node whose database is `name`. They lie in a database of their
    /// own: page and worker open theirs whenever they like, and neither waits for the other's
    /// version.
    pub(crate) async fn open_genomes(name: &str) -> Self {
        Self::of(IndexedDb::open(&format!("genomes of {name}"), &[Shelf::Genomes]).await)
    }

    fn of(opened: Result<IndexedDb, StoreError>) -> Self {
        match opened {
            Ok(store) => Self {
                lasting: Ok(Rc::new(store)),
                memory: Rc::default(),
            },
            Err(error) => Self::without(error),
        }
    }

    /// One that keeps nothing, because of `error`.
    pub(crate) fn without(error: StoreError) -> Self {
        Self {
            lasting: Err(error),
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

    /// Forgets a value, wherever it is.
    ///
    /// # Errors
    /// [`StoreError`] where it may still be there after a reload.
    pub(crate) async fn remove(&self, shelf: Shelf, key: &str) -> Result<(), StoreError> {
        self.memory.forget(shelf, key);
        match &self.lasting {
            Ok(lasting) => lasting.remove(shelf, key).await,
            Err(_) => Ok(()),
        }
    }

    /// Every key of a shelf, in order.
    ///
    /// # Errors
    /// [`StoreError`] where there may be keys that could not be read.
    pub(crate) async fn keys(&self, shelf: Shelf) -> Result<Vec<String>, StoreError> {
        let mut keys = self.memory.keys(shelf).await?;
        if let Ok(lasting) = &self.lasting {
            keys.extend(lasting.keys(shelf).await?);
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }
}
