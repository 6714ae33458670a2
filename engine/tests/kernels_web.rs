//! The tests of `kernels.rs` in a real browser, which has the relaxed module.
//!
//! `CHROMEDRIVER=... cargo test -p thrum-engine --target wasm32-unknown-unknown --test kernels_web`

#![cfg(target_arch = "wasm32")]

use thrum_engine::cpu::kernels::{all, kernels};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

#[path = "kernels.rs"]
mod every_kind;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// `(func (result v128) ... i32x4.relaxed_dot_i8x16_i7x16_add_s)`: valid where there is relaxed-simd.
const RELAXED: [u8; 31] = [
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, // a module
    0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b, 0x01, 0x7b, // type: three vectors to one
    0x03, 0x02, 0x01, 0x00, // a function of that type
    0x0a, 0x0d, 0x01, 0x0b, 0x00, 0x20, 0x00, 0x20, 0x01, // local.get 0, local.get 1
];

/// The end of [`RELAXED`].
const RELAXED_END: [u8; 6] = [0x20, 0x02, 0xfd, 0x93, 0x02, 0x0b];

#[wasm_bindgen_test]
fn the_relaxed_module_is_used_where_the_browser_takes_it() {
    let module = js_sys::Uint8Array::from(&[&RELAXED[..], &RELAXED_END].concat()[..]);
    let has_relaxed = js_sys::WebAssembly::validate(&module).expect("bytes");
    let expected = if has_relaxed { "relaxed" } else { "simd128" };
    console_log!("{:?}", all().iter().map(|it| it.name()).collect::<Vec<_>>());
    assert_eq!(kernels().name(), expected);
    assert_eq!(all().last().map(|it| it.name()), Some(expected));
}
