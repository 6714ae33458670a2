//! Promises across crates, in one binary.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot read its files has failed"
)]

mod answers;
mod catalogue;
mod genomes;
mod kept;
mod tidy;
