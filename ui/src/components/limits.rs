//! What a donation gives at most.

use thrum_protocol::limits::{MAX_NEW_TOKENS, MIN_SHARE_PERCENT};
use thrum_protocol::view::DonateLimits;
use thrum_ui::choice::{MAX_SLOTS, MIN_TOKENS, within_limits};
use web_sys::HtmlInputElement;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct LimitsProps {
    pub(crate) limits: DonateLimits,
    pub(crate) on_change: Callback<DonateLimits>,
}

#[component]
pub(crate) fn Limits(props: &LimitsProps) -> Html {
    let limits = props.limits;
    let changed = |change: fn(&mut DonateLimits, u32)| {
        let on_change = props.on_change.clone();
        Callback::from(move |event: Event| {
            let input: HtmlInputElement = event.target_unchecked_into();
            let mut next = limits;
            if let Ok(value) = input.value().trim().parse() {
                change(&mut next, value);
            }
            let next = within_limits(next);
            // The field shows what holds, also where something else was typed.
            let shown = if input.id() == "limit-slots" {
                next.slots
            } else {
                next.max_new_tokens
            };
            input.set_value(&shown.to_string());
            on_change.emit(next);
        })
    };
    let share = {
        let on_change = props.on_change.clone();
        Callback::from(move |event: Event| {
            let input: HtmlInputElement = event.target_unchecked_into();
            let share_percent = input.value().parse().unwrap_or(limits.share_percent);
            on_change.emit(within_limits(DonateLimits {
                share_percent,
                ..limits
            }));
        })
    };
    html! {
        <fieldset class="limits">
            <legend>{ "What you give at most" }</legend>
            <div class="field">
                <label for="limit-slots">{ "Prompts at once" }</label>
                <input id="limit-slots" type="number" inputmode="numeric" min="1" max={MAX_SLOTS.to_string()} step="1"
                    value={limits.slots.to_string()} onchange={changed(|limits, value| limits.slots = value)}
                    data-testid="limit-slots" />
            </div>
            <div class="field">
                <label for="limit-tokens">{ "Tokens per prompt" }</label>
                <input id="limit-tokens" type="number" inputmode="numeric" min={MIN_TOKENS.to_string()}
                    max={MAX_NEW_TOKENS.to_string()} step="1" value={limits.max_new_tokens.to_string()}
                    onchange={changed(|limits, value| limits.max_new_tokens = value)} data-testid="limit-tokens" />
            </div>
            <div class="field share">
                <label for="limit-share">
                    { "Share of the time" }
                    <output class="number" for="limit-share">{ format!("{} %", limits.share_percent) }</output>
                </label>
                <input id="limit-share" type="range" min={MIN_SHARE_PERCENT.to_string()} max="100" step="5"
                    value={limits.share_percent.to_string()} onchange={share} aria-describedby="share-hint"
                    aria-valuetext={format!("{} percent", limits.share_percent)} data-testid="limit-share" />
                <span id="share-hint" class="quiet small">
                    { "The engine rests between steps for others. Your own prompts always run at full speed." }
                </span>
            </div>
        </fieldset>
    }
}
