//! Switches between the light and the dark theme; the choice is kept.

use yew::prelude::*;

use crate::browser::{self, Theme};

#[component]
pub(crate) fn ThemeButton() -> Html {
    let theme = use_state_eq(browser::theme);
    let (other, label) = match *theme {
        Theme::Dark => (Theme::Light, "Switch to the light theme"),
        Theme::Light => (Theme::Dark, "Switch to the dark theme"),
    };
    let onclick = Callback::from({
        let theme = theme.clone();
        move |_: MouseEvent| {
            browser::set_theme(other);
            theme.set(other);
        }
    });
    html! {
        <button type="button" class="icon-button" aria-label={label} title={label} {onclick} data-testid="theme">
            <svg viewBox="0 0 24 24" aria-hidden="true">
                <circle cx="12" cy="12" r="8.25" fill="none" stroke="currentColor" stroke-width="1.5" />
                <path d="M12 3.75a8.25 8.25 0 0 1 0 16.5Z" fill="currentColor" />
            </svg>
        </button>
    }
}
