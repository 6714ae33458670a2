//! The inputs that fuzzing found worth keeping, and those that once were findings, run natively.

#![cfg(not(target_arch = "wasm32"))]

use std::fs;
use std::path::PathBuf;

#[path = "../fuzz/src/lib.rs"]
#[expect(
    unreachable_pub,
    reason = "a library to the fuzz targets, a module here"
)]
mod targets;

/// Runs every committed input of a target; some are accepted, or they would show little.
#[expect(
    clippy::print_stdout,
    reason = "the last line of a failing test names the input"
)]
fn replay(target: &str, run: fn(&[u8]) -> bool) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut n_accepted = 0;
    for entry in fs::read_dir(&folder).expect("a committed corpus") {
        let path = entry.expect("a readable folder").path();
        let input = fs::read(&path).expect("a committed input");
        println!("{}", path.display());
        n_accepted += usize::from(run(&input));
    }
    assert!(n_accepted > 0, "all of {} is refused", folder.display());
}

#[test]
fn address() {
    replay("address", targets::address::run);
}

#[test]
fn signal() {
    replay("signal", targets::signal::run);
}

#[test]
fn stream() {
    replay("stream", targets::stream::run);
}
