//! Values that last as long as the page.

use super::{Shelf, Store, StoreError};
use futures::future::{FutureExt as _, LocalBoxFuture, ready};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// The same promises as the lasting store, without the lasting.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    values: RefCell<BTreeMap<(Shelf, String), Vec<u8>>>,
}

impl MemoryStore {
    /// Drops a value, if there is one.
    pub(crate) fn forget(&self, shelf: Shelf, key: &str) {
        self.values.borrow_mut().remove(&(shelf, key.to_owned()));
    }
}

impl Store for MemoryStore {
    fn get<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
    ) -> LocalBoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        let value = self.values.borrow().get(&(shelf, key.to_owned())).cloned();
        ready(Ok(value)).boxed_local()
    }

    fn put<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
        value: &'a [u8],
    ) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        self.values
            .borrow_mut()
            .insert((shelf, key.to_owned()), value.to_vec());
        ready(Ok(())).boxed_local()
    }

    fn remove<'a>(
        &'a self,
        shelf: Shelf,
        key: &'a str,
    ) -> LocalBoxFuture<'a, Result<(), StoreError>> {
        self.forget(shelf, key);
        ready(Ok(())).boxed_local()
    }

    fn keys(&self, shelf: Shelf) -> LocalBoxFuture<'_, Result<Vec<String>, StoreError>> {
        let values = self.values.borrow();
        let keys = values.keys().filter(|(of, _)| *of == shelf);
        let keys = keys.map(|(_, key)| key.clone()).collect();
        ready(Ok(keys)).boxed_local()
    }
}
