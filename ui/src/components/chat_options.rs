//! How to answer: tokens, temperature, seed, context.

use thrum_protocol::limits::{MAX_NEW_TOKENS, MAX_SAFE_INTEGER};
use thrum_ui::ask::{MAX_TEMPERATURE_MILLI, Options};
use web_sys::HtmlInputElement;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct ChatOptionsProps {
    pub(crate) options: Options,
    pub(crate) on_change: Callback<Options>,
}

#[component]
pub(crate) fn ChatOptions(props: &ChatOptionsProps) -> Html {
    let options = props.options;
    let typed = |change: fn(Options, &str) -> Option<Options>, shown: fn(Options) -> String| {
        let on_change = props.on_change.clone();
        Callback::from(move |event: Event| {
            let input: HtmlInputElement = event.target_unchecked_into();
            let next = change(options, input.value().trim()).unwrap_or(options);
            // The field shows what holds, also where something else was typed.
            input.set_value(&shown(next));
            on_change.emit(next);
        })
    };
    let context = {
        let on_change = props.on_change.clone();
        Callback::from(move |event: Event| {
            let input: HtmlInputElement = event.target_unchecked_into();
            on_change.emit(Options {
                keep_context: input.checked(),
                ..options
            });
        })
    };
    html! {
        <details class="options" data-testid="options">
            <summary>{ "Options" }</summary>
            <div class="options-fields">
                <div class="field">
                    <label for="max-tokens">{ "Tokens at most" }</label>
                    <input id="max-tokens" type="number" min="1" max={MAX_NEW_TOKENS.to_string()} step="1"
                        value={tokens(options)} onchange={typed(with_tokens, tokens)} data-testid="max-tokens" />
                </div>
                <div class="field">
                    <label for="temperature">{ "Temperature" }</label>
                    <input id="temperature" type="number" min="0" max="2" step="0.1"
                        value={temperature(options)} onchange={typed(with_temperature, temperature)}
                        aria-describedby="temperature-hint" data-testid="temperature" />
                </div>
                <div class="field">
                    <label for="seed">{ "Seed" }</label>
                    <input id="seed" type="number" min="0" max={MAX_SAFE_INTEGER.to_string()} step="1"
                        value={seed(options)} onchange={typed(with_seed, seed)} data-testid="seed" />
                </div>
                <p id="temperature-hint" class="quiet small options-hint">
                    { "Temperature 0 always takes the likeliest token. With the same seed, every peer gives the same answer." }
                </p>
                <label class="check">
                    <input type="checkbox" checked={options.keep_context} onchange={context} data-testid="keep-context" />
                    <span>
                        { "Keep context: send the earlier questions and answers along" }
                        <span class="quiet small">{ " (the demonstrator reads 512 bytes in all; where a model's context is full, the oldest go)" }</span>
                    </span>
                </label>
            </div>
        </details>
    }
}

fn tokens(options: Options) -> String {
    options.max_new_tokens.to_string()
}

fn with_tokens(options: Options, text: &str) -> Option<Options> {
    let max_new_tokens = text.parse::<u32>().ok()?.clamp(1, MAX_NEW_TOKENS);
    Some(Options {
        max_new_tokens,
        ..options
    })
}

fn temperature(options: Options) -> String {
    (f64::from(options.temperature_milli) / 1_000.0).to_string()
}

fn with_temperature(options: Options, text: &str) -> Option<Options> {
    let typed = text.parse::<f64>().ok().filter(|typed| typed.is_finite())?;
    let milli = (typed * 1_000.0).round();
    let temperature_milli = milli.clamp(0.0, f64::from(MAX_TEMPERATURE_MILLI)) as u32;
    Some(Options {
        temperature_milli,
        ..options
    })
}

fn seed(options: Options) -> String {
    options.seed.to_string()
}

fn with_seed(options: Options, text: &str) -> Option<Options> {
    let seed = text.parse::<u64>().ok()?.min(MAX_SAFE_INTEGER);
    Some(Options { seed, ..options })
}
