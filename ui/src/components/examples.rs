//! Prompts that the model does answer, to begin with.

use thrum_ui::catalogue::{Example, MAX_PROMPTS};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct ExamplesProps {
    pub(crate) prompts: Vec<Example>,
    /// the text of the chosen one
    pub(crate) on_choose: Callback<String>,
}

#[component]
pub(crate) fn Examples(props: &ExamplesProps) -> Html {
    if props.prompts.is_empty() {
        return Html::default();
    }
    html! {
        <ul class="examples" aria-label="Example prompts">
            { for props.prompts.iter().take(MAX_PROMPTS).map(|prompt| chip(prompt, &props.on_choose)) }
        </ul>
    }
}

fn chip(prompt: &Example, on_choose: &Callback<String>) -> Html {
    let onclick = {
        let (on_choose, text) = (on_choose.clone(), prompt.text.clone());
        Callback::from(move |_: MouseEvent| on_choose.emit(text.clone()))
    };
    html! {
        <li>
            <button type="button" class="chip" {onclick} title={prompt.text.clone()} data-testid="example">
                { &prompt.title }
            </button>
        </li>
    }
}
