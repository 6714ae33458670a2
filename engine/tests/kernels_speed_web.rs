//! Prints how fast every kind of matrix kernel is in a browser, as the example `kernels` does
//! natively: `cargo test --target wasm32-unknown-unknown --test kernels_speed_web -- --nocapture`.

#![cfg(target_arch = "wasm32")]

use thrum_engine::cpu::kernels::{all, kernels};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

#[path = "../examples/kernels/measure.rs"]
mod measure;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Formats to measure, split by commas; all the usual ones without it.
const FORMATS: Option<&str> = option_env!("THRUM_KERNEL_FORMATS");

#[wasm_bindgen_test]
fn the_kind_that_is_used_is_the_last_of_all() {
    let formats = FORMATS.map_or_else(Vec::new, |it| it.split(',').map(str::to_owned).collect());
    let seconds = || js_sys::Date::now() / 1e3;
    measure::measure(&formats, &seconds, &|line| console_log!("{line}"));
    assert_eq!(Some(kernels().name()), all().last().map(|it| it.name()));
}
