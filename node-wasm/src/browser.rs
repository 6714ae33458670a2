//! What the browser tells a page: going away, coming back, on- and offline.

use futures::channel::mpsc;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::Closure;
use web_sys::{Event, EventTarget, PageTransitionEvent};

/// What happened to the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageEvent {
    /// it is closed, reloaded or put aside; what is not said at once is not said at all
    Leaving,
    Online(bool),
    /// it thaws, or is back from the back-forward cache
    Resumed,
}

/// Listens until it is dropped.
pub(crate) struct PageListener {
    listening: Vec<Listening>,
}

/// One callback and where it is.
struct Listening {
    target: EventTarget,
    name: &'static str,
    callback: Closure<dyn FnMut(Event)>,
}

impl PageListener {
    pub(crate) fn new(events: &mpsc::Sender<PageEvent>) -> Self {
        let mut listener = Self {
            listening: Vec::new(),
        };
        let Some(window) = web_sys::window() else {
            return listener;
        };
        let document = window.document();
        let mut on = |target: &EventTarget, name, to_event: fn(&Event) -> Option<PageEvent>| {
            listener.add(target, name, events.clone(), to_event);
        };
        on(&window, "online", |_| Some(PageEvent::Online(true)));
        on(&window, "offline", |_| Some(PageEvent::Online(false)));
        on(&window, "pagehide", |_| Some(PageEvent::Leaving));
        on(&window, "pageshow", |event| {
            let event = event.dyn_ref::<PageTransitionEvent>()?;
            event.persisted().then_some(PageEvent::Resumed)
        });
        if let Some(document) = document {
            on(&document, "resume", |_| Some(PageEvent::Resumed));
        }
        listener
    }

    fn add(
        &mut self,
        target: &EventTarget,
        name: &'static str,
        mut events: mpsc::Sender<PageEvent>,
        to_event: fn(&Event) -> Option<PageEvent>,
    ) {
        let callback = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
            if let Some(event) = to_event(&event) {
                // Full only while the loop is stuck; the same event comes again when it matters.
                events.try_send(event).ok();
            }
        });
        let function = callback.as_ref().unchecked_ref();
        if target
            .add_event_listener_with_callback(name, function)
            .is_ok()
        {
            let target = target.clone();
            self.listening.push(Listening {
                target,
                name,
                callback,
            });
        }
    }
}

impl Drop for PageListener {
    fn drop(&mut self) {
        for Listening {
            target,
            name,
            callback,
        } in &self.listening
        {
            let function = callback.as_ref().unchecked_ref();
            // It was added with the same name and function.
            target
                .remove_event_listener_with_callback(name, function)
                .ok();
        }
    }
}

/// Whether the browser believes that it is online.
pub(crate) fn is_online() -> bool {
    web_sys::window().is_none_or(|window| window.navigator().on_line())
}

/// Asks the browser not to evict what this site keeps. Its answer is of no consequence, and some
/// browsers ask the person: nobody waits for it.
pub(crate) fn ask_to_persist() {
    let Some(window) = web_sys::window() else {
        return;
    };
    let storage = js_sys::Reflect::get(&window.navigator(), &"storage".into());
    if storage.is_ok_and(|it| it.is_object())
        && let Ok(promise) = window.navigator().storage().persist()
    {
        wasm_bindgen_futures::spawn_local(async move {
            let granted = wasm_bindgen_futures::JsFuture::from(promise).await;
            let granted = granted.is_ok_and(|it| it.is_truthy());
            tracing::debug!(granted, "asked the browser to keep this site's data");
        });
    }
}
