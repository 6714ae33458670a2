//! What a node keeps for itself across reloads, as JSON: small, readable, and never trusted to be
//! well formed.

use crate::view::DonateLimits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// bytes; far more than a record has. A damaged store is not read.
const MAX_RECORD_BYTES: usize = 4 * 1024;

/// The person's choice to work for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DonationRecord {
    /// what was chosen
    pub choice: DonationChoice,
    /// the limits it was chosen with
    pub limits: DonateLimits,
}

/// What the person chose last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DonationChoice {
    /// take no work
    Off,
    /// take work
    On,
    /// take none until resumed
    Paused,
}

/// What was computed for others so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContributionRecord {
    /// tasks computed to the end
    pub jobs_done: u64,
    /// tokens computed
    pub tokens_done: u64,
}

/// A kept value. Implemented by the records of this module alone.
pub trait Record: Serialize + DeserializeOwned {
    /// The bytes to keep.
    #[must_use]
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record has text keys and integers only")
    }

    /// The record in `bytes`, `None` where they are damaged or of another version.
    #[must_use]
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_RECORD_BYTES {
            return None;
        }
        serde_json::from_slice(bytes).ok()
    }
}

impl Record for DonationRecord {}
impl Record for ContributionRecord {}
