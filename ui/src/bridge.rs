//! Between the dashboard and the node: starts it, passes commands, and turns its events into
//! actions. Answers go on at once; everything else is gathered and shown at most four times a
//! second, because a page that is redrawn for every log line has no time left.

use std::cell::RefCell;
use std::rc::Rc;

use futures::StreamExt;
use gloo_timers::callback::Timeout;
use thrum_node_wasm::{
    FileSource, GenomeFiles, GenomeSource, KeptModel, ModelSource, Node, NodeOptions,
};
use thrum_protocol::id::ModelId;
use thrum_protocol::view::{Command, Event, LogLine, Snapshot};
use thrum_ui::genomes::Genome;
use thrum_ui::log::MAX_LINES;
use thrum_ui::models::{Inspected, Kept, Storage};
use thrum_ui::state::{Action, Role};
use web_sys::File;
use yew::Callback;

use crate::browser;

/// ms; between two pictures of the node: four a second are calm and still feel live.
const PERIOD_MILLIS: f64 = 250.0;

/// ms; between two pictures while a relay's next try is counted down in seconds.
const COUNTDOWN_MILLIS: u32 = 1_000;

/// What to start the node with.
pub(crate) struct Start {
    /// database name: two names are two peers
    pub(crate) store: String,
    /// something else than the relay's default model
    pub(crate) model: ModelChoice,
    /// whether a remembered donation goes on
    pub(crate) resume_donation: bool,
}

/// A model that a person chose.
#[derive(Clone, Debug, Default)]
pub(crate) enum ModelChoice {
    /// the file or files behind this address
    Address(String),
    /// the relay's default
    #[default]
    Default,
    /// files of their own
    Files(Vec<File>),
    /// one that the browser keeps, by its id
    Kept(String),
}

impl ModelChoice {
    fn source(&self) -> Option<ModelSource> {
        match self {
            Self::Address(url) => {
                let (url, sha256) = (url.clone(), None);
                Some(ModelSource::Files(vec![FileSource::Url { url, sha256 }]))
            }
            Self::Default => None,
            Self::Files(files) => {
                let blobs = files
                    .iter()
                    .map(|file| FileSource::Blob(file.clone().into()));
                Some(ModelSource::Files(blobs.collect()))
            }
            Self::Kept(id) => Some(ModelSource::Catalogue(id.clone())),
        }
    }
}

/// The running node.
pub(crate) struct Bridge {
    node: Rc<Node>,
}

/// What was not shown yet.
#[derive(Default)]
struct Batch {
    lines: Vec<LogLine>,
    progress: Option<Action>,
    changed: bool,
    /// genomes came or went, or another model is to wear them
    genomes: bool,
    /// the model in the engine
    model: Option<ModelId>,
    /// when the last picture was taken, in ms since 1970
    shown_at: f64,
    timer: Option<Due>,
}

/// A timer and when it rings, in ms since 1970.
struct Due {
    at: f64,
    _timer: Timeout,
}

/// The pending batch; shared by the event loop and the timer that ends it.
type SharedBatch = Rc<RefCell<Batch>>;

impl Bridge {
    /// Starts the node of this origin and store, or joins the one of another tab.
    ///
    /// # Errors
    /// A sentence for people where it cannot run.
    pub(crate) async fn start(start: Start, sink: Callback<Action>) -> Result<Self, String> {
        let node = Node::start(NodeOptions {
            relays: vec![browser::origin()],
            model: start.model.source(),
            store: start.store,
            resume_donation: start.resume_donation,
            ..NodeOptions::default()
        })
        .await
        .map_err(|fault| fault.to_string())?;
        let node = Rc::new(node);
        wasm_bindgen_futures::spawn_local(pump(Rc::clone(&node), sink));
        Ok(Self { node })
    }

    /// Passes a command on.
    pub(crate) fn command(&self, command: Command) {
        self.node.command(command);
    }

    /// Loads a model in place of the model in the engine; done when it is loaded and measured.
    /// Dropping the future stops it.
    ///
    /// # Errors
    /// A sentence for people where it cannot be used.
    pub(crate) async fn load(&self, choice: &ModelChoice) -> Result<(), String> {
        let loaded = self.node.load_model(choice.source()).await;
        loaded.map(drop).map_err(|fault| fault.to_string())
    }

