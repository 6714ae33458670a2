//! What a peer tells everybody that it can do: a record that it signs, that ends by itself, and
//! that says through whom the peer is reached.
//!
//! An [`Advert`](crate::advert::Advert) is the present, told to a neighbour and renewed with every
//! task. A record is what a stranger may rely on for some minutes, passed on from peer to peer, so
//! it holds only what changes seldom, and moments are those of the wall clock.

use crate::id::NodeId;
use crate::limits::{
    MAX_CAPABILITY_BYTES, MAX_CAPABILITY_LIFE, MAX_CAPABILITY_RELAYS, MAX_OFFERS, MAX_TEXT_BYTES,
};
use crate::model::{Backend, ModelOffer};
use crate::signed::{self, OpenError, within};
use crate::time::Millis;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

/// Version and purpose of the signature.
const DOMAIN: &str = "thrum/capability/1";

/// What a peer offers and where it is reached. Claims, not facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityRecord {
    /// when it was signed, by its author's wall clock, in ms since 1970; of two records of one peer
    /// the later counts
    pub sequence: u64,
    /// when it ends, by the same clock: at most [`MAX_CAPABILITY_LIFE`] later
    pub expires: u64,
    /// the relays that keep a place for the peer
    pub relays: Vec<NodeId>,
    /// the models it answers with; none where it takes back what it offered
    pub models: Vec<ModelOffer>,
    /// what computes, `None` where nothing does
    pub backend: Option<Backend>,
    /// how fast
    pub speed: SpeedClass,
    /// tasks it computes at once
    pub slots: u32,
}

impl CapabilityRecord {
    /// The bytes to publish.
    #[must_use]
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        signed::seal(DOMAIN, self, key)
    }

    /// The author and the record in `bytes`. Whether the record has ended is not looked at: that
    /// takes a clock.
    ///
    /// # Errors
    /// [`OpenError`] where they are no record that its author signed, or over a limit.
    pub fn open(bytes: &[u8]) -> Result<(NodeId, Self), OpenError> {
        within("record", bytes.len(), MAX_CAPABILITY_BYTES)?;
        let (author, record): (_, Self) = signed::open(DOMAIN, bytes)?;
        within("relays", record.relays.len(), MAX_CAPABILITY_RELAYS)?;
        within("models", record.models.len(), MAX_OFFERS)?;
        for model in &record.models {
            within("models.name", model.name.len(), MAX_TEXT_BYTES)?;
        }
        let life = record.expires.saturating_sub(record.sequence);
        if life == 0 || Millis(life) > MAX_CAPABILITY_LIFE {
            return Err(OpenError::Lifetime { life: Millis(life) });
        }
        Ok((author, record))
    }
}

/// Tokens per second, in powers of two: what a probe measures differs from run to run, and a record
/// is not to change for that. Class 0 is less than one, class *n* at least 2^(*n* - 1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SpeedClass(pub u8);

impl SpeedClass {
    /// The class of a speed in thousandths of a token per second.
    #[must_use]
    pub fn of(millitokens_per_second: u64) -> Self {
        let per_second = millitokens_per_second / 1_000;
        Self(u8::try_from(u64::BITS - per_second.leading_zeros()).unwrap_or(u8::MAX))
    }

    /// The slowest of the class, in tokens per second.
    #[must_use]
    pub fn tokens_per_second(self) -> u64 {
        match self.0 {
            0 => 0,
            class => 1_u64.checked_shl(u32::from(class - 1)).unwrap_or(u64::MAX),
        }
    }
}
