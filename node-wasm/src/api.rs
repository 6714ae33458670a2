//! What `js/thrum.js` calls: JSON text in, plain objects out. The shapes of the public API are made
//! there; the words are those of `thrum_protocol::view`.

use crate::catalogue;
use crate::fault::Fault;
use crate::node::{Node, Role};
use crate::options::{BackendChoice, ModelSource, NodeOptions};
use futures::StreamExt as _;
use js_sys::{Error, Function, JSON, Reflect};
use serde::{Deserialize, Serialize};
use thrum_protocol::id::ModelId;
use thrum_protocol::view::Command;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use web_sys::Blob;

/// `createNode`'s options as `thrum.js` passes them; a file travels beside them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    relays: Vec<String>,
    model: Option<String>,
    backend: BackendChoice,
    store: String,
    worker_url: String,
}

/// A node in the hands of `thrum.js`.
#[wasm_bindgen]
pub struct NodeHandle {
    node: Node,
}

/// Starts a node; `options` is JSON.
///
/// # Errors
/// An `Error` with a `code`.
#[wasm_bindgen(js_name = startNode)]
pub async fn start_node(options: String, file: Option<Blob>) -> Result<NodeHandle, JsValue> {
    let options: Options = serde_json::from_str(&options).map_err(|error| {
        let reason = error.to_string();
        thrown(&Fault::InvalidOption {
            option: "createNode",
            reason,
        })
    })?;
    let options = NodeOptions {
        relays: options.relays,
        model: source(options.model, file),
        backend: options.backend,
        store: options.store,
        worker_url: options.worker_url,
        resume_donation: false,
    };
    let node = Node::start(options).await.map_err(|fault| thrown(&fault))?;
    Ok(NodeHandle { node })
}

#[wasm_bindgen]
impl NodeHandle {
    /// The libp2p peer id.
    #[must_use]
    #[wasm_bindgen(getter, js_name = peerId)]
    pub fn peer_id(&self) -> String {
        self.node.peer_id().to_string()
    }

    /// `"owner"` or `"follower"`.
    #[must_use]
    #[wasm_bindgen(getter)]
    pub fn role(&self) -> String {
        match self.node.role() {
            Role::Follower => "follower".to_owned(),
            Role::Owner => "owner".to_owned(),
        }
    }

    /// A `Snapshot`, or `undefined` until the first is there.
    #[must_use]
    pub fn snapshot(&self) -> JsValue {
        self.node
            .snapshot()
            .map_or(JsValue::UNDEFINED, |snapshot| plain(&snapshot))
    }

    /// Does what a `Command` in JSON says.
    ///
    /// # Errors
    /// An `Error` where it is no command: a bug of `thrum.js`.
    pub fn command(&self, command: &str) -> Result<(), JsValue> {
        let command: Command = serde_json::from_str(command).map_err(|error| {
            let reason = error.to_string();
            thrown(&Fault::InvalidOption {
                option: "command",
                reason,
            })
        })?;
        self.node.command(command);
        Ok(())
    }

    /// Calls `listener` with every `Event`, and with `undefined` when there are no more.
    #[wasm_bindgen(js_name = onEvent)]
    pub fn on_event(&self, listener: Function) {
        let mut events = self.node.subscribe_from_here();
        wasm_bindgen_futures::spawn_local(async move {
            while let Some(event) = events.next().await {
                // What a listener throws is its own affair; `thrum.js` reports it.
                listener.call1(&JsValue::UNDEFINED, &plain(&event)).ok();
            }
            listener
                .call1(&JsValue::UNDEFINED, &JsValue::UNDEFINED)
                .ok();
        });
    }

    /// The catalogues of the node's relays.
    ///
    /// # Errors
    /// An `Error` with a `code` where no relay answers.
    #[wasm_bindgen(js_name = listModels)]
    pub async fn list_models(&self) -> Result<JsValue, JsValue> {
        // The borrow of `self` must not outlive the first wait: `thrum.js` may free it meanwhile.
        let relays = self.node.relays().to_vec();
        let listed = catalogue::list(&relays).await;
        let entries = listed.map_err(|failure| {
            let model = "catalogue".to_owned();
            thrown(&Fault::ModelUnavailable { model, failure })
        })?;
        Ok(plain(&entries))
    }

    /// Loads a model and gives its `ModelOffer`.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    #[wasm_bindgen(js_name = loadModel)]
    pub async fn load_model(
        &self,
        model: Option<String>,
        file: Option<Blob>,
    ) -> Result<JsValue, JsValue> {
        let node = self.node.clone();
        let loaded = node.load_model_and_wait(source(model, file)).await;
        loaded
            .map(|offer| plain(&offer))
            .map_err(|fault| thrown(&fault))
    }

    /// Removes the file with this SHA-256 from what the browser keeps.
    ///
    /// # Errors
    /// An `Error` where `model` is not the hexadecimal digest of a file.
    #[wasm_bindgen(js_name = removeModel)]
    pub fn remove_model(&self, model: &str) -> Result<(), JsValue> {
        let id: ModelId = model.parse().map_err(|error| {
            let reason = format!("{error}");
            thrown(&Fault::InvalidOption {
                option: "id",
                reason,
            })
        })?;
        self.node.forget_model(id);
        Ok(())
    }

    /// Takes leave of the peers and frees the worker.
    pub async fn close(&self) {
        let node = self.node.clone();
        node.close().await;
    }
}

fn source(model: Option<String>, file: Option<Blob>) -> Option<ModelSource> {
    let named = model.map(|text| ModelSource::from_text(&text));
    file.map(ModelSource::Blob).or(named)
}

/// `value` as a plain JavaScript object.
fn plain<T: Serialize>(value: &T) -> JsValue {
    let text = serde_json::to_string(value).expect("the view types have string keys only");
    JSON::parse(&text).expect("serde_json writes JSON")
}

fn thrown(fault: &Fault) -> JsValue {
    let error = Error::new(&fault.to_string());
    // A plain Error takes any property.
    Reflect::set(&error, &"code".into(), &fault.code().into()).ok();
    error.into()
}
