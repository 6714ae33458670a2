//! The models that the browser keeps for this page: how much they take, and how to be rid of them.

use thrum_ui::models::{Kept, Storage};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct KeptModelsProps {
    pub(crate) storage: Storage,
    /// id of the model in the engine
    pub(crate) loaded: Option<String>,
    /// look at this one, by its id
    pub(crate) on_check: Callback<String>,
    /// remove this one, by its id
    pub(crate) on_remove: Callback<String>,
}

#[component]
pub(crate) fn KeptModels(props: &KeptModelsProps) -> Html {
    html! {
        <details class="kept" data-testid="kept">
            <summary>{ "Kept in this browser" }</summary>
            <p class="quiet small" data-testid="kept-sum">{ props.storage.words() }</p>
            if !props.storage.models.is_empty() {
                <ul class="kept-list">
                    { for props.storage.models.iter().map(|model| entry(props, model)) }
                </ul>
            }
        </details>
    }
}

fn entry(props: &KeptModelsProps, model: &Kept) -> Html {
    let is_loaded = props.loaded.as_ref() == Some(&model.id);
    let on = |callback: &Callback<String>| {
        let id = model.id.clone();
        callback.reform(move |_: MouseEvent| id.clone())
    };
    html! {
        <li key={model.id.clone()} data-testid="kept-model">
            <span class="kept-name">{ &model.name }</span>
            <span class="quiet small">{ model.words() }</span>
            <span class="quiet small kept-source">{ &model.source }</span>
            <span class="kept-buttons">
                if !is_loaded {
                    <button type="button" class="text-button" onclick={on(&props.on_check)} data-testid="kept-check"
                        aria-label={format!("Use {}", model.name)}>
                        { if model.complete { "Use" } else { "Go on" } }
                    </button>
                } else {
                    <span class="small">{ "in use" }</span>
                }
                <button type="button" class="text-button" onclick={on(&props.on_remove)} data-testid="kept-remove"
                    aria-label={format!("Remove {}", model.name)}>
                    { "Remove" }
                </button>
            </span>
        </li>
    }
}
