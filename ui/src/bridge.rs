//! Between the dashboard and the node: starts it, passes commands, and turns its events into
//! actions. Answers go on at once; everything else is gathered and shown at most four times a
//! second, because a page that is redrawn for every log line has no time left.

use std::cell::RefCell;
use std::rc::Rc;

use futures::StreamExt;
use gloo_timers::callback::Timeout;
use thrum_node_wasm::{ModelSource, Node, NodeOptions};
use thrum_protocol::view::{Command, Event, LogLine, Snapshot};
use thrum_ui::log::MAX_LINES;
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
    /// a file instead of the relay's default model
    pub(crate) file: Option<File>,
    /// whether a remembered donation goes on
    pub(crate) resume_donation: bool,
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
            model: start.file.map(|file| ModelSource::Blob(file.into())),
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

    /// Loads a file, or the relay's default model again, in place of the model in the engine; done
    /// when it is loaded and measured.
    ///
    /// # Errors
    /// A sentence for people where it cannot be used.
    pub(crate) async fn load(&self, file: Option<File>) -> Result<(), String> {
        self.node
            .load_model_and_wait(file.map(|file| ModelSource::Blob(file.into())))
            .await
            .map(|_| ())
            .map_err(|fault| fault.to_string())
    }

    /// Leaves the peers and frees the worker.
    pub(crate) async fn close(&self) {
        self.node.close().await;
    }
}

async fn pump(node: Rc<Node>, sink: Callback<Action>) {
    let mut events = node.subscribe();
    let batch = SharedBatch::default();
    batch.borrow_mut().changed = true;
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
    let (lines, progress, changed) = {
        let mut batch = batch.borrow_mut();
        batch.timer = None;
        batch.shown_at = js_sys::Date::now();
        (
            std::mem::take(&mut batch.lines),
            batch.progress.take(),
            std::mem::take(&mut batch.changed),
        )
    };
    if !lines.is_empty() {
        sink.emit(Action::Logged(lines));
    }
    if let Some(progress) = progress {
        sink.emit(progress);
    }
    if !changed {
        return;
    }
    let Some(snapshot) = node.snapshot() else {
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

fn is_counting_down(snapshot: &Snapshot) -> bool {
    snapshot
        .relays
        .iter()
        .any(|relay| relay.retry_in_millis.is_some())
}
