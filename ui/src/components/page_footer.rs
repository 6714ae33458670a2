//! Which software this is, and which peer.

use std::rc::Rc;

use thrum_protocol::PROTOCOL;
use thrum_protocol::view::Snapshot;
use yew::prelude::*;

use super::copy_button::CopyButton;

#[derive(PartialEq, Properties)]
pub(crate) struct PageFooterProps {
    pub(crate) snapshot: Option<Rc<Snapshot>>,
    /// name of the database
    pub(crate) store: AttrValue,
}

#[component]
pub(crate) fn PageFooter(props: &PageFooterProps) -> Html {
    let version = props.snapshot.as_ref().map_or_else(
        || match option_env!("THRUM_COMMIT") {
            Some(commit) => format!("{} · commit {commit}", env!("CARGO_PKG_VERSION")),
            None => env!("CARGO_PKG_VERSION").to_owned(),
        },
        |snapshot| {
            let status = &snapshot.status;
            format!("{} · commit {}", status.version, status.commit)
        },
    );
    html! {
        <footer class="foot">
            <p data-testid="version">{ format!("Thrum {version} · protocol {PROTOCOL}") }</p>
            if let Some(snapshot) = &props.snapshot {
                { this_peer(snapshot, &props.store) }
            } else {
                <p class="this-peer">{ "No peer id before a node runs." }</p>
            }
            <p>
                { "Free software under MIT or Apache-2.0, at your choice. Source, licence texts, privacy and security notes are in the repository: README.md, LICENSE-MIT, LICENSE-APACHE, SECURITY.md." }
            </p>
        </footer>
    }
}

fn this_peer(snapshot: &Snapshot, store: &str) -> Html {
    let id = snapshot.peer_id.to_string();
    let copied = id.clone();
    html! {
        <p class="this-peer" data-testid="peer-id" data-peer-id={id.clone()}>
            <span>{ "This peer" }</span>
            <span class="mono">{ id }</span>
            <CopyButton label="Copy the id of this peer" text={Callback::from(move |()| copied.clone())} />
            if store != "thrum" {
                <span class="quiet">{ format!("store “{store}”") }</span>
            }
        </p>
    }
}
