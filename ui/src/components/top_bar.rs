//! The bar above everything: whose page this is, and the theme.

use yew::prelude::*;

use super::mark::Mark;
use super::theme_button::ThemeButton;

#[component]
pub(crate) fn TopBar() -> Html {
    html! {
        <header class="bar">
            <div class="bar-inner">
                <span class="brand"><Mark />{ "Thrum" }</span>
                <ThemeButton />
            </div>
        </header>
    }
}
