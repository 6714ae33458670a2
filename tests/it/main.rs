//! Promises across crates, in one binary.

mod answers;
mod catalogue;
mod tidy;
