//! A member's worker: a script of a few lines that starts this worker's module once more.

use super::Said;
use crate::worker::error::text_of;
use futures::channel::mpsc;
use js_sys::{Array, JsString, Uint8Array};
use thrum_engine::error::EngineError;
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Blob, BlobPropertyBag, Event, MessageEvent, Url, Worker, WorkerOptions, WorkerType};

/// What a member's worker is called, with its number behind.
pub(super) const NAME: &str = "thrum member";

/// The member's script. Its first message brings the address of the module's glue, whatever page or
/// bundle it came from, and the compiled module; every other is a call of `CrewMember`. What fails
/// is said twice: to the leader's event loop, and in the mailbox, where a leader looks that waits.
const SCRIPT: &str = r#"
let glue, member;
function fail(error) {
  const reason = String(globalThis.thrumPanic ?? error?.message ?? error);
  try { glue?.CrewMember.failed(reason); } catch { /* The leader sees that nothing comes. */ }
  postMessage(["failed", reason]);
}
onmessage = async ({ data: [what, ...rest] }) => {
  try {
    if (what === "start") {
      const [url, module] = rest;
      glue = await import(url);
      await glue.default({ module_or_path: module });
      member = new glue.CrewMember();
      postMessage(["up"]);
    } else if (what === "serve") {
      postMessage(["ready"]);
      member.serve();
      glue.CrewMember.failed("it was ended");
    } else {
      member[what](...rest);
    }
  } catch (error) {
    fail(error);
  }
};
"#;

#[wasm_bindgen]
extern "C" {
    type ImportMeta;

    #[wasm_bindgen(method, getter)]
    fn url(this: &ImportMeta) -> JsString;

    /// Of the module's glue.
    #[wasm_bindgen(thread_local_v2, js_namespace = import, js_name = meta)]
    static IMPORT_META: ImportMeta;
}

/// A member's worker. Dropping it ends it.
pub(super) struct Nested {
    number: usize,
    worker: Worker,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(Event)>,
}

impl Nested {
    /// # Errors
    /// What the browser says.
    pub(super) fn start(
        number: usize,
        said: mpsc::UnboundedSender<(usize, Said)>,
    ) -> Result<Self, String> {
        let worker = spawn(number).map_err(|thrown| text_of(&thrown))?;
        let on_message = Closure::<dyn FnMut(_)>::new({
            let said = said.clone();
            move |event: MessageEvent| {
                // Nobody listens any more where the members are about to be ended.
                said.unbounded_send((number, understood(&event.data())))
                    .ok();
            }
        });
        let on_error = Closure::<dyn FnMut(_)>::new(move |event: Event| {
            let message = js_sys::Reflect::get(&event, &"message".into()).ok();
            let message = message.and_then(|it| it.as_string());
            let reason = message.unwrap_or_else(|| "its script did not load".to_owned());
            said.unbounded_send((number, Said::Failed(reason))).ok();
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        let nested = Self {
            number,
            worker,
            _on_message: on_message,
            _on_error: on_error,
        };
        let url = IMPORT_META.with(ImportMeta::url);
        let start = ["start".into(), url.into(), wasm_bindgen::module()];
        nested
            .post(&start, None)
            .map_err(|error| error.to_string())?;
        Ok(nested)
    }

    /// Posts a call; bytes are copied once and handed over.
    ///
    /// # Errors
    /// [`EngineError::MemberLost`] where the browser throws.
    pub(super) fn post(&self, call: &[JsValue], bytes: Option<&[u8]>) -> Result<(), EngineError> {
        let message: Array = call.iter().collect();
        let handed = Array::new();
        if let Some(bytes) = bytes {
            let copy = Uint8Array::from(bytes);
            message.push(&copy);
            handed.push(&copy.buffer());
        }
        let posted = self.worker.post_message_with_transfer(&message, &handed);
        posted.map_err(|thrown| EngineError::MemberLost {
            member: self.number,
            reason: text_of(&thrown),
        })
    }

    pub(super) fn terminate(&self) {
        self.worker.terminate();
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

fn understood(data: &JsValue) -> Said {
    let parts: &Array = data.unchecked_ref();
    match parts.get(0).as_string().as_deref() {
        Some("up") => Said::Up,
        Some("ready") => Said::Ready,
        _ => Said::Failed(parts.get(1).as_string().unwrap_or_default()),
    }
}

/// A module worker of the script, with the headers that this worker has.
fn spawn(number: usize) -> Result<Worker, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    options.set_name(&format!("{NAME} {number}"));
    let properties = BlobPropertyBag::new();
    properties.set_type("text/javascript");
    let text = Array::of1(&SCRIPT.into());
    let script = Blob::new_with_str_sequence_and_options(&text, &properties)?;
    let url = Url::create_object_url_with_blob(&script)?;
    let worker = Worker::new_with_options(&url, &options);
    Url::revoke_object_url(&url)?;
    worker
}
