//! Promises across crates, in one binary.

mod catalogue;
mod tidy;
