//! The model in the engine, and how to load another one.

use thrum_protocol::model::Backend;
use thrum_protocol::view::ModelView;
use thrum_ui::catalogue::Listed;
use thrum_ui::format;
use web_sys::{File, HtmlInputElement};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct ModelPanelProps {
    /// in the engine
    pub(crate) loaded: Option<ModelView>,
    /// what computes
    pub(crate) backend: Option<Backend>,
    /// what would be loaded
    pub(crate) default: Option<Listed>,
    /// the name of the file that is used instead
    pub(crate) file: Option<String>,
    /// use this file
    pub(crate) on_file: Callback<File>,
    /// use the relay's default model again
    pub(crate) on_default: Callback<()>,
}

#[component]
pub(crate) fn ModelPanel(props: &ModelPanelProps) -> Html {
    let onchange = {
        let on_file = props.on_file.clone();
        Callback::from(move |event: Event| {
            let input: HtmlInputElement = event.target_unchecked_into();
            if let Some(file) = input.files().and_then(|files| files.get(0)) {
                on_file.emit(file);
            }
            // The same file can be chosen again after a failure.
            input.set_value("");
        })
    };
    html! {
        <section class="card model" aria-labelledby="model-title">
            <h2 id="model-title">{ "Model" }</h2>
            { current(props) }
            <div class="field file">
                <label for="model-file">{ "Load a .gguf file of your own" }</label>
                <input id="model-file" type="file" accept=".gguf" {onchange} aria-describedby="model-hint"
                    data-testid="model-file" />
                <span id="model-hint" class="quiet small">
                    { "Llama architecture; F32, F16, Q8_0 or Q4_0. It stays on this machine and is used until you reload." }
                </span>
            </div>
            if props.file.is_some() {
                <button type="button" class="button" data-testid="model-default"
                    onclick={props.on_default.reform(|_: MouseEvent| ())}>
                    { "Use the relay's model again" }
                </button>
            }
        </section>
    }
}

fn current(props: &ModelPanelProps) -> Html {
    if let Some(model) = &props.loaded {
        let backend = props
            .backend
            .map_or(format::UNKNOWN, |backend| match backend {
                Backend::Cpu => "CPU (WebAssembly)",
                Backend::Webgpu => "WebGPU",
            });
        return html! {
            <dl class="facts" data-testid="model" data-model-id={model.id.to_string()}>
                <div><dt>{ "Loaded" }</dt><dd>{ &model.name }</dd></div>
                <div><dt>{ "Context" }</dt><dd class="number">{ format::counted(model.context_tokens.into(), "token", "tokens") }</dd></div>
                <div><dt>{ "Computes on" }</dt><dd>{ backend }</dd></div>
            </dl>
        };
    }
    let words = match (&props.file, &props.default) {
        (Some(file), _) => format!("{file} is not loaded yet."),
        (None, Some(model)) => format!(
            "None loaded. {} ({}) is downloaded when this tab computes.",
            model.name,
            format::bytes(model.bytes)
        ),
        (None, None) => "None loaded.".to_owned(),
    };
    html! { <p class="quiet not-loaded">{ words }</p> }
}
