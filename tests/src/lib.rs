//! Promises across crates.
