//! What the dashboard **is** without a browser: its state, its words and its numbers.
//!
//! The binary of this crate is the page; it shows what these modules hold. Nothing here knows Yew,
//! the DOM or the node.

pub mod ask;
pub mod catalogue;
pub mod choice;
pub mod conversation;
pub mod format;
pub mod genomes;
pub mod log;
pub mod models;
pub mod peers;
pub mod state;
pub mod words;
