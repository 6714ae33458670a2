//! Prints how fast every kind of matrix kernel of this machine is: `kernels [format ...]`.
//!
//! In a browser: `cargo test --target wasm32-unknown-unknown --test kernels_speed_web -- --nocapture`.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Instant;

mod measure;

fn main() {
    let formats: Vec<String> = std::env::args().skip(1).collect();
    let start = Instant::now();
    let seconds = || start.elapsed().as_secs_f64();
    measure::measure(&formats, &seconds, &|line| println!("{line}"));
}
