//! Web Locks: one owner among the tabs of an origin. web-sys has them only among its unstable
//! bindings, so the two calls that are needed are bound here.

use futures::channel::oneshot;
use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::AbortController;

#[wasm_bindgen]
extern "C" {
    type LockManager;

    #[wasm_bindgen(method, catch)]
    fn request(
        this: &LockManager,
        name: &str,
        options: &JsValue,
        callback: &Function,
    ) -> Result<Promise, JsValue>;
}

/// A lock that is held; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct HeldLock {
    /// resolves the promise that the browser waits for; `None` where the browser has no locks
    release: Option<Function>,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if let Some(release) = &self.release {
            // A resolving function throws nothing.
            release.call0(&JsValue::UNDEFINED).ok();
        }
    }
}

/// A lock that was asked for; dropping it takes the request back.
pub(crate) struct LockRequest {
    granted: oneshot::Receiver<Option<HeldLock>>,
    abort: AbortController,
}

impl LockRequest {
    /// Waits for the lock. `None` where the browser took the request back.
    pub(crate) async fn granted(&mut self) -> Option<HeldLock> {
        (&mut self.granted).await.ok().flatten()
    }
}

impl Drop for LockRequest {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// The lock if nobody holds it. Without Web Locks (a page over plain HTTP) it is always free:
/// every tab is then its own owner.
pub(crate) async fn try_hold(name: &str) -> Option<HeldLock> {
    let Some(manager) = manager() else {
        tracing::warn!("no Web Locks here: several tabs of this site will be one peer twice");
        return Some(HeldLock { release: None });
    };
    let options = Object::new();
    set(&options, "ifAvailable", &JsValue::TRUE);
    request(&manager, name, &options).await.ok().flatten()
}

/// Asks for the lock and waits in line.
pub(crate) fn wait_for(name: &str) -> Option<LockRequest> {
    let manager = manager()?;
    let abort = AbortController::new().ok()?;
    let options = Object::new();
    set(&options, "signal", &abort.signal());
    Some(LockRequest {
        granted: request(&manager, name, &options),
        abort,
    })
}

fn request(
    manager: &LockManager,
    name: &str,
    options: &Object,
) -> oneshot::Receiver<Option<HeldLock>> {
    let (sender, receiver) = oneshot::channel();
    let callback = Closure::once_into_js(move |lock: JsValue| {
        if lock.is_null() {
            sender.send(None).ok();
            return Promise::resolve(&JsValue::UNDEFINED);
        }
        let mut release = None;
        let held = Promise::new(&mut |resolve, _| release = Some(resolve));
        // Where nobody waits any more, the dropped lock is given back at once.
        sender.send(Some(HeldLock { release })).ok();
        held
    });
    if let Ok(promise) = manager.request(name, options, callback.unchecked_ref()) {
        // A request that was taken back rejects; the receiver sees its sender dropped.
        wasm_bindgen_futures::spawn_local(async move {
            wasm_bindgen_futures::JsFuture::from(promise).await.ok();
        });
    }
    receiver
}

fn manager() -> Option<LockManager> {
    let navigator = web_sys::window()?.navigator();
    let locks = Reflect::get(&navigator, &"locks".into()).ok()?;
    locks.is_object().then(|| locks.unchecked_into())
}

fn set(object: &Object, key: &str, value: &JsValue) {
    // A plain object of ours takes any property.
    Reflect::set(object, &key.into(), value).ok();
}
