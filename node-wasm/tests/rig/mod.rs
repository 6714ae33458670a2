//! A worker's loop in the test's own worker, and the model it is tested with.

use crate::worker::messages::{
    BackendChoice, EngineEvent, Inspection, LoadSource, Order, SourceFile, Trouble, UrlFile,
};
use crate::worker::{Inbound, Surroundings, serve};
use futures::StreamExt as _;
use futures::channel::mpsc;
use thrum_protocol::id::ModelId;
use thrum_protocol::model::Backend;
use thrum_protocol::sampling::Sampling;
use thrum_protocol::task::{FinishReason, Prompt, PromptInput};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::{Discarded, Truncation};
use web_sys::Blob;

use crate::golden::MODEL;

/// Orders in, events out.
pub(crate) struct Rig {
    orders: mpsc::Sender<Inbound>,
    events: mpsc::UnboundedReceiver<EngineEvent>,
    last_load: u64,
    /// what models are loaded with
    pub(crate) threads: u32,
}

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) ids: Vec<u32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) finish_reason: FinishReason,
    pub(crate) prompt_tokens: u32,
    pub(crate) trimmed_bytes: u32,
    pub(crate) discarded: Discarded,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(Surroundings::of_this_machine())
    }

    pub(crate) fn with(surroundings: Surroundings) -> Self {
        let (orders, inbound) = mpsc::channel(64);
        let (sender, events) = mpsc::unbounded();
        wasm_bindgen_futures::spawn_local(async move {
            let tell = move |event| sender.unbounded_send(event).unwrap_or_default();
            serve(inbound, tell, surroundings)
                .await
                .expect("this browser has message channels");
        });
        Self {
            orders,
            events,
            last_load: 0,
            threads: 1,
        }
    }

    /// A loop that holds the demonstrator.
    pub(crate) async fn loaded(backend: BackendChoice) -> Self {
        let mut rig = Self::new();
        rig.load_blob(MODEL, backend);
        rig.ready().await;
        rig
    }

    pub(crate) fn order(&mut self, order: Order) {
        self.order_with(order, Vec::new());
    }

    pub(crate) fn order_with(&mut self, order: Order, blobs: Vec<Blob>) {
        self.orders
            .try_send((order, blobs))
            .expect("the loop listens");
    }

    pub(crate) fn load_blob(&mut self, bytes: &[u8], backend: BackendChoice) {
        self.load(file_source(), vec![blob(bytes)], backend);
    }

    /// Gives the number of the order.
    pub(crate) fn load(
        &mut self,
        source: LoadSource,
        blobs: Vec<Blob>,
        backend: BackendChoice,
    ) -> u64 {
        self.last_load += 1;
        let load = self.last_load;
        let order = Order::Load {
            load,
            source,
            backend,
            threads: Some(self.threads),
        };
        self.orders
            .try_send((order, blobs))
            .expect("the loop listens");
        load
    }

    /// What is said of a model that is not loaded.
    pub(crate) async fn inspect(
        &mut self,
        source: LoadSource,
        blobs: Vec<Blob>,
    ) -> Result<Inspection, Trouble> {
        let order = Order::Inspect {
            inspection: 1,
            source,
            backend: BackendChoice::Cpu,
            threads: Some(self.threads),
        };
        self.orders
            .try_send((order, blobs))
            .expect("the loop listens");
        let mut seen = self
            .until(|event| matches!(event, EngineEvent::Inspected { .. }))
            .await;
        match seen.pop() {
            Some(EngineEvent::Inspected { result, .. }) => result.map(|it| *it),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn load_url(&mut self, url: &str, sha256: Option<ModelId>, bytes: Option<u64>) {
        self.load(
            url_source(url, sha256, bytes),
            Vec::new(),
            BackendChoice::Cpu,
        );
    }

    pub(crate) fn run(&mut self, job: u64, prompt: &Prompt, local: bool) {
        self.order(Order::Run {
            job,
            prompt: Box::new(prompt.clone()),
            local,
        });
    }

    pub(crate) fn cancel(&mut self, job: u64) {
        self.order(Order::Cancel { job });
    }

    pub(crate) async fn event(&mut self) -> EngineEvent {
        self.events.next().await.expect("the loop runs")
    }

    /// The events up to the first that `wanted` accepts, that one included.
    pub(crate) async fn until(
        &mut self,
        wanted: impl Fn(&EngineEvent) -> bool,
    ) -> Vec<EngineEvent> {
        let mut seen = Vec::new();
        loop {
            let event = self.event().await;
            let found = wanted(&event);
            seen.push(event);
            if found {
                return seen;
            }
        }
    }

    /// Everything until the model is ready, and what computes.
    pub(crate) async fn ready(&mut self) -> (Vec<EngineEvent>, Backend) {
        let seen = self.settled().await;
        match seen.last() {
            Some(EngineEvent::Ready { backend, .. }) => {
                let backend = *backend;
                (seen, backend)
            }
            other => panic!("the model is not ready: {other:?}"),
        }
    }

    /// Why loading failed.
    pub(crate) async fn refusal(&mut self) -> (Vec<EngineEvent>, String) {
        let mut seen = self.settled().await;
        match seen.pop() {
            Some(
                EngineEvent::Lost { reason, .. }
                | EngineEvent::NotLoaded {
                    trouble: Trouble { reason, .. },
                    ..
                },
            ) => (seen, reason),
            other => panic!("the model was taken: {other:?}"),
        }
    }

    pub(crate) async fn settled(&mut self) -> Vec<EngineEvent> {
        let last = self.last_load;
        let is_end = |event: &EngineEvent| match event {
            EngineEvent::Ready { .. } | EngineEvent::Lost { .. } => true,
            EngineEvent::NotLoaded { load, .. } => *load == last,
            _ => false,
        };
        self.until(is_end).await
    }

    /// Runs one job alone.
    pub(crate) async fn answer(&mut self, prompt: &Prompt) -> Outcome {
        const JOB: u64 = 1 << 60;
        self.run(JOB, prompt, true);
        self.outcome(JOB).await
    }

    /// The rest of a job.
    pub(crate) async fn outcome(&mut self, wanted: u64) -> Outcome {
        let ends = |event: &EngineEvent| match event {
            EngineEvent::Done { job, .. } | EngineEvent::Failed { job, .. } => *job == wanted,
            event => matches!(event, EngineEvent::Lost { .. }),
        };
        Outcome::of(wanted, &self.until(ends).await)
    }
}

impl Outcome {
    /// What `events` say of a job that is done.
    pub(crate) fn of(wanted: u64, events: &[EngineEvent]) -> Self {
        let (mut ids, mut bytes) = (Vec::new(), Vec::new());
        for event in events {
            match event {
                EngineEvent::Tokens { job, tokens } if *job == wanted => {
                    ids.extend(tokens.iter().map(|token| token.id));
                    bytes.extend(tokens.iter().flat_map(|token| &token.piece));
                }
                EngineEvent::Done {
                    job,
                    finish_reason,
                    prompt_tokens,
                    trimmed_bytes,
                    discarded,
                } if *job == wanted => {
                    return Self {
                        ids,
                        bytes,
                        finish_reason: *finish_reason,
                        prompt_tokens: *prompt_tokens,
                        trimmed_bytes: *trimmed_bytes,
                        discarded: *discarded,
                    };
                }
                _ => {}
            }
        }
        panic!("job {wanted} is not done: {:?}", events.last());
    }

    /// The answer without its stop string.
    pub(crate) fn text(&self) -> String {
        let end = self.bytes.len() - self.trimmed_bytes as usize;
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }
}

/// The file beside the order.
pub(crate) fn file_source() -> LoadSource {
    LoadSource::Files {
        name: "demo".to_owned(),
        files: vec![SourceFile::Blob],
    }
}

/// A file behind an address.
pub(crate) fn url_source(url: &str, sha256: Option<ModelId>, bytes: Option<u64>) -> LoadSource {
    let url = url.to_owned();
    LoadSource::Files {
        name: "demo".to_owned(),
        files: vec![SourceFile::Url(UrlFile { url, sha256, bytes })],
    }
}

/// A greedy prompt of plain text.
pub(crate) fn prompt(text: &str, max_new_tokens: u32) -> Prompt {
    Prompt {
        model: ModelId([0; 32]),
        input: PromptInput::Text(text.to_owned()),
        resumed: Vec::new(),
        max_new_tokens,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        deadline_millis: Millis(60_000),
        truncation: Truncation::Disabled,
    }
}

/// The same, with exactly as many tokens as are asked for.
pub(crate) fn endless(text: &str, max_new_tokens: u32) -> Prompt {
    let mut prompt = prompt(text, max_new_tokens);
    prompt.sampling.ignore_eos = true;
    prompt
}

pub(crate) fn blob(bytes: &[u8]) -> Blob {
    let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(bytes));
    Blob::new_with_u8_array_sequence(&parts).expect("bytes make a Blob")
}

/// An address behind which `bytes` are, in this worker.
pub(crate) fn url_of(bytes: &[u8]) -> String {
    web_sys::Url::create_object_url_with_blob(&blob(bytes)).expect("a Blob has an address")
}

pub(crate) fn sha256(bytes: &[u8]) -> ModelId {
    use sha2::Digest as _;
    ModelId(sha2::Sha256::digest(bytes).into())
}
