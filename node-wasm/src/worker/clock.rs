//! The worker's time: now, the one timer the page asks for, and a pause that lets messages in.

use futures::channel::oneshot;
use std::cell::Cell;
use std::rc::Rc;
use thrum_protocol::time::Millis;
use wasm_bindgen::prelude::{Closure, JsValue};
use wasm_bindgen::{JsCast as _, UnwrapThrowExt as _};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageChannel, MessageEvent, WorkerGlobalScope};

/// ms; browsers keep a timer's delay in 31 bits and fire at once beyond.
const MAX_DELAY: Millis = Millis(i32::MAX as u64);

/// The global object of the worker that this code runs in.
pub(super) fn scope() -> WorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Milliseconds since the worker began, with fractions.
pub(super) fn now_ms() -> f64 {
    scope()
        .performance()
        .map_or(0.0, |performance| performance.now())
}

/// One timer: page timers drop to one a minute in a hidden tab, a worker's do not.
pub(super) struct Timer {
    scope: WorkerGlobalScope,
    on_wake: Closure<dyn FnMut()>,
    pending: Option<i32>,
}

impl Timer {
    /// A timer that calls `on_wake`, and is not set.
    pub(super) fn new(on_wake: impl FnMut() + 'static) -> Self {
        Self {
            scope: scope(),
            on_wake: Closure::new(on_wake),
            pending: None,
        }
    }

    /// Sets the timer anew.
    ///
    /// # Errors
    /// What the browser throws; none is known to.
    pub(super) fn wake_after(&mut self, delay: Millis) -> Result<(), JsValue> {
        if let Some(pending) = self.pending.take() {
            self.scope.clear_timeout_with_handle(pending);
        }
        let callback = self.on_wake.as_ref().unchecked_ref();
        let delay = i32::try_from(delay.min(MAX_DELAY).0).unwrap_or(i32::MAX);
        self.pending = Some(
            self.scope
                .set_timeout_with_callback_and_timeout_and_arguments_0(callback, delay)?,
        );
        Ok(())
    }
}

/// Resolves after `delay`.
///
/// # Cancel safety
/// Dropping the future leaves a timer behind that does nothing.
pub(super) async fn sleep(delay: Millis) {
    let promise = js_sys::Promise::new(&mut |resolve, _reject| {
        let delay = i32::try_from(delay.min(MAX_DELAY).0).unwrap_or(i32::MAX);
        scope()
            .set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, delay)
            .expect_throw("setTimeout takes a function and a number");
    });
    JsFuture::from(promise)
        .await
        .expect_throw("the promise is never rejected");
}

/// A way to the end of the event loop's queue: messages and timers that are due go first.
///
/// `setTimeout` would cost at least 4 ms a time; a message to oneself costs some 10 µs.
pub(super) struct Hop {
    channel: MessageChannel,
    landed: Rc<Cell<Option<oneshot::Sender<()>>>>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Hop {
    /// # Errors
    /// What the browser throws; none is known to.
    pub(super) fn new() -> Result<Self, JsValue> {
        let channel = MessageChannel::new()?;
        let landed = Rc::new(Cell::new(None::<oneshot::Sender<()>>));
        let on_message = Closure::new({
            let landed = Rc::clone(&landed);
            move |_: MessageEvent| {
                if let Some(sender) = landed.take() {
                    // Nobody waits for a hop whose future was dropped.
                    sender.send(()).ok();
                }
            }
        });
        channel
            .port1()
            .set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Ok(Self {
            channel,
            landed,
            _on_message: on_message,
        })
    }

    /// Resolves when everything that was queued in the event loop has been served.
    ///
    /// # Errors
    /// What the browser throws; none is known to.
    pub(super) async fn hop(&self) -> Result<(), JsValue> {
        let (sender, receiver) = oneshot::channel();
        self.landed.set(Some(sender));
        self.channel.port2().post_message(&JsValue::NULL)?;
        // A later hop may have taken this one's place; then it is over as well.
        receiver.await.ok();
        Ok(())
    }
}
