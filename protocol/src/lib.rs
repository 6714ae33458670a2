//! What Thrum peers **say**: ids, signed messages, limits, and the view a page sees.
//!
//! Bytes become values in one place each: [`task::TaskMessage::open`], [`advert::Advert::open`],
//! [`capability::CapabilityRecord::open`] and [`hint::Hint::open`] check the length, the JSON, the
//! signature and the fields, in this order, and what they return can be trusted to be well formed.
//! Nothing here knows a clock, a random source or I/O.

pub mod advert;
pub mod capability;
pub mod hint;
pub mod id;
pub mod limits;
pub mod model;
pub mod record;
pub mod sampling;
pub mod signed;
pub mod task;
pub mod time;
pub mod truncation;
pub mod turn;
pub mod view;

/// The key a peer signs with: the only type of the curve that the machines hold.
pub use ed25519_dalek::SigningKey;

/// Version of the language peers speak; part of identify and of the rendezvous namespace.
pub const PROTOCOL: &str = "thrum/1";

/// Rendezvous namespace under which every peer registers.
pub const NAMESPACE: &str = "thrum/1";

/// libp2p stream protocol that carries one [`advert::Advert`] and is then closed.
pub const ADVERT_STREAM: &str = "/thrum/advert/1";

/// libp2p stream protocol that carries one [`hint::Hint`] and is then closed: a polite way to part.
pub const HINT_STREAM: &str = "/thrum/hint/1";

/// gossipsub topic of [`capability::CapabilityRecord`]s. They carry their own signatures.
pub const ANNOUNCE_TOPIC: &str = "/thrum/announce/1";

/// Kademlia protocol between nodes and relays. A provider key is the SHA-256 of a model's
/// [`model_namespace`].
pub const KAD_PROTOCOL: &str = "/thrum/kad/1";

/// Rendezvous namespace of the peers that answer with a model. Eight bytes of its id are enough to
/// tell models apart, and what a peer found there offers is in its own words anyway.
#[must_use]
pub fn model_namespace(model: id::ModelId) -> String {
    let digits = model.to_string();
    format!("{NAMESPACE}/model/{}", &digits[..16])
}

/// libp2p stream protocol that carries one attempt at one task.
pub const TASK_STREAM: &str = "/thrum/task/1";

/// libp2p stream protocol on which a relay, asked by opening it, writes one
/// [`turn::TurnCredentials`] and closes. A relay without TURN does not speak it.
pub const TURN_CREDENTIALS_STREAM: &str = "/thrum/turn-credentials/1";
