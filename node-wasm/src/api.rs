//! What `js/thrum.js` calls: JSON text in, plain objects out. The shapes of the public API are made
//! there; the words are those of `thrum_protocol::view`.

use crate::catalogue;
use crate::errand::{FileText, SourceText, genome_source};
use crate::fault::Fault;
use crate::node::{Node, Role};
use crate::options::{BackendChoice, GenomeSource, IceServer, ModelSource, NodeOptions};
use futures::StreamExt as _;
use futures::future::{Either, select};
use js_sys::{Error, Function, JSON, Promise, Reflect};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::pin::pin;
use thrum_protocol::id::ModelId;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::JsFuture;
use web_sys::Blob;

/// `createNode`'s options as `thrum.js` passes them; a file travels beside them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    relays: Vec<String>,
    model: SourceText,
    backend: BackendChoice,
    threads: Option<u32>,
    ice_servers: Vec<IceServer>,
    ice_transport_policy: IceTransportPolicy,
    store: String,
    worker_url: String,
}

/// As `RTCConfiguration`'s.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum IceTransportPolicy {
    All,
    Relay,
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
pub async fn start_node(options: String, files: Vec<Blob>) -> Result<NodeHandle, JsValue> {
    let options: Options = read("createNode", &options)?;
    let options = NodeOptions {
        relays: options.relays,
        model: options.model.into_source(files),
        backend: options.backend,
        threads: options.threads,
        ice_servers: options.ice_servers,
        relay_only: matches!(options.ice_transport_policy, IceTransportPolicy::Relay),
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
        self.node.command(read("command", command)?);
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

    /// Loads a model and gives its `ModelOffer`. `source` is a `SourceText` in JSON; `stop` is
    /// resolved where nobody wants it any more.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    #[wasm_bindgen(js_name = loadModel)]
    pub async fn load_model(
        &self,
        source: String,
        files: Vec<Blob>,
        stop: Promise,
    ) -> Result<JsValue, JsValue> {
        let node = self.node.clone();
        let source = read_source(&source, files)?;
        or_stopped(node.load_model(source), stop).await
    }

    /// What a model is and whether it fits: an `Inspection`. As [`NodeHandle::load_model`].
    ///
    /// # Errors
    /// An `Error` with a `code`.
    #[wasm_bindgen(js_name = inspectModel)]
    pub async fn inspect_model(
        &self,
        source: String,
        files: Vec<Blob>,
        stop: Promise,
    ) -> Result<JsValue, JsValue> {
        let node = self.node.clone();
        let source = read_source(&source, files)?;
        or_stopped(node.inspect_model(source), stop).await
    }

    /// One vector for each text: `Embeddings`. As [`NodeHandle::load_model`].
    ///
    /// # Errors
    /// An `Error` with a `code`.
    pub async fn embed(&self, texts: Vec<String>, stop: Promise) -> Result<JsValue, JsValue> {
        let node = self.node.clone();
        or_stopped(node.embed(texts), stop).await
    }

    /// What the browser keeps: `KeptModels`.
    ///
    /// # Errors
    /// An `Error` where the node is closed.
    #[wasm_bindgen(js_name = keptModels)]
    pub async fn kept_models(&self) -> Result<JsValue, JsValue> {
        let node = self.node.clone();
        let kept = node.kept_models().await;
        kept.map(|kept| plain(&kept))
            .map_err(|fault| thrown(&fault))
    }

    /// Removes the files of the model with this id from what the browser keeps.
    ///
    /// # Errors
    /// An `Error` where `model` is no id, or the node is closed.
    #[wasm_bindgen(js_name = removeModel)]
    pub async fn remove_model(&self, model: String) -> Result<(), JsValue> {
        let node = self.node.clone();
        let id = read_id(&model)?;
        node.remove_model(id).await.map_err(|fault| thrown(&fault))
    }

    /// Takes a genome and gives its `Genome`. `source` is a `GenomeSource` in JSON. As
    /// [`NodeHandle::load_model`].
    ///
    /// # Errors
    /// An `Error` with a `code`.
    #[wasm_bindgen(js_name = loadGenome)]
    pub async fn load_genome(
        &self,
        source: String,
        files: Vec<Blob>,
        stop: Promise,
    ) -> Result<JsValue, JsValue> {
        let node = self.node.clone();
        let text: GenomeSource<FileText> = read("genome", &source)?;
        let source = genome_source(&text, files);
        let source = source.ok_or_else(|| invalid("genome", "a file is missing"))?;
        or_stopped(node.load_genome(source), stop).await
    }

    /// Every genome that this node has: a list of `Genome`.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    #[wasm_bindgen(js_name = listGenomes)]
    pub async fn list_genomes(&self) -> Result<JsValue, JsValue> {
        let node = self.node.clone();
        let genomes = node.genomes().await;
        genomes
            .map(|genomes| plain(&genomes))
            .map_err(|fault| thrown(&fault))
    }

    /// Forgets the genome with this id.
    ///
    /// # Errors
    /// An `Error` with a `code`.
    #[wasm_bindgen(js_name = removeGenome)]
    pub async fn remove_genome(&self, genome: String) -> Result<(), JsValue> {
        let node = self.node.clone();
        let id = read_id(&genome)?;
        node.remove_genome(id).await.map_err(|fault| thrown(&fault))
    }

    /// Takes leave of the peers and frees the worker.
    pub async fn close(&self) {
        let node = self.node.clone();
        node.close().await;
    }
}

fn read_id(text: &str) -> Result<ModelId, JsValue> {
    text.parse().map_err(|error| invalid("id", error))
}

fn read_source(source: &str, files: Vec<Blob>) -> Result<Option<ModelSource>, JsValue> {
    let text: SourceText = read("model", source)?;
    Ok(text.into_source(files))
}

/// What `text`, JSON of `thrum.js`, says; an error names the option it was given for.
fn read<T: DeserializeOwned>(option: &'static str, text: &str) -> Result<T, JsValue> {
    serde_json::from_str(text).map_err(|error| invalid(option, error))
}

fn invalid(option: &'static str, reason: impl Display) -> JsValue {
    let reason = reason.to_string();
    thrown(&Fault::InvalidOption { option, reason })
}

/// The result, or an error as soon as `stop` is resolved; the future is dropped then.
async fn or_stopped<T: Serialize>(
    future: impl Future<Output = Result<T, Fault>>,
    stop: Promise,
) -> Result<JsValue, JsValue> {
    let (future, stop) = (pin!(future), pin!(JsFuture::from(stop)));
    match select(future, stop).await {
        Either::Left((Ok(value), _)) => Ok(plain(&value)),
        Either::Left((Err(fault), _)) => Err(thrown(&fault)),
        Either::Right(_) => Err(Error::new("the request was aborted").into()),
    }
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
