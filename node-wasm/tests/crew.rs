//! Several workers with private memories: the tokens of one worker, and a dead member is replaced.
//!
//! The pages of wasm-bindgen's test runner are cross-origin isolated. What a page does that is not
//! is tested with the embeddable module (`tests/browser/threads.test.mjs`).

#![cfg(target_arch = "wasm32")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the events it waits for"
)]

#[expect(dead_code, reason = "the rig needs its model")]
mod golden;
#[expect(dead_code, reason = "other tests use the rest")]
mod rig;
#[path = "../src/worker/mod.rs"]
#[expect(
    dead_code,
    reason = "the test stands in for the page, and brings its own seam"
)]
pub mod worker;

use rig::{Rig, endless};
use thrum_engine::cpu::crew::Patience;
use thrum_engine::quant::Format;
use thrum_engine::synthetic::SyntheticModel;
use thrum_protocol::limits::MAX_NEW_TOKENS;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::Threads;
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};
use worker::Surroundings;
use worker::messages::{BackendChoice, EngineEvent, Order};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// Large enough to be shared by four.
const SPEC: SyntheticModel = SyntheticModel {
    dim: 256,
    ffn_dim: 512,
    n_layers: 2,
    vocab_size: 517,
    context_len: 512,
    format: Format::Q4_0,
    ..SyntheticModel::SMALL
};

const TEXT: &str = "The same bits, whoever computes them, and however long the text is.";

async fn loaded(file: &[u8], threads: u32) -> (Rig, Option<Threads>) {
    load(Rig::new(), file, threads).await
}

async fn load(mut rig: Rig, file: &[u8], threads: u32) -> (Rig, Option<Threads>) {
    rig.threads = threads;
    rig.load_blob(file, BackendChoice::Cpu);
    let (events, _) = rig.ready().await;
    match events.last() {
        Some(EngineEvent::Ready { threads, .. }) => {
            let threads = threads.clone();
            (rig, threads)
        }
        other => panic!("{other:?}"),
    }
}

fn used(used: u32) -> Option<Threads> {
    Some(Threads { used, reason: None })
}

#[wasm_bindgen_test]
async fn several_threads_give_the_tokens_of_one() {
    let kinds = [
        (Format::Q4_0, true),
        (Format::Q4_K, false),
        (Format::F16, true),
    ];
    for (format, tied_output) in kinds {
        let file = SyntheticModel {
            format,
            tied_output,
            ..SPEC
        }
        .gguf();
        let (mut alone, threads) = loaded(&file, 1).await;
        assert_eq!(threads, used(1));
        let expected = alone.answer(&endless(TEXT, 24)).await;
        assert_eq!(expected.ids.len(), 24);
        for n in [2, 4] {
            let (mut rig, threads) = loaded(&file, n).await;
            assert_eq!(threads, used(n));
            let found = rig.answer(&endless(TEXT, 24)).await;
            assert_eq!(found, expected, "{n} threads, {}", format.name());
        }
    }
}

#[wasm_bindgen_test]
async fn a_model_that_is_too_small_is_computed_alone() {
    let file = SyntheticModel::SMALL.gguf();
    let (mut rig, threads) = loaded(&file, 3).await;
    let threads = threads.expect("the CPU computes");
    assert_eq!(threads.used, 1);
    assert!(threads.reason.expect("one").contains("too small"));
    assert_eq!(rig.answer(&endless("a", 4)).await.ids.len(), 4);
}

#[wasm_bindgen_test]
async fn an_answer_goes_on_after_a_member_was_lost_as_if_it_was_not() {
    let file = SPEC.gguf();
    let (mut rig, _) = loaded(&file, 3).await;
    let expected = rig.answer(&endless(TEXT, 400)).await;
    rig.run(1, &endless(TEXT, 400), true);
    rig.until(|event| matches!(event, EngineEvent::Tokens { job: 1, .. }))
        .await;
    rig.order(Order::DestroyDevice);
    let is_told = |event: &EngineEvent| match event {
        EngineEvent::Restoring { reason } => reason.contains("worker 3 of those that compute"),
        _ => false,
    };
    rig.until(is_told).await;
    // What came before was sent.
    let outcome = rig.outcome(1).await;
    assert!(expected.ids.ends_with(&outcome.ids));
    assert_eq!(rig.answer(&endless(TEXT, 400)).await, expected);
}

/// Keeps the workers that this one starts where [`die`] finds them.
const KEEP_WORKERS: &str = "
    const Real = globalThis.Worker;
    globalThis.kept = [];
    globalThis.Worker = class extends Real {
      constructor(...rest) { super(...rest); globalThis.kept.push(this); }
    };
";

/// Ends the last worker that was started without a word to anybody: neither it nor its leader says
/// so in the mailbox.
fn die() {
    js_sys::eval("globalThis.kept.at(-1).terminate()").expect("a worker was started");
}

#[wasm_bindgen_test]
async fn a_member_that_dies_without_a_word_is_missed_and_replaced() {
    js_sys::eval(KEEP_WORKERS).expect("a script");
    let file = SPEC.gguf();
    let surroundings = Surroundings {
        patience: Patience::new(20, 400),
        ..Surroundings::of_this_machine()
    };
    let (mut rig, threads) = load(Rig::with(surroundings), &file, 3).await;
    assert_eq!(threads, used(3));
    let expected = rig.answer(&endless(TEXT, 100)).await;
    // The browser may let it compute a while longer, so the answer is one that does not end.
    let mut long = endless(TEXT, MAX_NEW_TOKENS);
    long.truncation = Truncation::Auto;
    rig.run(1, &long, true);
    rig.until(|event| matches!(event, EngineEvent::Tokens { job: 1, .. }))
        .await;
    die();
    let is_missed = |event: &EngineEvent| match event {
        EngineEvent::Restoring { reason } => reason.contains("it gave no sign for 400 ms"),
        EngineEvent::Done { .. } => panic!("the answer ended, and nobody was missed"),
        _ => false,
    };
    rig.until(is_missed).await;
    // Somebody else computes its rows, and the answer goes on.
    rig.until(|event| matches!(event, EngineEvent::Tokens { job: 1, .. }))
        .await;
    rig.cancel(1);
    assert_eq!(rig.answer(&endless(TEXT, 100)).await, expected);
}

#[wasm_bindgen_test]
async fn another_model_gets_members_of_its_own() {
    let (mut rig, threads) = loaded(&SPEC.gguf(), 2).await;
    assert_eq!(threads, used(2));
    let file = SyntheticModel { seed: 9, ..SPEC }.gguf();
    rig.load_blob(&file, BackendChoice::Cpu);
    rig.ready().await;
    let found = rig.answer(&endless(TEXT, 20)).await;
    let (mut alone, _) = loaded(&file, 1).await;
    assert_eq!(found, alone.answer(&endless(TEXT, 20)).await);
}

#[wasm_bindgen_test]
async fn what_members_take_is_counted_before_the_download() {
    let file = SPEC.gguf();
    let mut bytes = Vec::new();
    for threads in [1, 2, 4] {
        let mut rig = Rig::new();
        rig.threads = threads;
        let told = rig
            .inspect(rig::file_source(), vec![rig::blob(&file)])
            .await;
        bytes.push(told.expect("a good file").memory_bytes);
    }
    assert!(bytes[0] < bytes[1] && bytes[1] < bytes[2], "{bytes:?}");
}
