//! The page's end of a real worker: orders over `postMessage`, and what a dead worker looks like.

#![cfg(target_arch = "wasm32")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the events it waits for"
)]

mod golden;
#[path = "../src/worker/mod.rs"]
pub mod worker;

use futures::StreamExt as _;
use futures::channel::mpsc;
use golden::{Golden, MODEL};
use thrum_node_wasm::engine_link::{
    BackendChoice, EngineEvent, EngineLink, ResolvedFile, ResolvedSource,
};
use thrum_protocol::id::ModelId;
use thrum_protocol::model::Backend;
use thrum_protocol::sampling::Sampling;
use thrum_protocol::task::{Prompt, PromptInput};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use web_sys::Blob;

wasm_bindgen_test_configure!(run_in_browser);

/// What the worker's own binary does; here it is in the test's.
#[wasm_bindgen]
pub fn run_worker() {
    worker::start();
}

/// A worker that panics as soon as it is up, inside a promise as all its code.
#[wasm_bindgen]
pub fn run_panicking_worker() {
    worker::start();
    wasm_bindgen_futures::spawn_local(async { panic!("on purpose") });
}

/// A script that starts this test's module and calls one of its exports.
fn script(export: &str) -> String {
    let origin = web_sys::window().and_then(|window| window.location().origin().ok());
    let module = format!(
        "{}/wasm-bindgen-test",
        origin.expect("a page has an origin")
    );
    let text = format!(
        "import init, {{ {export} }} from {module:?};
         await init({{ module_or_path: {:?} }});
         {export}();",
        format!("{module}_bg.wasm")
    );
    let parts = js_sys::Array::of1(&text.into());
    let properties = web_sys::BlobPropertyBag::new();
    properties.set_type("text/javascript");
    let blob = Blob::new_with_str_sequence_and_options(&parts, &properties);
    let blob = blob.expect("text makes a Blob");
    web_sys::Url::create_object_url_with_blob(&blob).expect("a Blob has an address")
}

fn spawn(url: &str) -> (EngineLink, mpsc::UnboundedReceiver<EngineEvent>) {
    let (sender, events) = mpsc::unbounded();
    let link = EngineLink::spawn(url, move |event| {
        sender.unbounded_send(event).unwrap_or_default();
    });
    (link.expect("the browser has module workers"), events)
}

fn demonstrator() -> ResolvedSource {
    let parts = js_sys::Array::of1(&js_sys::Uint8Array::from(MODEL));
    let blob = Blob::new_with_u8_array_sequence(&parts).expect("bytes make a Blob");
    ResolvedSource::files("demo", vec![ResolvedFile::Blob(blob)])
}

fn prompt(text: &str, max_new_tokens: u32) -> Prompt {
    Prompt {
        model: ModelId([0; 32]),
        input: PromptInput::Text(text.to_owned()),
        resumed: Vec::new(),
        max_new_tokens,
        sampling: Sampling {
            ignore_eos: true,
            ..Sampling::GREEDY
        },
        stop: Vec::new(),
        deadline_millis: Millis(60_000),
        truncation: Truncation::Disabled,
    }
}

async fn next_but_progress(events: &mut mpsc::UnboundedReceiver<EngineEvent>) -> EngineEvent {
    loop {
        let event = events.next().await.expect("the link is there");
        if !matches!(event, EngineEvent::Progress { .. }) {
            return event;
        }
    }
}

#[wasm_bindgen_test]
async fn a_worker_answers_through_the_link() {
    let (link, mut events) = spawn(&script("run_worker"));
    link.load(1, demonstrator(), BackendChoice::Cpu);
    let ready = next_but_progress(&mut events).await;
    assert!(
        matches!(
            ready,
            EngineEvent::Ready {
                backend: Backend::Cpu,
                ..
            }
        ),
        "{ready:?}"
    );

    let golden = Golden::read();
    let case = &golden.cases[0];
    link.run(7, &prompt(&case.text, 64), true);
    let mut ids = Vec::new();
    let prompt_tokens = loop {
        match next_but_progress(&mut events).await {
            EngineEvent::Tokens { job: 7, tokens } => ids.extend(tokens.iter().map(|it| it.id)),
            EngineEvent::Done {
                job: 7,
                prompt_tokens,
                ..
            } => break prompt_tokens,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(prompt_tokens as usize, case.tokens.len());
    assert_eq!(ids.len(), 64);
    case.check(&ids);

    link.run(8, &prompt("a>", 400), true);
    link.cancel(8);
    link.wake_after(Millis(600_000));
    link.wake_after(Millis(1));
    loop {
        match next_but_progress(&mut events).await {
            EngineEvent::Tokens { job: 8, .. } => {}
            EngineEvent::Wake => break,
            other => panic!("{other:?}"),
        }
    }

    link.terminate();
    link.run(9, &prompt("a>", 1), true);
    let failed = next_but_progress(&mut events).await;
    assert!(
        matches!(failed, EngineEvent::Failed { job: 9, .. }),
        "{failed:?}"
    );
    link.load(1, demonstrator(), BackendChoice::Cpu);
    let ready = next_but_progress(&mut events).await;
    assert!(matches!(ready, EngineEvent::Ready { .. }), "{ready:?}");
}

#[wasm_bindgen_test]
async fn a_panic_is_told_and_the_next_load_starts_another_worker() {
    let (link, mut events) = spawn(&script("run_panicking_worker"));
    link.wake_after(Millis(600_000));
    for _ in 0..2 {
        let lost = next_but_progress(&mut events).await;
        let EngineEvent::Lost { reason, .. } = lost else {
            panic!("{lost:?}")
        };
        assert!(reason.contains("on purpose"), "{reason}");
        assert_eq!(next_but_progress(&mut events).await, EngineEvent::Wake);
        link.load(1, demonstrator(), BackendChoice::Cpu);
    }
}

#[wasm_bindgen_test]
async fn a_script_that_does_not_load_is_told() {
    let (link, mut events) = spawn("/no-such-worker.js");
    for _ in 0..2 {
        let lost = next_but_progress(&mut events).await;
        assert!(matches!(lost, EngineEvent::Lost { .. }), "{lost:?}");
        link.load(1, demonstrator(), BackendChoice::Cpu);
    }
}

/// A module whose `init` is refused, as when its wasm is missing.
#[wasm_bindgen_test]
async fn a_module_that_does_not_start_is_told() {
    let (_link, mut events) =
        spawn("data:text/javascript,await Promise.reject(new Error('no wasm'))");
    let lost = next_but_progress(&mut events).await;
    let EngineEvent::Lost { reason, .. } = lost else {
        panic!("{lost:?}")
    };
    assert!(reason.contains("no wasm"), "{reason}");
}
