//! Time on the page's thread: the node's clock, a timer, and a way to let the page draw.

use futures::channel::oneshot;
use std::cell::{Cell, RefCell};
use thrum_protocol::time::Millis;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::Closure;
use web_sys::{MessageChannel, MessagePort, Window};

/// ms; how long the node's loop may keep the page from drawing: half a frame at 60 Hz.
const SLICE_MILLIS: f64 = 8.0;

/// Milliseconds since the node was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// on the page's own clock
    started_millis: f64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            started_millis: page_millis(),
        }
    }

    pub(crate) fn now(&self) -> Millis {
        // The page's clock never goes back.
        Millis((page_millis() - self.started_millis) as u64)
    }
}

/// Milliseconds since 1970, as the person's clock shows them.
pub(crate) fn today() -> Millis {
    Millis(js_sys::Date::now() as u64)
}

/// Notices when the loop has run for a whole slice.
pub(crate) struct Slice {
    began_millis: Cell<f64>,
    port: MessagePort,
    other_port: MessagePort,
}

impl Slice {
    pub(crate) fn new() -> Self {
        let channel = MessageChannel::new().expect("every browser with wasm has MessageChannel");
        Self {
            began_millis: Cell::new(page_millis()),
            port: channel.port1(),
            other_port: channel.port2(),
        }
    }

    /// The loop was idle until this moment.
    pub(crate) fn begin(&self) {
        self.began_millis.set(page_millis());
    }

    pub(crate) fn is_over(&self) -> bool {
        page_millis() - self.began_millis.get() > SLICE_MILLIS
    }

    /// Lets the browser do what else it has to do. Unlike a timer, a message to oneself is not
    /// throttled in a hidden tab.
    pub(crate) async fn breathe(&self) {
        let (sender, receiver) = oneshot::channel::<()>();
        let on_message = Closure::once_into_js(move || {
            // The receiver is gone only together with the node.
            sender.send(()).ok();
        });
        self.other_port
            .set_onmessage(Some(on_message.unchecked_ref()));
        if self.port.post_message(&wasm_bindgen::JsValue::NULL).is_ok() {
            receiver.await.ok();
        }
        self.begin();
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.other_port.set_onmessage(None);
        self.port.close();
        self.other_port.close();
    }
}

/// One timer of the page. Throttled in a hidden tab: the engine's worker has a better one, which
/// this stands in for until the worker is up and if it fails.
pub(crate) struct PageTimer {
    on_time: Closure<dyn FnMut()>,
    handle: RefCell<Option<i32>>,
}

impl PageTimer {
    pub(crate) fn new(on_time: impl FnMut() + 'static) -> Self {
        Self {
            on_time: Closure::new(on_time),
            handle: RefCell::new(None),
        }
    }

    /// Fires after `delay`; a later call replaces an earlier one.
    pub(crate) fn set(&self, delay: Millis) {
        self.clear();
        let delay = i32::try_from(delay.0).unwrap_or(i32::MAX);
        let callback = self.on_time.as_ref().unchecked_ref();
        let handle =
            window().set_timeout_with_callback_and_timeout_and_arguments_0(callback, delay);
        *self.handle.borrow_mut() = handle.ok();
    }

    fn clear(&self) {
        if let Some(handle) = self.handle.borrow_mut().take() {
            window().clear_timeout_with_handle(handle);
        }
    }
}

impl Drop for PageTimer {
    fn drop(&mut self) {
        self.clear();
    }
}

fn page_millis() -> f64 {
    window()
        .performance()
        .expect("every page has a clock")
        .now()
}

fn window() -> Window {
    web_sys::window().expect("a node runs on a page's thread")
}
