//! The Ed25519 key that is this peer: made once, kept in the store, never written over.

use crate::fault::Fault;
use crate::store::{Keeper, Shelf, StoreError};
use ed25519_dalek::SigningKey;

/// Under which the 32 bytes of the secret key are kept.
const KEY: &str = "ed25519";

/// The stored key, `None` where there is none.
///
/// # Errors
/// [`Fault`] where there may be one that cannot be read, or one that is no key.
pub(crate) async fn stored(keeper: &Keeper, store: &str) -> Result<Option<SigningKey>, Fault> {
    let damaged = |reason: String| Fault::IdentityDamaged {
        store: store.to_owned(),
        reason,
    };
    let bytes = keeper
        .get(Shelf::Identity, KEY)
        .await
        .map_err(|error| match error {
            StoreError::Damaged { .. } => damaged(error.to_string()),
            StoreError::Failed { .. }
            | StoreError::Full
            | StoreError::TooNew { .. }
            | StoreError::Unavailable { .. } => Fault::IdentityUnreadable {
                store: store.to_owned(),
                reason: error.to_string(),
            },
        })?;
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let secret: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| damaged(format!("{} bytes in place of 32", bytes.len())))?;
    Ok(Some(SigningKey::from_bytes(&secret)))
}

/// The stored key, or one that is made and stored.
///
/// Where it cannot be stored the node lives until the page is closed; the keeper says why.
///
/// # Errors
/// [`Fault`] as [`stored`].
pub(crate) async fn open(keeper: &Keeper, store: &str) -> Result<SigningKey, Fault> {
    if let Some(key) = stored(keeper, store).await? {
        return Ok(key);
    }
    let key = SigningKey::from_bytes(&random_bytes());
    if let Err(error) = keeper.put(Shelf::Identity, KEY, key.as_bytes()).await {
        tracing::warn!(%error, "the identity will not survive a reload");
    }
    Ok(key)
}

/// 32 bytes of the browser's random source.
pub(crate) fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("every browser with wasm has crypto.getRandomValues");
    bytes
}
