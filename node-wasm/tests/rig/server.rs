//! A server in the test's own worker: `fetch` asks it for the addresses that it has, with ranges,
//! validators and connections that break or hang.

use js_sys::{Array, Function, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast as _, JsValue};

/// Takes the place of `fetch` for the addresses in `files`.
const SCRIPT: &str = r#"
  const real = self.fetch.bind(self);
  const server = { files: {}, log: [], sent: 0 };
  self.fetch = async (url, init = {}) => {
    const file = server.files[url];
    if (!file) return real(url, init);
    const asked = new Headers(init.headers);
    const range = asked.get("range"), ifRange = asked.get("if-range");
    server.log.push(`${range ?? "all"}${ifRange ? ` if ${ifRange}` : ""}`);
    if (file.status) return new Response("no", { status: file.status });
    const total = file.bytes.length;
    let from = 0, until = total, status = 200;
    const headers = file.etag ? { etag: file.etag } : {};
    if (range && file.ranges && (!ifRange || ifRange === file.etag)) {
      const [, first, last] = /bytes=(\d+)-(\d*)/.exec(range);
      from = Number(first);
      if (from >= total) return new Response(null, { status: 416 });
      until = last ? Math.min(total, Number(last) + 1) : total;
      status = 206;
      headers["content-range"] = `bytes ${from}-${until - 1}/${total}`;
    }
    headers["content-length"] = String(until - from);
    let at = from;
    const body = new ReadableStream({
      async pull(controller) {
        if (at >= file.breakAt) {
          delete file.breakAt;
          Object.assign(file, file.after);
          return controller.error(new TypeError("the connection broke"));
        }
        if (at >= file.hangAt) return new Promise(() => {});
        if (at >= until) return controller.close();
        const next = Math.min(at + 65536, until, file.breakAt ?? until, file.hangAt ?? until);
        controller.enqueue(file.bytes.slice(at, next));
        server.sent += next - at;
        at = next;
      },
    });
    return new Response(body, { status, headers });
  };
  server.close = () => { self.fetch = real; };
  return server;
"#;

/// The server, until it is dropped.
pub(crate) struct Server {
    handle: JsValue,
}

impl Server {
    pub(crate) fn start() -> Self {
        let script = Function::new_no_args(SCRIPT);
        let handle = script.call0(&JsValue::NULL).expect("the script runs");
        Self { handle }
    }

    /// Serves `bytes` under `url`; `traits` are in JSON.
    pub(crate) fn serve(&self, url: &str, bytes: &[u8], traits: &str) {
        let file: Object = js_sys::JSON::parse(traits).expect("JSON").unchecked_into();
        set(&file, "bytes", &Uint8Array::from(bytes));
        set(&get(&self.handle, "files"), url, &file);
    }

    /// What is served under `url` once its connection has broken.
    pub(crate) fn after(&self, url: &str, bytes: &[u8], traits: &str) {
        let later: Object = js_sys::JSON::parse(traits).expect("JSON").unchecked_into();
        set(&later, "bytes", &Uint8Array::from(bytes));
        set(&get(&get(&self.handle, "files"), url), "after", &later);
    }

    /// The ranges that were asked for since the last look.
    pub(crate) fn log(&self) -> Vec<String> {
        let log: Array = get(&self.handle, "log").unchecked_into();
        let lines = log.iter().filter_map(|line| line.as_string()).collect();
        log.set_length(0);
        lines
    }

    /// Bytes sent so far.
    pub(crate) fn sent(&self) -> f64 {
        get(&self.handle, "sent").as_f64().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let close: Function = get(&self.handle, "close").unchecked_into();
        close.call0(&JsValue::NULL).expect("it closes");
    }
}

fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).expect("an object")
}

fn set(object: &JsValue, name: &str, value: &JsValue) {
    Reflect::set(object, &name.into(), value).expect("an object");
}
