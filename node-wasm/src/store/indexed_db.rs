//! IndexedDB through rexie.
//!
//! Every transaction is one request: IndexedDB commits a transaction as soon as control returns to
//! the browser with no request open, so nothing else may be awaited inside. rexie has no upgrade
//! steps; a record holds the schema's version, and a later one is refused rather than misread.

use super::{Shelf, Store, StoreError};
use futures::future::{FutureExt as _, LocalBoxFuture};
use js_sys::Uint8Array;
use rexie::{ObjectStore, Rexie, Transaction, TransactionMode};
use wasm_bindgen::{JsCast as _, JsValue};

/// version of what is kept and how; grows when an older build would misread it.
const SCHEMA: u32 = 1;

/// Holds [`SCHEMA`] under [`SCHEMA_KEY`].
const SCHEMA_STORE: &str = "schema";
const SCHEMA_KEY: &str = "version";

/// A database of the page's origin.
pub(crate) struct IndexedDb {
    database: Rexie,
}

impl IndexedDb {
    /// Opens the database with these shelves, and makes it where it is missing.
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be used.
    pub(crate) async fn open(name: &str, shelves: &[Shelf]) -> Result<Self, StoreError> {
        let schema = Rexie::builder(name)
            .version(1)
            .add_object_store(ObjectStore::new(SCHEMA_STORE));
        let stores = shelves
            .iter()
            .map(|shelf| ObjectStore::new(store_name(*shelf)));
        let database = stores
            .fold(schema, |builder, store| builder.add_object_store(store))
            .build()
            .await
            .map_err(|error| StoreError::Unavailable {
                reason: text_of(&error),
            })?;
        let store = Self { database };
        store.check_schema().await?;
        Ok(store)
    }

    async fn check_schema(&self) -> Result<(), StoreError> {
        let found = self
            .read(SCHEMA_STORE, SCHEMA_KEY)
            .await?
            .and_then(|value| value.as_f64());
        match found.map(|version| version as u32) {
            None => self.write(SCHEMA_STORE, SCHEMA_KEY, &SCHEMA.into()).await,
            Some(found) if found > SCHEMA => Err(StoreError::TooNew {
                found,
                known: SCHEMA,
            }),
            Some(_) => Ok(()),
        }
    }

    async fn read(&self, store: &str, key: &str) -> Result<Option<JsValue>, StoreError> {
        let transaction = self
            .database
            .transaction(&[store], TransactionMode::ReadOnly);
        let transaction = transaction.map_err(store_error)?;
        let shelf = transaction.store(store).map_err(store_error)?;
        shelf.get(key.into()).await.map_err(store_error)
    }

    async fn write(&self, store: &str, key: &str, value: &JsValue) -> Result<(), StoreError> {
        let transaction = self
            .database
            .transaction(&[store], TransactionMode::ReadWrite);
        let transaction = transaction.map_err(store_error)?;
        let shelf = transaction.store(store).map_err(store_error)?;
        shelf
            .put(value, Some(&key.into()))
            .await
            .map_err(store_error)?;
        committed(transaction).await
    }

    async fn delete(&self, store: &str, key: &str) -> Result<(), StoreError> {
        let transaction = self
            .database
            .transaction(&[store], TransactionMode::ReadWrite);
        let transaction = transaction.map_err(store_error)?;
        let shelf = transaction.store(store).map_err(store_error)?;
        shelf.delete(key.into()).await.map_err(store_error)?;
        committed(transaction).await
    }

    async fn keys_of(&self, store: &str) -> Result<Vec<String>, StoreError> {
        let transaction = self
            .database
            .transaction(&[store], TransactionMode::ReadOnly);
        let transaction = transaction.map_err(store_error)?;
        let shelf = transaction.store(store).map_err(store_error)?;
        let keys = shelf.get_all_keys(None, None).await.map_err(store_error)?;
        Ok(keys.iter().filter_map(JsValue::as_string).collect())
    }
}

async fn committed(transaction: Transaction) -> Result<(), StoreError> {
    match transaction.done().await.map_err(store_error)? {
        result if result.is_committed() => Ok(()),
        // The only reason to abort a transaction whose request succeeded.
        _ => Err(StoreError::Full),
    }
}

impl Store for IndexedDb {
    fn get<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        async move {
            let Some(value) = self.read(store_name(shelf), key).await? else {
                return Ok(None);
            };
            let bytes = value.dyn_into::<Uint8Array>();
            bytes
                .map(|bytes| Some(bytes.to_vec()))
                .map_err(|_| StoreError::Damaged {
                    key: key.to_owned(),
                })
        }
        .boxed_local()
    }

    fn put<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
        value: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        async move {
            self.write(store_name(shelf), key, &Uint8Array::from(value).into())
                .await
        }
        .boxed_local()
    }

    fn remove<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
    ) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        self.delete(store_name(shelf), key).boxed_local()
    }

    fn keys(&self, shelf: Shelf) -> LocalBoxFuture<'_, Result<Vec<String>, StoreError>> {
        self.keys_of(store_name(shelf)).boxed_local()
    }
}

fn store_name(shelf: Shelf) -> &'static str {
    match shelf {
        Shelf::Choices => "choices",
        Shelf::Genomes => "genomes",
        Shelf::Identity => "identity",
    }
}

fn store_error(error: rexie::Error) -> StoreError {
    let reason = text_of(&error);
    if reason.contains("QuotaExceeded") {
        return StoreError::Full;
    }
    StoreError::Failed { reason }
}

/// rexie's own text is only "idb error": what the browser said is below it.
fn text_of(error: &rexie::Error) -> String {
    let below = std::error::Error::source(error);
    below.map_or_else(|| error.to_string(), |below| format!("{below:?}"))
}
