//! The store against a real browser.

use crate::store::{Keeper, Shelf, StoreError};
use wasm_bindgen::JsCast as _;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
async fn values_are_there_when_the_database_is_opened_again() {
    let name = "thrum-test-again";
    let keeper = Keeper::open(name).await;
    assert_eq!(keeper.trouble(), None);
    assert_eq!(keeper.get(Shelf::Choices, "a").await, Ok(None));
    assert_eq!(keeper.put(Shelf::Choices, "a", &[1, 2]).await, Ok(()));
    assert_eq!(keeper.put(Shelf::Choices, "a", &[3]).await, Ok(()));
    drop(keeper);
    let keeper = Keeper::open(name).await;
    assert_eq!(keeper.get(Shelf::Choices, "a").await, Ok(Some(vec![3])));
    assert_eq!(keeper.get(Shelf::Identity, "a").await, Ok(None));
}

#[wasm_bindgen_test]
async fn genomes_have_keys_of_their_own_and_can_be_removed() {
    let name = "thrum-test-genomes";
    let keeper = Keeper::open_genomes(name).await;
    assert_eq!(keeper.trouble(), None);
    for key in ["b/0", "a", "b"] {
        assert_eq!(keeper.put(Shelf::Genomes, key, &[1]).await, Ok(()));
    }
    drop(keeper);
    let keeper = Keeper::open_genomes(name).await;
    let keys = keeper.keys(Shelf::Genomes).await.unwrap();
    assert_eq!(keys, ["a", "b", "b/0"]);
    for key in ["b", "b/0", "no such key"] {
        assert_eq!(keeper.remove(Shelf::Genomes, key).await, Ok(()));
    }
    assert_eq!(keeper.keys(Shelf::Genomes).await.unwrap(), ["a"]);
    assert_eq!(keeper.get(Shelf::Genomes, "b").await, Ok(None));
    // The page's own database of this name is another one.
    let own = Keeper::open(name).await;
    assert_eq!(own.trouble(), None);
    assert!(own.keys(Shelf::Genomes).await.is_err());
}

#[wasm_bindgen_test]
async fn without_a_database_values_last_as_long_as_the_page_and_it_is_said() {
    let reason = "private mode".to_owned();
    let keeper = Keeper::without(StoreError::Unavailable { reason });
    assert!(keeper.trouble().is_some());
    assert!(keeper.put(Shelf::Choices, "a", &[1]).await.is_err());
    assert_eq!(keeper.get(Shelf::Choices, "a").await, Ok(Some(vec![1])));
}

/// Writes what is not ours under the identity's key.
async fn put_raw(name: &str, value: &wasm_bindgen::JsValue) {
    drop(Keeper::open(name).await);
    let builder = rexie::Rexie::builder(name).version(1);
    let database = builder.build().await.unwrap();
    let mode = rexie::TransactionMode::ReadWrite;
    let transaction = database.transaction(&["identity"], mode).unwrap();
    let store = transaction.store("identity").unwrap();
    store.put(value, Some(&"ed25519".into())).await.unwrap();
    transaction.done().await.unwrap();
    database.close();
}

#[wasm_bindgen_test]
async fn a_damaged_identity_is_named_and_left_untouched() {
    let bytes = js_sys::Uint8Array::from([7; 31].as_slice());
    for (name, value) in [
        ("thrum-test-short", bytes.unchecked_ref()),
        ("thrum-test-text", &"no key".into()),
    ] {
        put_raw(name, value).await;
        let keeper = Keeper::open(name).await;
        let fault = crate::identity::open(&keeper, name)
            .await
            .expect_err("no key");
        assert_eq!(fault.code(), "identity_damaged");
        assert!(fault.to_string().contains(name), "{fault}");
        assert!(
            crate::identity::open(&keeper, name).await.is_err(),
            "it was written over"
        );
    }
}

#[wasm_bindgen_test]
async fn the_identity_is_made_once() {
    let name = "thrum-test-identity";
    let keeper = Keeper::open(name).await;
    let first = crate::identity::open(&keeper, name).await.unwrap();
    drop(keeper);
    let again = Keeper::open(name).await;
    assert_eq!(crate::identity::open(&again, name).await.unwrap(), first);
}
