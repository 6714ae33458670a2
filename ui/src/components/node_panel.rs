//! The node's state, the reason for it, and the three buttons that are always there.

use std::rc::Rc;

use thrum_protocol::view::{DonateLimits, DonationMode, DonationView, Snapshot, State};
use thrum_ui::state::Progress;
use thrum_ui::{format, words};
use yew::prelude::*;

use super::limits::Limits;
use super::progress_bar::ProgressBar;

/// What the buttons ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Donate,
    Finish,
    Forget,
    Pause,
}

#[derive(PartialEq, Properties)]
pub(crate) struct NodePanelProps {
    pub(crate) snapshot: Option<Rc<Snapshot>>,
    pub(crate) progress: Option<Progress>,
    pub(crate) limits: DonateLimits,
    pub(crate) on_wish: Callback<Wish>,
    pub(crate) on_limits: Callback<DonateLimits>,
}

#[component]
pub(crate) fn NodePanel(props: &NodePanelProps) -> Html {
    let snapshot = props.snapshot.as_deref();
    let state = snapshot.map_or(State::Connecting, |it| it.status.state);
    let reason = snapshot.map_or("Opening the identity of this tab…", |it| {
        it.status.reason.as_str()
    });
    let mode = snapshot.map_or(DonationMode::Off, |it| it.donation.mode);
    let token = words::state_token(state);
    html! {
        <section class="card node" aria-labelledby="node-title">
            <h2 id="node-title" class="unseen">{ "This node" }</h2>
            <p class="status" data-testid="status" data-state={token} data-donation={words::donation_token(mode)}>
                <span class={classes!("dot", token)} aria-hidden="true" />
                <span class="status-word">{ words::state(state) }</span>
                <span class="quiet">{ words::donation(mode) }</span>
            </p>
            <p class="reason" data-testid="status-reason">{ reason }</p>
            <p class="unseen" aria-live="polite">{ format!("{}: {}", words::state(state), words::steady(reason)) }</p>
            <div class="buttons" role="group" aria-label="Donation">
                { buttons(mode, snapshot.is_some(), &props.on_wish) }
            </div>
            if let Some(progress) = &props.progress {
                <ProgressBar progress={progress.clone()} />
            }
            { given(snapshot) }
            <Limits limits={props.limits} on_change={&props.on_limits} />
            <p class="small quiet storage" data-testid="storage-note"
                data-persistent={snapshot.map(|it| it.storage.persistent.to_string())}>
                { snapshot.map(storage) }
            </p>
            <p class="small">
                <button type="button" class="text-button" data-testid="forget"
                    onclick={props.on_wish.reform(|_: MouseEvent| Wish::Forget)}>
                    { "Forget this choice" }
                </button>
                <span class="quiet">{ " disconnects, and the page asks again." }</span>
            </p>
        </section>
    }
}

fn buttons(mode: DonationMode, running: bool, on_wish: &Callback<Wish>) -> Html {
    let (donate, can_donate, can_pause, can_finish) = match mode {
        DonationMode::Off => ("Donate this tab", true, false, false),
        DonationMode::On => ("Donating", false, true, true),
        DonationMode::Paused => ("Resume", true, false, true),
        DonationMode::Finishing => ("Donate again", true, true, false),
    };
    html! {
        <>
            { button(donate, "donate", Wish::Donate, running && can_donate, on_wish) }
            { button("Pause", "pause", Wish::Pause, running && can_pause, on_wish) }
            { button("Finish", "finish", Wish::Finish, running && can_finish, on_wish) }
        </>
    }
}

/// A button that keeps the focus when it cannot be used: `aria-disabled` instead of `disabled`.
fn button(
    words: &'static str,
    testid: &'static str,
    wish: Wish,
    usable: bool,
    on_wish: &Callback<Wish>,
) -> Html {
    let onclick = {
        let on_wish = on_wish.clone();
        Callback::from(move |_: MouseEvent| {
            if usable {
                on_wish.emit(wish);
            }
        })
    };
    let primary = (wish == Wish::Donate && usable).then_some("primary");
    let title = match wish {
        Wish::Donate => "Answer prompts of other tabs",
        Wish::Finish => "Finish what was taken, then stop donating",
        Wish::Forget => "Disconnect and ask again",
        Wish::Pause => "Stop computing for others at once",
    };
    html! {
        <button type="button" class={classes!("button", primary)} aria-disabled={(!usable).then_some("true")}
            {title} {onclick} data-testid={testid}>
            { words }
        </button>
    }
}

/// What this tab computed for others; as high while nothing is known, so that nothing jumps.
fn given(snapshot: Option<&Snapshot>) -> Html {
    let fact = |name: &str, value: fn(&DonationView) -> u64| {
        let value = snapshot.map(|it| format::count(value(&it.donation)));
        html! {
            <div>
                <dt>{ name }</dt>
                <dd class="number">{ value.unwrap_or_else(|| format::UNKNOWN.to_owned()) }</dd>
            </div>
        }
    };
    html! {
        <dl class="facts" data-testid="given">
            { fact("Computing for others", |donation| donation.jobs.len() as u64) }
            { fact("Answers given", |donation| donation.jobs_done) }
            { fact("Tokens given", |donation| donation.tokens_done) }
        </dl>
    }
}

fn storage(snapshot: &Snapshot) -> String {
    let storage = &snapshot.storage;
    match (&storage.reason, storage.persistent) {
        (_, true) => "Identity and choices are kept in this browser.".to_owned(),
        (Some(why), false) => {
            format!("Identity and choices are lost when this tab closes: {why}")
        }
        (None, false) => "Identity and choices are lost when this tab closes.".to_owned(),
    }
}
