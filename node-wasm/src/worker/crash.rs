//! The last words of a worker that panics or traps.
//!
//! Its code runs inside promises, whose failures a browser does not pass on to the page: without
//! this a dead worker would look like a slow one.

use super::clock::scope;
use super::error::text_of;
use super::messages::Report;
use super::post;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::Closure;
use web_sys::PromiseRejectionEvent;

/// Tells the page of every panic, with its text, and of everything else that nobody caught.
pub(super) fn report_crashes() {
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        post(&Report::Crashed {
            reason: format!("the engine's worker panicked: {info}"),
        });
    }));
    let on_rejection = Closure::<dyn FnMut(_)>::new(|event: PromiseRejectionEvent| {
        let reason = text_of(&event.reason());
        post(&Report::Crashed {
            reason: format!("the engine's worker failed: {reason}"),
        });
    });
    let listener = on_rejection.as_ref().unchecked_ref();
    // Without it a panic is still told; only what is no panic would pass in silence.
    scope()
        .add_event_listener_with_callback("unhandledrejection", listener)
        .ok();
    on_rejection.forget();
}
