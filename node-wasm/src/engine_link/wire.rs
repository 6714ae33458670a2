//! One worker at a time, its messages, and what is kept for the next one.
//!
//! Invariant: callbacks of a worker that was replaced or ended do nothing; each knows the number of
//! the worker it was made for.

use super::{EngineEvent, SpawnError, script};
use crate::fault::text_of;
use crate::worker::messages::{LossCause, MessageError, Order, Report, Trouble};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use thrum_protocol::time::Millis;
use thrum_protocol::view::LogLevel;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::Closure;
use web_sys::{Blob, Event, MessageEvent, Worker};

/// count; orders that wait for the worker to be up. A page gives a few in that second.
const MAX_WAITING: usize = 256;

/// The wire to the worker.
pub(super) struct Wire {
    shared: Rc<Shared>,
}

/// Who hears what happens.
type Listener = Box<dyn FnMut(EngineEvent)>;

/// What the browser's callbacks share with the link.
struct Shared {
    url: String,
    state: RefCell<State>,
    /// taken while it runs, so that it may use the link
    on_event: RefCell<Option<Listener>>,
    /// events that happened while `on_event` ran
    later: RefCell<VecDeque<EngineEvent>>,
}

struct State {
    running: Option<Running>,
    /// number of the last worker
    number: u64,
    /// the delay of the timer that was asked for while there was no worker
    wake_after: Option<Millis>,
    /// of the time, for others; none where nobody said
    share: Option<u32>,
    /// whose genomes; none where nobody said
    genomes: Option<String>,
}

struct Running {
    worker: Worker,
    number: u64,
    /// none once the worker is up
    waiting: Option<VecDeque<(Order, Vec<Blob>)>>,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(Event)>,
    _on_message_error: Closure<dyn FnMut(MessageEvent)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.set_onmessageerror(None);
        self.worker.terminate();
    }
}

impl Wire {
    pub(super) fn spawn(
        url: &str,
        on_event: impl FnMut(EngineEvent) + 'static,
    ) -> Result<Self, SpawnError> {
        let shared = Rc::new(Shared {
            url: url.to_owned(),
            state: RefCell::new(State {
                running: None,
                number: 0,
                wake_after: None,
                share: None,
                genomes: None,
            }),
            on_event: RefCell::new(Some(Box::new(on_event))),
            later: RefCell::default(),
        });
        shared.start()?;
        Ok(Self { shared })
    }

    /// Starts a worker if there is none.
    pub(super) fn revive(&self) {
        if self.shared.state.borrow().running.is_some() {
            return;
        }
        if let Err(error) = self.shared.start() {
            self.shared.tell(EngineEvent::Lost {
                cause: LossCause::EngineFailed,
                reason: error.to_string(),
            });
        }
    }

    /// Sends an order, or keeps it until the worker is up. Without a worker it is dropped: its
    /// jobs ended with it.
    pub(super) fn send(&self, order: Order, blobs: Vec<Blob>) {
        self.shared.send(order, blobs);
    }

    /// As [`Wire::send`], but without a worker the next one gets it.
    pub(super) fn wake_after(&self, delay: Millis) {
        self.shared.state.borrow_mut().wake_after = Some(delay);
        self.shared.send(Order::WakeAfter { delay }, Vec::new());
    }

    /// As [`Wire::send`], and every later worker gets it too.
    pub(super) fn share(&self, percent: u32) {
        self.shared.state.borrow_mut().share = Some(percent);
        self.shared.send(Order::Share { percent }, Vec::new());
    }

    /// As [`Wire::send`], and every later worker gets it first.
    pub(super) fn keep_genomes(&self, store: &str) {
        let store = store.to_owned();
        self.shared.state.borrow_mut().genomes = Some(store.clone());
        self.shared.send(Order::KeepGenomes { store }, Vec::new());
    }

    pub(super) fn terminate(&self) {
        let running = self.shared.state.borrow_mut().running.take();
        drop(running);
    }
}

impl Shared {
    fn start(self: &Rc<Self>) -> Result<(), SpawnError> {
        let worker = script::start(&self.url)?;
        let mut state = self.state.borrow_mut();
        state.number += 1;
        let number = state.number;
        let this = Rc::downgrade(self);
        let on_message = Closure::new(with(&this, move |this, event: MessageEvent| {
            this.take(number, &event);
        }));
        let on_error = Closure::new(with(&this, move |this, event: Event| {
            this.lose(
                number,
                format!("the engine's worker failed: {}", said(&event)),
            );
        }));
        let on_message_error = Closure::new(with(&this, move |this, _: MessageEvent| {
            this.lose(
                number,
                "a message of the engine's worker could not be read".to_owned(),
            );
        }));
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        worker.set_onmessageerror(Some(on_message_error.as_ref().unchecked_ref()));
        // What was said once for all outlives the worker that was told.
        let genomes = state.genomes.clone();
        let genomes = genomes.map(|store| Order::KeepGenomes { store });
        let timer = state.wake_after.map(|delay| Order::WakeAfter { delay });
        let share = state.share.map(|percent| Order::Share { percent });
        let kept = genomes
            .into_iter()
            .chain(timer)
            .chain(share)
            .map(|order| (order, Vec::new()));
        state.running = Some(Running {
            worker,
            number,
            waiting: Some(kept.collect()),
            _on_message: on_message,
            _on_error: on_error,
            _on_message_error: on_message_error,
        });
        Ok(())
    }

