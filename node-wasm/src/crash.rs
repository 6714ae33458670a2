//! A panic ends the wasm module: the page must be told, or it would wait for ever.

use std::sync::Once;
use web_sys::{CustomEvent, CustomEventInit};

/// Dispatched on the window, with the message as `detail`, when the node has stopped for good.
const STOPPED: &str = "thrum:stopped";

/// Reports panics to the console and to the page, once per page.
pub(crate) fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            console_error_panic_hook::hook(panic);
            let init = CustomEventInit::new();
            init.set_detail(&panic.to_string().into());
            if let Some(window) = web_sys::window()
                && let Ok(event) = CustomEvent::new_with_event_init_dict(STOPPED, &init)
            {
                // Nobody is left to be told of a listener that throws.
                window.dispatch_event(&event).ok();
            }
        }));
    });
}
