//! A peer: the end of its id, and a button that copies all of it.

use thrum_protocol::id::NodeId;
use thrum_ui::format;
use yew::prelude::*;

use super::copy_button::CopyButton;

#[derive(PartialEq, Properties)]
pub(crate) struct PeerNameProps {
    pub(crate) peer: NodeId,
}

#[component]
pub(crate) fn PeerName(props: &PeerNameProps) -> Html {
    let peer = props.peer;
    let short = format::short_id(peer);
    let label = format!("Copy the id of peer {}", peer.fmt_short());
    html! {
        <span class="peer-name">
            <span class="mono" title={peer.to_string()}>{ short }</span>
            <CopyButton {label} text={Callback::from(move |()| peer.to_string())} />
        </span>
    }
}
