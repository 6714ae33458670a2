//! Says that another tab of this browser runs the node.

use yew::prelude::*;

#[component]
pub(crate) fn FollowerBanner() -> Html {
    html! {
        <div class="banner" role="status" data-testid="follower-banner">
            <strong>{ "This node runs in another tab of this browser; this tab shows it." }</strong>
            { " You can use it from here. When the other tab closes, this one takes over." }
        </div>
    }
}
