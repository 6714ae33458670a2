//! What a model is and whether it fits, before it is loaded.

use thrum_ui::models::Inspected;
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct ModelCheckProps {
    pub(crate) inspected: Inspected,
    /// something is being loaded already
    pub(crate) busy: bool,
    /// load it
    pub(crate) on_load: Callback<()>,
    /// never mind
    pub(crate) on_dismiss: Callback<()>,
}

#[component]
pub(crate) fn ModelCheck(props: &ModelCheckProps) -> Html {
    let inspected = &props.inspected;
    let (class, verdict) = match inspected.fits {
        true => ("verdict good", "It fits."),
        false => ("verdict fault", "It does not fit."),
    };
    let load = match inspected.download_bytes {
        Some(0) => "Load it",
        Some(_) | None => "Download and load it",
    };
    html! {
        <div class="check-result" role="group" aria-label="Whether the model fits" data-testid="model-check"
            data-fits={inspected.fits.to_string()}>
            <p {class} role="status"><strong>{ verdict }</strong>{ " " }{ &inspected.reason }</p>
            <dl class="facts">
                { for inspected.facts().into_iter().map(|(name, value)| html! {
                    <div><dt>{ name }</dt><dd>{ value }</dd></div>
                }) }
            </dl>
            if !props.busy {
                <div class="check-buttons">
                    if inspected.fits {
                        <button type="button" class="button primary" data-testid="model-load"
                            onclick={props.on_load.reform(|_: MouseEvent| ())}>{ load }</button>
                    }
                    <button type="button" class="button" data-testid="model-dismiss"
                        onclick={props.on_dismiss.reform(|_: MouseEvent| ())}>{ "Never mind" }</button>
                </div>
            }
        </div>
    }
}
