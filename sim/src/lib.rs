//! A crowd of peers and relays in one process: the real `hive` machines over a seeded network with
//! delay, loss, death and liars, and an engine whose right answers are known.
//!
//! Everything is drawn from one seed: the same options give the same log, byte for byte.
//!
//! What this cannot show: a liar that signs well-formed but *wrong* tokens is believed. Nothing in
//! the task path verifies results yet, so no such liar is among [`liar::Lie`] except those that are
//! marked as not detectable.

pub mod crowd;
mod dial;
mod effects;
pub mod engine;
pub mod gossip;
pub mod liar;
pub mod mesh;
pub mod nat;
pub mod network;
pub mod peer;
mod places;
pub mod relay;
mod rumour;
pub mod traffic;
pub mod world;
