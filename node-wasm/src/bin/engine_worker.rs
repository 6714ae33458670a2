//! The engine worker's own wasm module. It compiles the worker's files itself: linking the library
//! would bring its exports, and with them the whole swarm, into the worker.

#[cfg(target_arch = "wasm32")]
#[path = "../worker/mod.rs"]
pub mod worker;

#[cfg(target_arch = "wasm32")]
fn main() {
    worker::start();
}

/// There is no worker outside a browser.
#[cfg(not(target_arch = "wasm32"))]
fn main() {}