    /// What a model is and whether it fits. Dropping the future stops it.
    ///
    /// # Errors
    /// A sentence for people where it cannot be said.
    pub(crate) async fn inspect(&self, choice: &ModelChoice) -> Result<Inspected, String> {
        let told = self.node.inspect_model(choice.source()).await;
        let told = told.map_err(|fault| fault.to_string())?;
        Ok(Inspected {
            name: told.name,
            architecture: told.architecture,
            parameters: told.parameters,
            format: told.format,
            download_bytes: told.download_bytes,
            weight_bytes: told.weight_bytes,
            kv_bytes: told.kv_bytes,
            memory_bytes: told.memory_bytes,
            available_bytes: told.available_bytes,
            free_storage_bytes: told.free_storage_bytes,
            context_tokens: told.context_tokens,
            fits: told.fits,
            reason: told.reason,
        })
    }

    /// What the browser keeps; nothing where the node is closed.
    pub(crate) async fn storage(&self) -> Storage {
        let kept = self.node.kept_models().await.unwrap_or_default();
        let model = |model: KeptModel| Kept {
            id: model.id.to_string(),
            name: model.name,
            bytes: model.bytes,
            total_bytes: model.total_bytes,
            complete: model.complete,
            day: browser::day(model.saved_millis),
            source: model.source,
        };
        Storage {
            models: kept.models.into_iter().map(model).collect(),
            trouble: kept.trouble,
            used_bytes: kept.used_bytes,
            quota_bytes: kept.quota_bytes,
        }
    }

    /// Removes a model from what the browser keeps.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), String> {
        let id: ModelId = id.parse().map_err(|error| format!("{error}"))?;
        let removed = self.node.remove_model(id).await;
        removed.map_err(|fault| fault.to_string())
    }

    /// Has the genome in these files: one of GGUF, or the two that PEFT saves. Dropping the future
    /// stops it.
    ///
    /// # Errors
    /// A sentence for people where it cannot be worn.
    pub(crate) async fn load_genome(&self, files: &[File]) -> Result<(), String> {
        let loaded = self.node.load_genome(genome_source(files)?).await;
        loaded.map(drop).map_err(|fault| fault.to_string())
    }

    /// Is rid of a genome.
    ///
    /// # Errors
    /// A sentence for people.
    pub(crate) async fn remove_genome(&self, id: ModelId) -> Result<(), String> {
        let removed = self.node.remove_genome(id).await;
        removed.map_err(|fault| fault.to_string())
    }

    /// Leaves the peers and frees the worker.
    pub(crate) async fn close(&self) {
        self.node.close().await;
    }
}

/// The genome in files that a person chose together, in whichever order.
fn genome_source(files: &[File]) -> Result<GenomeSource<FileSource>, String> {
    let blob = |file: &File| FileSource::Blob(file.clone().into());
    let ending = |ending: &str| files.iter().find(|file| file.name().ends_with(ending));
    let (files, place) = match (files, ending(".json"), ending(".safetensors")) {
        ([one], None, None) => {
            let name = one.name();
            let place = name.strip_suffix(".gguf").unwrap_or(&name).to_owned();
            (GenomeFiles::Gguf(blob(one)), Some(place))
        }
        ([_, _], Some(config), Some(weights)) => {
            let (config, weights) = (blob(config), blob(weights));
            (GenomeFiles::Peft { config, weights }, None)
        }
        _ => {
            let why = "A genome is one .gguf file, or adapter_config.json and \
                       adapter_model.safetensors chosen together.";
            return Err(why.to_owned());
        }
    };
    Ok(GenomeSource {
        name: None,
        sha256: None,
        place,
        files,
    })
}

/// Every genome of the node; none where it is closed.
async fn genomes(node: &Node) -> Vec<Genome> {
    let told = node.genomes().await.unwrap_or_default();
    let genome = |genome: thrum_node_wasm::Genome| Genome {
        id: genome.id,
        name: genome.name,
        rank: genome.rank,
        targets: genome.targets.len(),
        bytes: genome.bytes,
        base: genome.base,
        fits: genome.fits,
        reason: genome.reason,
        kept: genome.kept,
    };
    told.into_iter().map(genome).collect()
}

