//! One machine alone on a bench: exact inputs, exact outputs.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test looks for one kind of output among many"
)]

mod announcing;
mod asking;
mod bench;
mod donating;
mod fuzz;
mod meshing;
mod providing;
mod reaching;
