//! A prompt and its answer: the text as it comes, and who computed it how fast.

use std::rc::Rc;

use thrum_protocol::id::NodeId;
use thrum_protocol::task::FinishReason;
use thrum_ui::conversation::{Measured, Phase, Turn};
use thrum_ui::{format, words};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct TurnViewProps {
    pub(crate) turn: Rc<Turn>,
    /// this node, where it is known
    pub(crate) this_peer: Option<NodeId>,
}

#[component]
pub(crate) fn TurnView(props: &TurnViewProps) -> Html {
    let turn = &props.turn;
    let provider = turn.provider.map(|peer| peer.to_string());
    let code = match &turn.phase {
        Phase::Failed { code, .. } => Some(words::error_code(*code)),
        Phase::Done(_) | Phase::Stopped | Phase::Waiting | Phase::Writing => None,
    };
    html! {
        <li class="turn">
            <div class="asked">
                <span class="unseen">{ "You asked: " }</span>
                <p class="asked-text">{ &turn.prompt }</p>
            </div>
            <div class="answer" data-testid="answer" data-ask={turn.ask.to_string()} data-provider={provider}
                data-done={(!turn.is_open()).to_string()} data-error={code}
                data-attempts={turn.attempts.to_string()}>
                <span class="unseen">{ "Answer: " }</span>
                if turn.is_open() || !turn.text.is_empty() {
                    <p class="answer-text" data-testid="answer-text">
                        { &turn.text }
                        if turn.is_open() {
                            <span class="caret" aria-hidden="true" />
                        }
                    </p>
                }
                { for turn.retries.iter().map(|retry| html! {
                    <p class="answer-note">
                        { format!("{} failed: {}. Another peer went on.", name(Some(retry.provider), props.this_peer), retry.reason) }
                    </p>
                }) }
                { ending(turn, props.this_peer) }
            </div>
        </li>
    }
}

fn ending(turn: &Turn, this_peer: Option<NodeId>) -> Html {
    let by = name(turn.provider, this_peer);
    match &turn.phase {
        Phase::Waiting if turn.provider.is_none() => {
            html! { <p class="meta">{ "Looking for somebody who can answer…" }</p> }
        }
        Phase::Waiting => {
            html! { <p class="meta">{ format!("Asked {by}{}, waiting for the first token…", way(turn)) }</p> }
        }
        Phase::Writing => html! {
            <p class="meta">
                { format!("{by}{} · ", way(turn)) }
                <span class="number">{ format::counted(turn.tokens.into(), "token", "tokens") }</span>
            </p>
        },
        Phase::Stopped => html! { <p class="meta" data-testid="stopped">{ "Stopped." }</p> },
        Phase::Done(measured) => {
            html! { <p class="meta" data-testid="answer-meta">{ summary(turn, *measured, &by) }</p> }
        }
        Phase::Failed { code, message } => html! {
            <div class="fault" role="alert" data-testid="answer-error">
                <p><strong>{ "No answer: " }</strong>{ message }</p>
                <p>{ words::advice(*code) }</p>
            </div>
        },
    }
}

/// Who, how, how fast, after how long and at which attempt.
fn summary(turn: &Turn, measured: Measured, by: &str) -> String {
    let mut parts = vec![format!("{by}{}", way(turn))];
    if let Some(rate) = format::answer_rate(measured.completion_tokens, measured.total) {
        parts.push(format!("{} tok/s", format::rate(rate)));
    }
    parts.push(format!(
        "first token after {}",
        format::span(measured.first_token)
    ));
    parts.push(format::counted(
        measured.completion_tokens.into(),
        "token",
        "tokens",
    ));
    if turn.attempts > 1 {
        parts.push(format!("{} attempts", turn.attempts));
    }
    parts.extend(words::discarded(measured.discarded));
    match measured.finish_reason {
        FinishReason::Length => parts.push("cut at the limit of tokens".to_owned()),
        FinishReason::Stop => {}
    }
    parts.join(" · ")
}

fn name(provider: Option<NodeId>, this_peer: Option<NodeId>) -> String {
    match provider {
        None => "somebody".to_owned(),
        Some(peer) if Some(peer) == this_peer => "this tab".to_owned(),
        Some(peer) => format::short_id(peer),
    }
}

fn way(turn: &Turn) -> String {
    turn.path
        .map(|path| format!(" · {}", words::path(path)))
        .unwrap_or_default()
}
