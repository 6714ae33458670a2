//! The browser edge: carries what happens in a page to the `hive` machine and carries out what it
//! decides. Nothing here decides anything about peers or tasks.
//!
//! 1. [`Node::start`] opens the store, reads or makes the identity and asks for the Web Lock.
//! 2. The tab that holds the lock is the *owner*: it runs [`driver`], one loop over the swarm, the
//!    engine's worker, the page and the other tabs.
//! 3. Every other tab of the same origin and store is a *follower*: the same [`Node`], mirrored over
//!    a BroadcastChannel, until the lock is its own.
//!
//! The engine's worker is another wasm module ([`engine_link`] is the page's end of it). It must not
//! link this library: its exports would bring the whole swarm into the worker.

#![cfg(target_arch = "wasm32")]

pub mod api;
pub mod engine_link;
pub mod fault;
pub mod node;
pub mod options;

mod asks;
mod browser;
mod catalogue;
mod clock;
mod crash;
mod driver;
pub mod errand;
mod follower;
mod http;
mod identity;
mod log;
mod net;
mod part_names;
mod pending;
#[cfg_attr(not(test), expect(dead_code, reason = "the worker uses the rest"))]
mod store;
#[cfg(test)]
mod store_tests;
mod tabs;
mod web_lock;

/// The words that page and worker have in common.
mod worker {
    pub(crate) mod messages;
}

pub use engine_link::{Genome, Inspection, KeptModel};
pub use errand::KeptModels;
pub use fault::Fault;
pub use node::{Node, Role};
pub use options::{BackendChoice, FileSource, GenomeFiles, GenomeSource, ModelSource, NodeOptions};
