//! What a donation gives at most.

use thrum_protocol::limits::MAX_NEW_TOKENS;
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
        </fieldset>
    }
}
