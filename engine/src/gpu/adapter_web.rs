//! What the browser says of its adapter, and what it is asked for behind wgpu's back: wgpu 29 passes
//! on neither whether the adapter is a fallback nor its name, and cannot ask for subgroups.

use std::borrow::Cow;
use std::cell::Cell;
use std::rc::Rc;

use js_sys::{Array, Function, Object, Promise, Reflect};
use thrum_shaders::Kernel;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, future_to_promise};

use crate::gpu::device::{AdapterSummary, GpuOptions, Offers};

const SUBGROUPS: &str = "subgroups";
const PACKED_DOT: &str = "packed_4x8_integer_dot_product";

/// Names the adapter that the browser gives for `options`, which is the one that `adapter` is.
pub(super) async fn summary(adapter: &wgpu::Adapter, options: GpuOptions) -> AdapterSummary {
    let info = adapter.get_info();
    let backend = info.backend.to_string();
    // A browser that does not answer has not said that this is a fallback.
    let Ok(told) = adapter_info(options).await else {
        return AdapterSummary {
            name: info.name,
            backend,
            is_fallback: false,
        };
    };
    let text = |key| {
        property(&told, key)
            .ok()
            .and_then(|value| value.as_string())
    };
    let words = ["vendor", "architecture", "description"]
        .into_iter()
        .filter_map(text);
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    let is_fallback = property(&told, "isFallbackAdapter").is_ok_and(|value| value.is_truthy());
    AdapterSummary {
        name: words.join(" "),
        backend,
        is_fallback,
    }
}

/// `(await navigator.gpu.requestAdapter(options)).info`, on a page or in a worker.
async fn adapter_info(options: GpuOptions) -> Result<JsValue, JsValue> {
    let gpu = browser_gpu()?;
    let request: Function = property(&gpu, "requestAdapter")?.dyn_into()?;
    let wish = Object::new();
    let power = if options.low_power {
        "low-power"
    } else {
        "high-performance"
    };
    Reflect::set(&wish, &"powerPreference".into(), &power.into())?;
    Reflect::set(
        &wish,
        &"forceFallbackAdapter".into(),
        &options.fallback_only.into(),
    )?;
    let promise: Promise = request.call1(&gpu, &wish)?.dyn_into()?;
    property(&JsFuture::from(promise).await?, "info")
}

/// # Errors
/// What JavaScript throws when `of` is no object.
fn property(of: &JsValue, key: &str) -> Result<JsValue, JsValue> {
    Reflect::get(of, &key.into())
}

/// Sees to it that the next device has subgroups where the adapter offers them: while this lives,
/// `navigator.gpu.requestAdapter` gives adapters whose `requestDevice` asks for them too.
#[derive(Debug)]
pub(super) struct Wish {
    /// `navigator.gpu`, where it could be changed.
    changed: Option<JsValue>,
    has_subgroups: Rc<Cell<bool>>,
}

impl Wish {
    /// Changes what can be changed; where nothing can, devices come without subgroups.
    pub(super) fn new() -> Self {
        let has_subgroups = Rc::new(Cell::new(false));
        Self {
            changed: change_request_adapter(Rc::clone(&has_subgroups)).ok(),
            has_subgroups,
        }
    }

    /// What a device of `_adapter` will offer to kernels, and the features to ask wgpu for.
    pub(super) fn offers(&self, _adapter: &wgpu::Adapter) -> (Offers, wgpu::Features) {
        let offers = Offers {
            subgroups: self.has_subgroups.get(),
            packed_dot: language_has(PACKED_DOT).unwrap_or(false),
        };
        (offers, wgpu::Features::empty())
    }

    /// The device is there: what was changed is changed back.
    pub(super) fn fulfilled(self) {}
}

impl Drop for Wish {
    fn drop(&mut self) {
        if let Some(gpu) = self.changed.take() {
            // The property that hid the prototype's.
            Reflect::delete_property(gpu.unchecked_ref(), &"requestAdapter".into()).ok();
        }
    }
}

/// Hides `requestAdapter` of `navigator.gpu`, which it returns, behind one that changes adapters.
fn change_request_adapter(has_subgroups: Rc<Cell<bool>>) -> Result<JsValue, JsValue> {
    let gpu = browser_gpu()?;
    let original: Function = property(&gpu, "requestAdapter")?.dyn_into()?;
    let this = gpu.clone();
    let changed = move |options: JsValue| -> JsValue {
        let answer = original.call1(&this, &options);
        let has_subgroups = Rc::clone(&has_subgroups);
        future_to_promise(async move {
            let promise: Promise = answer?.dyn_into()?;
            let adapter = JsFuture::from(promise).await?;
            // An adapter that cannot be changed is as good as it came.
            has_subgroups.set(change_request_device(&adapter).unwrap_or(false));
            Ok(adapter)
        })
        .into()
    };
    let changed = Closure::<dyn FnMut(JsValue) -> JsValue>::new(changed).into_js_value();
    Reflect::set(&gpu, &"requestAdapter".into(), &changed)?;
    Ok(gpu)
}

/// Makes `adapter.requestDevice` ask for subgroups; false when there are none to ask for.
fn change_request_device(adapter: &JsValue) -> Result<bool, JsValue> {
    if !has(&property(adapter, "features")?, SUBGROUPS)? {
        return Ok(false);
    }
    let original: Function = property(adapter, "requestDevice")?.dyn_into()?;
    let this = adapter.clone();
    let changed = move |descriptor: JsValue| -> JsValue {
        let features = property(&descriptor, "requiredFeatures")
            .ok()
            .and_then(|features| features.dyn_into::<Array>().ok())
            .unwrap_or_default();
        features.push(&SUBGROUPS.into());
        Reflect::set(&descriptor, &"requiredFeatures".into(), &features).ok();
        original
            .call1(&this, &descriptor)
            .unwrap_or_else(|error| Promise::reject(&error).into())
    };
    let changed = Closure::<dyn FnMut(JsValue) -> JsValue>::new(changed).into_js_value();
    Reflect::set(adapter, &"requestDevice".into(), &changed)
}

fn language_has(feature: &str) -> Result<bool, JsValue> {
    has(&property(&browser_gpu()?, "wgslLanguageFeatures")?, feature)
}

/// `set.has(key)`
fn has(set: &JsValue, key: &str) -> Result<bool, JsValue> {
    let has: Function = property(set, "has")?.dyn_into()?;
    Ok(has.call1(set, &key.into())?.is_truthy())
}

fn browser_gpu() -> Result<JsValue, JsValue> {
    property(&property(&js_sys::global(), "navigator")?, "gpu")
}

/// The text of `kernel` for this platform's compiler.
pub(super) fn source(kernel: &Kernel) -> Cow<'static, str> {
    match kernel.needs.subgroups() {
        true => Cow::Owned(format!("enable subgroups;\n{}", kernel.source)),
        false => Cow::Borrowed(kernel.source),
    }
}

/// Lets everything else that waits for this thread run first.
pub(super) async fn turn() {
    let Ok(channel) = web_turn() else { return };
    JsFuture::from(channel).await.ok();
}

/// A promise that is kept in a later turn of the event loop: promises alone would not let go.
fn web_turn() -> Result<Promise, JsValue> {
    let set_timeout: Function = property(&js_sys::global(), "setTimeout")?.dyn_into()?;
    Ok(Promise::new(&mut |resolve, _| {
        set_timeout.call1(&JsValue::UNDEFINED, &resolve).ok();
    }))
}
