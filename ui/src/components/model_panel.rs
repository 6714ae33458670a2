//! The model in the engine, and how to load another one.

use std::rc::Rc;

use thrum_protocol::model::Backend;
use thrum_protocol::view::ModelView;
use thrum_ui::catalogue::Listed;
use thrum_ui::format;
use thrum_ui::models::{Busy, Inspected, Storage};
use wasm_bindgen::JsCast as _;
use web_sys::{HtmlElement, HtmlInputElement};
use yew::prelude::*;

use super::kept_models::KeptModels;
use super::model_check::ModelCheck;
use crate::bridge::ModelChoice;

#[derive(PartialEq, Properties)]
pub(crate) struct ModelPanelProps {
    /// in the engine
    pub(crate) loaded: Option<ModelView>,
    /// what computes
    pub(crate) backend: Option<Backend>,
    /// with how many threads, where the CPU computes
    pub(crate) threads: Option<u32>,
    /// why they are fewer than were to be
    pub(crate) threads_reason: Option<String>,
    /// what would be loaded
    pub(crate) default: Option<Listed>,
    /// the name of what is used instead
    pub(crate) chosen: Option<String>,
    pub(crate) busy: Option<Busy>,
    /// looked at and not loaded yet
    pub(crate) inspected: Option<Rc<Inspected>>,
    pub(crate) storage: Option<Rc<Storage>>,
    pub(crate) on_wish: Callback<ModelWish>,
}

/// What a person wants of models.
#[derive(Clone, Debug)]
pub(crate) enum ModelWish {
    /// say what it is and whether it fits
    Check(ModelChoice),
    /// never mind what was looked at
    Dismiss,
    /// load what was looked at
    Load,
    /// remove a kept one, by its id
    Remove(String),
    /// stop what is being done
    Stop,
}

#[component]
pub(crate) fn ModelPanel(props: &ModelPanelProps) -> Html {
    let wish = |wish: ModelWish| props.on_wish.reform(move |_: MouseEvent| wish.clone());
    html! {
        <section class="card model" aria-labelledby="model-title">
            <h2 id="model-title">{ "Model" }</h2>
            { current(props) }
            if let Some(busy) = &props.busy {
                <p class="busy" role="status">
                    { match busy { Busy::Checking => "Reading the model's header… ", Busy::Loading => "Loading… " } }
                    <button type="button" class="text-button" data-testid="model-stop" onclick={wish(ModelWish::Stop)}>
                        { "Stop" }
                    </button>
                </p>
            }
            if let Some(inspected) = &props.inspected {
                <ModelCheck inspected={(**inspected).clone()} busy={props.busy.is_some()}
                    on_load={props.on_wish.reform(|()| ModelWish::Load)}
                    on_dismiss={props.on_wish.reform(|()| ModelWish::Dismiss)} />
            }
            { sources(props) }
            if let Some(storage) = &props.storage {
                <KeptModels storage={(**storage).clone()} loaded={props.loaded.as_ref().map(|it| it.id.to_string())}
                    on_check={props.on_wish.reform(|id| ModelWish::Check(ModelChoice::Kept(id)))}
                    on_remove={props.on_wish.reform(ModelWish::Remove)} />
            }
        </section>
    }
}

/// Where another model may come from.
fn sources(props: &ModelPanelProps) -> Html {
    let onchange = {
        let on_wish = props.on_wish.clone();
        Callback::from(move |event: Event| {
            let input: HtmlInputElement = event.target_unchecked_into();
            let list = input.files();
            let files = list
                .iter()
                .flat_map(|list| (0..list.length()).filter_map(|at| list.get(at)));
            let files: Vec<_> = files.collect();
            if !files.is_empty() {
                on_wish.emit(ModelWish::Check(ModelChoice::Files(files)));
            }
            // The same file can be chosen again after a failure.
            input.set_value("");
        })
    };
    let onsubmit = {
        let on_wish = props.on_wish.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            let form: HtmlElement = event.target_unchecked_into();
            let field = form.query_selector("input").ok().flatten();
            let typed = field.map(|field| field.unchecked_into::<HtmlInputElement>().value());
            let typed = typed.unwrap_or_default().trim().to_owned();
            if !typed.is_empty() {
                on_wish.emit(ModelWish::Check(ModelChoice::Address(typed)));
            }
        })
    };
    let check_default = props
        .on_wish
        .reform(|_: MouseEvent| ModelWish::Check(ModelChoice::Default));
    let default_words = match (&props.chosen, &props.loaded) {
        (Some(_), _) => Some("Use the relay's model again"),
        (None, None) if props.default.is_some() => Some("Check whether the relay's model fits"),
        (None, _) => None,
    };
    html! {
        <>
            if let Some(words) = default_words {
                <button type="button" class="button" data-testid="model-default" onclick={check_default}>
                    { words }
                </button>
            }
            <div class="field file">
                <label for="model-file">{ "Load a .gguf file of your own" }</label>
                <input id="model-file" type="file" accept=".gguf" multiple=true {onchange} aria-describedby="model-hint"
                    data-testid="model-file" />
                <span id="model-hint" class="quiet small">
                    { "All parts of a split model at once. It stays on this machine and is used until you reload." }
                </span>
            </div>
            <form class="field address-field" {onsubmit}>
                <label for="model-url">{ "Or the address of one" }</label>
                <div class="row">
                    <input id="model-url" type="url" placeholder="https://…/model.gguf" spellcheck="false"
                        autocomplete="off" data-testid="model-url" />
                    <button type="submit" class="button" data-testid="model-url-check">{ "Check" }</button>
                </div>
                <span class="quiet small">{ "You see whether it fits before it is downloaded." }</span>
            </form>
        </>
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
        let threads = props.threads.map(|threads| {
            let counted = format::counted(threads.into(), "thread", "threads");
            let reason = props.threads_reason.as_ref();
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            html! { <div><dt>{ "Threads" }</dt><dd data-testid="threads">{ counted }{ reason }</dd></div> }
        });
        return html! {
            <dl class="facts" data-testid="model" data-model-id={model.id.to_string()}>
                <div><dt>{ "Loaded" }</dt><dd>{ &model.name }</dd></div>
                <div><dt>{ "Context" }</dt><dd class="number">{ format::counted(model.context_tokens.into(), "token", "tokens") }</dd></div>
                <div><dt>{ "Computes on" }</dt><dd>{ backend }</dd></div>
                { threads }
            </dl>
        };
    }
    let words = match (&props.chosen, &props.default) {
        (Some(chosen), _) => format!("{chosen} is not loaded yet."),
        (None, Some(model)) => format!(
            "None loaded. {} ({}) is downloaded when this tab computes.",
            model.name,
            format::bytes(model.bytes)
        ),
        (None, None) => "None loaded.".to_owned(),
    };
    html! { <p class="quiet not-loaded">{ words }</p> }
}