async fn pump(node: Rc<Node>, sink: Callback<Action>) {
    let mut events = node.subscribe();
    let batch = SharedBatch::default();
    {
        let mut batch = batch.borrow_mut();
        (batch.changed, batch.genomes) = (true, true);
    }
    schedule(&node, &batch, &sink, 0);
    while let Some(event) = events.next().await {
        match event {
            Event::Ask { ask, update } => {
                sink.emit(Action::Answered { ask, update });
                continue;
            }
            Event::Log(line) => {
                let mut batch = batch.borrow_mut();
                // More than the page keeps would be thrown away there.
                if batch.lines.len() == MAX_LINES {
                    batch.lines.remove(0);
                }
                batch.lines.push(line);
            }
            Event::Genome { .. } => batch.borrow_mut().genomes = true,
            // A genome is small, and its panel says that it is on its way.
            Event::Progress { stage, .. } if stage == "genome" => continue,
            Event::Progress {
                stage,
                loaded,
                total,
            } => {
                batch.borrow_mut().progress = Some(Action::Progressed {
                    stage,
                    loaded,
                    total,
                });
            }
            Event::Changed | Event::Contribution { .. } | Event::Misbehaviour { .. } => {
                batch.borrow_mut().changed = true;
            }
        }
        let waited = js_sys::Date::now() - batch.borrow().shown_at;
        let rest = (PERIOD_MILLIS - waited).clamp(0.0, PERIOD_MILLIS);
        schedule(&node, &batch, &sink, rest as u32);
    }
}

/// Shows the batch after a while, unless that is due earlier.
fn schedule(node: &Rc<Node>, batch: &SharedBatch, sink: &Callback<Action>, delay_millis: u32) {
    let at = js_sys::Date::now() + f64::from(delay_millis);
    if batch
        .borrow()
        .timer
        .as_ref()
        .is_some_and(|due| due.at <= at)
    {
        return;
    }
    let timer = Timeout::new(delay_millis, {
        let (node, batch, sink) = (Rc::clone(node), Rc::clone(batch), sink.clone());
        move || show(&node, &batch, &sink)
    });
    batch.borrow_mut().timer = Some(Due { at, _timer: timer });
}

fn show(node: &Rc<Node>, batch: &SharedBatch, sink: &Callback<Action>) {
    let (lines, progress, changed, came) = {
        let mut batch = batch.borrow_mut();
        batch.timer = None;
        batch.shown_at = js_sys::Date::now();
        (
            std::mem::take(&mut batch.lines),
            batch.progress.take(),
            std::mem::take(&mut batch.changed),
            std::mem::take(&mut batch.genomes),
        )
    };
    if !lines.is_empty() {
        sink.emit(Action::Logged(lines));
    }
    if let Some(progress) = progress {
        sink.emit(progress);
    }
    let snapshot = node.snapshot().filter(|_| changed);
    if came | is_another_model(batch, snapshot.as_ref()) {
        let (node, sink) = (Rc::clone(node), sink.clone());
        wasm_bindgen_futures::spawn_local(async move {
            sink.emit(Action::Genomes(Rc::new(genomes(&node).await)));
        });
    }
    let Some(snapshot) = snapshot else {
        return;
    };
    let counts_down = is_counting_down(&snapshot);
    let role = match node.role() {
        thrum_node_wasm::Role::Follower => Role::Follower,
        thrum_node_wasm::Role::Owner => Role::Owner,
    };
    sink.emit(Action::Seen {
        snapshot: Rc::new(snapshot),
        role,
    });
    if counts_down {
        batch.borrow_mut().changed = true;
        schedule(node, batch, sink, COUNTDOWN_MILLIS);
    }
}

/// Whether another model is loaded than when this was asked last.
fn is_another_model(batch: &SharedBatch, snapshot: Option<&Snapshot>) -> bool {
    let Some(snapshot) = snapshot else {
        return false;
    };
    let model = snapshot.model.as_ref().map(|model| model.id);
    std::mem::replace(&mut batch.borrow_mut().model, model) != model
}

fn is_counting_down(snapshot: &Snapshot) -> bool {
    snapshot
        .relays
        .iter()
        .any(|relay| relay.retry_in_millis.is_some())
}
