//! What a peer says it can do. Sent on connecting, on every change and every
//! [`ADVERT_PERIOD`](crate::limits::ADVERT_PERIOD).

use crate::id::NodeId;
use crate::limits::{MAX_OFFERS, MAX_TEXT_BYTES};
use crate::model::{Backend, ModelOffer};
use crate::signed::{self, OpenError, within};
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};

/// Version and purpose of the signature.
const DOMAIN: &str = "thrum/advert/1";

/// A peer's capabilities. Claims, not facts: the roster measures what it can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advert {
    /// grows with every advert of this peer: milliseconds of its own clock. An older one is ignored
    pub sequence: u64,
    /// name and version of the software, `thrum/0.1.0+abc1234`
    pub agent: String,
    /// whether it takes work from others at the moment
    pub donating: bool,
    /// the models it answers with, the loaded one first
    pub models: Vec<ModelOffer>,
    /// what computes, `None` where nothing does
    pub backend: Option<Backend>,
    /// thousandths of a token per second, measured by a short probe after loading
    pub millitokens_per_second: u64,
    /// tasks it computes at once
    pub slots: u32,
    /// tasks it is computing now
    pub busy: u32,
    /// tokens it generates for one task at most
    pub max_new_tokens: u32,
}

impl Advert {
    /// The bytes that go over the wire.
    #[must_use]
    pub fn seal(&self, key: &SigningKey) -> Vec<u8> {
        signed::seal(DOMAIN, self, key)
    }

    /// The sender and the advert in `bytes`.
    ///
    /// # Errors
    /// [`OpenError`] where they are no advert that its sender signed, or over a limit.
    pub fn open(bytes: &[u8]) -> Result<(NodeId, Self), OpenError> {
        let (sender, advert): (_, Self) = signed::open(DOMAIN, bytes)?;
        within("agent", advert.agent.len(), MAX_TEXT_BYTES)?;
        within("models", advert.models.len(), MAX_OFFERS)?;
        for model in &advert.models {
            within("models.name", model.name.len(), MAX_TEXT_BYTES)?;
        }
        Ok((sender, advert))
    }
}