    fn send(&self, order: Order, blobs: Vec<Blob>) {
        let failure = match &mut self.state.borrow_mut().running {
            None => refusal(&order, "there is no engine"),
            Some(Running {
                waiting: Some(waiting),
                ..
            }) if waiting.len() < MAX_WAITING => {
                waiting.push_back((order, blobs));
                None
            }
            Some(Running {
                waiting: Some(_), ..
            }) => refusal(&order, "the engine is starting"),
            Some(Running {
                worker,
                waiting: None,
                ..
            }) => post(worker, &order, &blobs)
                .err()
                .map(|reason| EngineEvent::Log {
                    level: LogLevel::Error,
                    message: reason,
                }),
        };
        if let Some(event) = failure {
            self.tell(event);
        }
    }

    fn take(&self, number: u64, event: &MessageEvent) {
        if !self.is_current(number) {
            return;
        }
        match unpack(event) {
            Ok(Report::Up) => self.flush(),
            Ok(Report::Event(event)) => {
                if event == EngineEvent::Wake {
                    self.state.borrow_mut().wake_after = None;
                }
                self.tell(event);
            }
            Ok(Report::Crashed { reason }) => self.lose(number, reason),
            Err(error) => self.lose(number, error.to_string()),
        }
    }

    /// Sends what waited for the worker to be up.
    fn flush(&self) {
        let mut failed = None;
        if let Some(running) = &mut self.state.borrow_mut().running {
            for (order, blobs) in running.waiting.take().unwrap_or_default() {
                failed = post(&running.worker, &order, &blobs).err().or(failed);
            }
        }
        if let Some(message) = failed {
            self.tell(EngineEvent::Log {
                level: LogLevel::Error,
                message,
            });
        }
    }

    fn lose(&self, number: u64, reason: String) {
        if !self.is_current(number) {
            return;
        }
        let timer = {
            let mut state = self.state.borrow_mut();
            state.running = None;
            state.wake_after.is_some()
        };
        self.tell(EngineEvent::Lost {
            cause: LossCause::EngineFailed,
            reason,
        });
        // The machine is told the time whenever it is woken: too early is harmless, never is not.
        if timer {
            self.tell(EngineEvent::Wake);
        }
    }

    fn is_current(&self, number: u64) -> bool {
        self.state
            .borrow()
            .running
            .as_ref()
            .is_some_and(|running| running.number == number)
    }

    /// Hands an event on; events that arise meanwhile follow in order.
    fn tell(&self, event: EngineEvent) {
        self.later.borrow_mut().push_back(event);
        let Some(mut on_event) = self.on_event.borrow_mut().take() else {
            return;
        };
        loop {
            let next = self.later.borrow_mut().pop_front();
            let Some(event) = next else { break };
            on_event(event);
        }
        *self.on_event.borrow_mut() = Some(on_event);
    }
}

/// A callback that does nothing once the link is gone.
fn with<E: 'static>(
    shared: &Weak<Shared>,
    then: impl Fn(&Shared, E) + 'static,
) -> impl FnMut(E) + 'static {
    let shared = Weak::clone(shared);
    move |event| {
        if let Some(shared) = shared.upgrade() {
            then(&shared, event);
        }
    }
}

fn post(worker: &Worker, order: &Order, blobs: &[Blob]) -> Result<(), String> {
    let json = serde_json::to_string(order).map_err(|error| error.to_string())?;
    let parts = js_sys::Array::of1(&json.into());
    for blob in blobs {
        parts.push(blob);
    }
    worker
        .post_message(&parts)
        .map_err(|thrown| text_of(&thrown))
}

fn unpack(event: &MessageEvent) -> Result<Report, MessageError> {
    let json = event.data().as_string().ok_or(MessageError::NotText)?;
    Ok(serde_json::from_str(&json)?)
}

/// What an error event says. That of a script which does not load is a plain event without a word.
fn said(event: &Event) -> String {
    let message = js_sys::Reflect::get(event, &"message".into()).ok();
    let message = message.and_then(|message| message.as_string());
    message
        .filter(|message| !message.is_empty())
        .unwrap_or_else(|| "its script did not load".to_owned())
}

/// What the node must hear of an order that goes nowhere.
fn refusal(order: &Order, why: &str) -> Option<EngineEvent> {
    match order {
        Order::Run { job, .. } => Some(EngineEvent::Failed {
            job: *job,
            invalid_request: false,
            message: why.to_owned(),
        }),
        Order::Load { .. } => Some(EngineEvent::Lost {
            cause: LossCause::EngineFailed,
            reason: why.to_owned(),
        }),
        Order::Inspect { inspection, .. } => Some(EngineEvent::Inspected {
            inspection: *inspection,
            result: Err(failed(why)),
        }),
        Order::Embed { embedding, .. } => Some(EngineEvent::Embedded {
            embedding: *embedding,
            result: Err(failed(why)),
        }),
        Order::ListGenomes { list } => Some(EngineEvent::Genomes {
            list: *list,
            genomes: Err(why.to_owned()),
        }),
        Order::LoadGenome { load, .. } => Some(EngineEvent::GenomeLoaded {
            load: *load,
            result: Err(failed(why)),
        }),
        Order::RemoveGenome { removal, .. } => Some(EngineEvent::GenomeRemoved {
            removal: *removal,
            result: Err(failed(why)),
        }),
        Order::List { list } => Some(EngineEvent::Kept {
            list: *list,
            models: Err(why.to_owned()),
            used_bytes: None,
            quota_bytes: None,
        }),
        Order::Forget { model } => Some(EngineEvent::Forgotten { model: *model }),
        Order::Cancel { .. }
        | Order::DestroyDevice
        | Order::KeepGenomes { .. }
        | Order::Share { .. }
        | Order::StopEmbed { .. }
        | Order::StopGenome { .. }
        | Order::StopInspect { .. }
        | Order::StopLoad { .. }
        | Order::WakeAfter { .. } => None,
    }
}

fn failed(why: &str) -> Trouble {
    Trouble {
        cause: LossCause::EngineFailed,
        reason: why.to_owned(),
    }
}
