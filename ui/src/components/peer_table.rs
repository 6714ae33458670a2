//! The peers: sortable, filterable, and a hint where there are none.

use thrum_protocol::view::{AnnouncedView, Path, PeerView};
use thrum_ui::peers::{
    COLUMNS, Column, FILTER_FROM, Sort, doing, further, matches, offers, sorted, speed,
};
use thrum_ui::{format, words};
use web_sys::HtmlInputElement;
use yew::prelude::*;

use super::copy_button::CopyButton;
use super::peer_name::PeerName;
use crate::browser;

#[derive(PartialEq, Properties)]
pub(crate) struct PeerTableProps {
    pub(crate) peers: Vec<PeerView>,
    pub(crate) announced: Vec<AnnouncedView>,
}

#[component]
pub(crate) fn PeerTable(props: &PeerTableProps) -> Html {
    let sort = use_state_eq(Sort::default);
    let filter = use_state_eq(String::new);
    let oninput = {
        let filter = filter.clone();
        Callback::from(move |event: InputEvent| {
            let input: HtmlInputElement = event.target_unchecked_into();
            filter.set(input.value());
        })
    };
    let has_filter = props.peers.len() >= FILTER_FROM;
    let rows: Vec<&PeerView> = sorted(&props.peers, *sort)
        .into_iter()
        .filter(|peer| !has_filter || matches(peer, &filter))
        .collect();
    let headers = COLUMNS.map(|column| {
        let onclick = {
            let sort = sort.clone();
            Callback::from(move |_: MouseEvent| sort.set(sort.clicked(column)))
        };
        header(column, *sort, onclick)
    });
    html! {
        <section class="card" aria-labelledby="peers-title">
            <div class="card-head">
                <h2 id="peers-title">
                    { "Peers " }
                    <span class="count number" data-testid="peer-count">{ props.peers.len() }</span>
                </h2>
                if has_filter {
                    <div class="field inline">
                        <label for="peer-filter">{ "Filter" }</label>
                        <input id="peer-filter" type="search" {oninput} data-testid="peer-filter" />
                        <span class="unseen" role="status">
                            { format!("{} shown", format::counted(rows.len() as u64, "peer", "peers")) }
                        </span>
                    </div>
                }
            </div>
            if props.peers.is_empty() {
                <Nobody />
            } else {
                <div class="scroll" role="region" aria-label="Peers, scrollable" tabindex="0">
                    <table class="peers">
                        <caption class="unseen">
                            { "Connected peers. The headers sort the table." }
                        </caption>
                        <thead><tr>{ for headers }</tr></thead>
                        <tbody>{ for rows.into_iter().map(row) }</tbody>
                    </table>
                </div>
            }
            if let Some(further) = further(&props.announced, &props.peers) {
                <p class="quiet small" data-testid="announced">{ further }</p>
            }
        </section>
    }
}

/// What to do where nobody is there.
#[component]
fn Nobody() -> Html {
    let address = browser::address();
    let second = format!("{address}?store=second");
    let copied = address.clone();
    html! {
        <div class="empty" data-testid="no-peers">
            <p><strong>{ "Nobody else is here yet." }</strong></p>
            <p>
                { "Open this page in another browser profile or on another machine, and donate there:" }
            </p>
            <p class="address">
                <code>{ &address }</code>
                <CopyButton label="Copy the address of this page"
                    text={Callback::from(move |()| copied.clone())} />
            </p>
            <p>
                { "Or " }
                <a href={second} target="_blank" rel="noopener">{ "open a second peer in this browser" }</a>
                { ", with an identity of its own." }
            </p>
        </div>
    }
}

fn header(column: Column, sort: Sort, onclick: Callback<MouseEvent>) -> Html {
    let state = sort.aria(column);
    html! {
        <th scope="col" aria-sort={state} class={classes!(column.is_number().then_some("number"))}>
            <button type="button" class="sort" {onclick}>
                { column.title() }
                if let Some(unit) = column.unit() {
                    <span class="unit">{ unit }</span>
                }
                <span class="arrow" aria-hidden="true" />
            </button>
        </th>
    }
}

fn row(peer: &PeerView) -> Html {
    let id = peer.peer_id.to_string();
    html! {
        <tr key={id.clone()} data-testid="peer-row" data-peer-id={id} data-path={words::path(peer.path)}>
            <th scope="row"><PeerName peer={peer.peer_id} /></th>
            <td>
                <span class={classes!("tag", words::path(peer.path))}>{ words::path(peer.path) }</span>
                <span class="quiet small transport">{ &peer.transport }</span>
                if let Some(link) = peer.link {
                    <span class="quiet small link" data-testid="peer-link">{ words::link(&link) }</span>
                }
                if let Some(error) = peer.direct_error.as_ref().filter(|_| peer.path == Path::Relayed) {
                    <details class="small" data-testid="direct-error">
                        <summary>{ "Why not directly?" }</summary>
                        { error }
                    </details>
                }
            </td>
            { number(peer.rtt_millis.map(format::count)) }
            <td class="offers">
                if let Some(can) = &peer.capabilities {
                    { offers(can) }
                } else {
                    { unknown() }
                }
            </td>
            { number(speed(peer).map(format::rate)) }
            <td>{ doing(peer) }</td>
            { number(peer.reputation.map(format::reputation)) }
        </tr>
    }
}

fn number(value: Option<String>) -> Html {
    html! {
        <td class="number">
            if let Some(value) = value {
                { value }
            } else {
                { unknown() }
            }
        </td>
    }
}

fn unknown() -> Html {
    html! { <><span class="faint" aria-hidden="true">{ format::UNKNOWN }</span><span class="unseen">{ "unknown" }</span></> }
}
