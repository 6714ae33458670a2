//! How far the model is: bytes and per cent.

use thrum_ui::state::Progress;
use thrum_ui::{format, words};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct ProgressBarProps {
    pub(crate) progress: Progress,
}

#[component]
pub(crate) fn ProgressBar(props: &ProgressBarProps) -> Html {
    let progress = &props.progress;
    let stage = words::stage(&progress.stage).to_owned();
    let percent = format::percent(progress.loaded, progress.total);
    let numbers = match (progress.total, percent) {
        (Some(total), Some(percent)) if total > 1 => format!(
            "{} of {} · {percent} %",
            format::bytes(progress.loaded),
            format::bytes(total)
        ),
        (Some(_), Some(percent)) => format!("{percent} %"),
        _ if progress.loaded > 0 => format::bytes(progress.loaded),
        _ => String::new(),
    };
    html! {
        <div class="progress" data-testid="progress">
            <span class="progress-words">
                <span>{ &stage }</span>
                <span class="number">{ numbers }</span>
            </span>
            <progress aria-label={stage} max="100" value={percent.map(|percent| percent.to_string())} />
        </div>
    }
}
