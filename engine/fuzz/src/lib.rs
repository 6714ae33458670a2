//! What each fuzz target does with its input. `tests/corpus.rs` of the engine includes these files
//! and runs the committed corpora through them.

pub mod adapter;
pub mod gguf;
pub mod parts;
pub mod quant;
pub mod script;
pub mod tokenizer;
