//! The engine's worker: a model, the answers it is giving, and one timer.
//!
//! 1. [`start`] listens to the page and says [`Report::Up`].
//! 2. [`serve`] takes one order or computes one slice of one answer, then lets the event loop run.
//!
//! Invariant: between two turns of the event loop lies at most one slice of work, so an order is
//! served within the time of a slice. The timer is set as its order arrives and needs no turn.
//!
//! Compiled into the worker's own binary and into its tests, without the rest of this crate; the
//! library has the messages alone.

mod answer;
mod bytes;
mod clock;
mod crash;
mod crew;
mod download;
mod embed;
mod error;
mod genomes;
mod headers;
mod inspect;
mod intake;
mod jobs;
mod keeping;
mod kept;
mod load;
mod machine;
pub mod messages;
mod probe;
mod restock;
mod restore;
mod serve;
mod speeds;
#[path = "../store/mod.rs"]
#[expect(dead_code, reason = "the page uses the rest")]
mod store;
mod tuned;

pub(crate) use serve::{Surroundings, serve};

use clock::{Timer, scope};
use futures::channel::mpsc;
use messages::{EngineEvent, MessageError, Order, Report};
use thrum_protocol::view::LogLevel;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{Blob, DedicatedWorkerGlobalScope, MessageEvent};

/// count; orders that arrived and are not served. A node gives a handful a second.
const MAX_ORDERS: usize = 1_024;

/// An order and the Blobs beside it.
pub(crate) type Inbound = (Order, Vec<Blob>);

/// Runs the worker until the page ends it. A member of a crew listens to its leader alone.
pub(crate) fn start() {
    if crew::is_member() {
        return;
    }
    crash::report_crashes();
    let (mut sender, orders) = mpsc::channel(MAX_ORDERS);
    let mut timer = Timer::new(|| tell(EngineEvent::Wake));
    let on_message =
        Closure::<dyn FnMut(_)>::new(move |event: MessageEvent| match unpack(&event.data()) {
            Ok((Order::WakeAfter { delay }, _)) => {
                if timer.wake_after(delay).is_err() {
                    log_error("the browser sets no timer".to_owned());
                }
            }
            Ok(inbound) => {
                if let Err(refused) = sender.try_send(inbound) {
                    refuse(&refused.into_inner().0);
                }
            }
            Err(error) => log_error(error.to_string()),
        });
    scope()
        .unchecked_into::<DedicatedWorkerGlobalScope>()
        .set_onmessage(Some(on_message.as_ref().unchecked_ref()));
    on_message.forget();
    post(&Report::Up);
    wasm_bindgen_futures::spawn_local(async {
        let surroundings = Surroundings::of_this_machine();
        if let Err(error) = serve(orders, tell, surroundings).await {
            post(&Report::Crashed {
                reason: error.to_string(),
            });
        }
    });
}

fn unpack(data: &JsValue) -> Result<Inbound, MessageError> {
    let parts = data
        .dyn_ref::<js_sys::Array>()
        .ok_or(MessageError::NotText)?;
    let json = parts.get(0).as_string().ok_or(MessageError::NotText)?;
    let blobs = parts.iter().skip(1).filter_map(|part| part.dyn_into().ok());
    Ok((serde_json::from_str(&json)?, blobs.collect()))
}

/// Says that an order found no place in the queue.
fn refuse(order: &Order) {
    match order {
        Order::Run { job, .. } => tell(EngineEvent::Failed {
            job: *job,
            invalid_request: false,
            message: "the engine's worker has too many orders waiting".to_owned(),
        }),
        Order::Cancel { .. }
        | Order::DestroyDevice
        | Order::Embed { .. }
        | Order::Forget { .. }
        | Order::Inspect { .. }
        | Order::KeepGenomes { .. }
        | Order::List { .. }
        | Order::ListGenomes { .. }
        | Order::Load { .. }
        | Order::LoadGenome { .. }
        | Order::RemoveGenome { .. }
        | Order::Share { .. }
        | Order::StopEmbed { .. }
        | Order::StopGenome { .. }
        | Order::StopInspect { .. }
        | Order::StopLoad { .. }
        | Order::WakeAfter { .. } => log_error(format!("too many orders waiting: {order:?}")),
    }
}

fn log_error(message: String) {
    tell(EngineEvent::Log {
        level: LogLevel::Error,
        message,
    });
}

fn tell(event: EngineEvent) {
    post(&Report::Event(event));
}

/// Posts a report to the page. A page that is gone ends the worker, so failure needs no handling.
fn post(report: &Report) {
    if let Ok(json) = serde_json::to_string(report) {
        scope()
            .unchecked_into::<DedicatedWorkerGlobalScope>()
            .post_message(&json.into())
            .ok();
    }
}
