//! The relays: where, how far, and when the next try is; and what they see of this network.

use thrum_protocol::view::{Reachability, RelayView};
use thrum_ui::{format, words};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct RelayListProps {
    pub(crate) relays: Vec<RelayView>,
    pub(crate) reachability: Reachability,
}

#[component]
pub(crate) fn RelayList(props: &RelayListProps) -> Html {
    html! {
        <section class="card" aria-labelledby="relays-title">
            <h2 id="relays-title">{ "Relays" }</h2>
            <p class="quiet small">
                { "Relays introduce tabs to each other and carry what cannot go directly. They hold no model and compute nothing." }
            </p>
            if props.relays.is_empty() {
                <p class="quiet">{ "No relay is known yet." }</p>
            } else {
                <ul class="relays">{ for props.relays.iter().map(row) }</ul>
            }
            { network(&props.reachability) }
        </section>
    }
}

fn network(reachability: &Reachability) -> Html {
    let token = words::network_token(reachability.kind);
    html! {
        <p class="small network" data-testid="reachability" data-kind={token}>
            { words::network(reachability.kind) }
            if let Some(error) = &reachability.error {
                <span class="relay-error">{ error }</span>
            }
        </p>
    }
}

fn row(relay: &RelayView) -> Html {
    let retry = relay
        .retry_in_millis
        .map(|wait| format!("next try in {}", format::seconds_until(wait)));
    html! {
        <li class="relay" data-testid="relay" data-state={words::relay_token(relay.state)}>
            <span class="mono relay-address">{ &relay.address }</span>
            <span class="relay-state">
                <span class={classes!("dot", words::relay_token(relay.state))} aria-hidden="true" />
                { words::relay_state(relay.state) }
                if let Some(retry) = retry {
                    <span class="number quiet">{ "· " }{ retry }</span>
                }
            </span>
            if let Some(error) = &relay.error {
                <span class="relay-error">{ error }</span>
            }
        </li>
    }
}
