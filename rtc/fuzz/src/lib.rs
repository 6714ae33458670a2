//! What each fuzz target does with its input. `tests/corpus.rs` of the crate includes these files
//! and runs the committed corpora through them.

pub mod address;
pub mod signal;
pub mod stream;
