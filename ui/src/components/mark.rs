//! The product's mark: a cell with a hum in it. The same drawing as in index.html.

use yew::prelude::*;

#[component]
pub(crate) fn Mark() -> Html {
    html! {
        <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
            <path d="M16 2.5 27.7 9.25v13.5L16 29.5 4.3 22.75V9.25Z" />
            <path class="mark-wave" d="M9.5 16h2.6l2-5.2 3.8 10.4 2-5.2h2.6" />
        </svg>
    }
}
