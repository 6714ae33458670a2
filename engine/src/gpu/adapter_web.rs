//! What the browser says of its adapter: wgpu passes on neither whether it is a fallback nor a name.

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;

use crate::gpu::device::{AdapterSummary, GpuOptions};

/// Names the adapter that the browser gives for `options`, which is the one that `info` describes.
pub(super) async fn summary(info: wgpu::AdapterInfo, options: GpuOptions) -> AdapterSummary {
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
    let gpu = property(&property(&js_sys::global(), "navigator")?, "gpu")?;
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
