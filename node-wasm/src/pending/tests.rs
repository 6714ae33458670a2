//! Answers that are asked anew.

use super::*;
use thrum_protocol::sampling::Sampling;
use thrum_protocol::task::PromptInput;
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::Route;
use wasm_bindgen_test::wasm_bindgen_test;

fn request(ask: u64) -> AskRequest {
    AskRequest {
        ask,
        model: None,
        input: PromptInput::Text("a".to_owned()),
        max_new_tokens: 8,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
        deadline_millis: Millis(1_000),
        truncation: Truncation::Disabled,
        route: Route::Auto,
    }
}

/// The text of ask 1 that is handed on for each delta, `None` for a failure.
fn handed_on(pending: &mut Pending, deltas: &[&str]) -> Vec<Option<String>> {
    let delta = |text: &&str| AskUpdate::Delta {
        index: 0,
        text: (*text).to_owned(),
        tokens: Vec::new(),
    };
    let updates = deltas.iter().map(delta);
    updates
        .filter_map(|update| pending.update(1, update))
        .map(|update| {
            let AskUpdate::Delta { text, .. } = update else {
                return None;
            };
            Some(text)
        })
        .collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| Some((*text).to_owned())).collect()
}

#[wasm_bindgen_test]
fn what_was_delivered_is_not_delivered_twice() {
    let mut pending = Pending::default();
    pending.begin(&request(1));
    assert_eq!(handed_on(&mut pending, &["ab", "cd"]), some(&["ab", "cd"]));
    assert_eq!(pending.anew(), (vec![request(1)], vec![]));
    assert_eq!(
        handed_on(&mut pending, &["a", "bcde", "f"]),
        some(&["", "e", "f"])
    );
    assert_eq!(pending.anew(), (vec![request(1)], vec![]));
    assert_eq!(handed_on(&mut pending, &["abcdef", "g"]), some(&["", "g"]));
}

#[wasm_bindgen_test]
fn another_answer_fails_rather_than_mix_with_the_first() {
    let mut pending = Pending::default();
    pending.begin(&request(1));
    handed_on(&mut pending, &["ab"]);
    pending.anew();
    assert_eq!(handed_on(&mut pending, &["ax", "b"]), [None]);
    assert_eq!(pending.anew(), (vec![], vec![]));
}

#[wasm_bindgen_test]
fn a_cancelled_ask_is_not_asked_anew() {
    let mut pending = Pending::default();
    pending.begin(&request(1));
    pending.begin(&request(2));
    pending.cancel(1);
    assert_eq!(pending.anew(), (vec![request(2)], vec![1]));
}
