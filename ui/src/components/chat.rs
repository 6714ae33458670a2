//! The chat: what was asked, what is being answered, and the next prompt.

use std::rc::Rc;

use thrum_protocol::limits::MAX_PROMPT_BYTES;
use thrum_protocol::view::{PeerView, Route, Snapshot};
use thrum_ui::ask::{self, Options, Unfit};
use thrum_ui::catalogue::{Example, Listed};
use thrum_ui::conversation::{Conversation, Phase};
use thrum_ui::genomes::{Genome, Worn};
use thrum_ui::{format, peers, words};
use web_sys::{Element, HtmlSelectElement, HtmlTextAreaElement};
use yew::prelude::*;

use super::chat_options::ChatOptions;
use super::examples::Examples;
use super::turn_view::TurnView;
use super::worn_genomes::WornGenomes;
use crate::browser;

/// Element id of the prompt, for its label and for focus.
const PROMPT_ID: &str = "prompt";

#[derive(PartialEq, Properties)]
pub(crate) struct ChatProps {
    pub(crate) conversation: Conversation,
    pub(crate) snapshot: Option<Rc<Snapshot>>,
    /// the catalogue's entry of the model that answers, where it is one of those
    pub(crate) model: Option<Listed>,
    /// the catalogue is on its way
    pub(crate) waits_for_model: bool,
    /// a prompt and how to answer it; why it was not sent
    pub(crate) on_ask: Callback<(String, Options), Result<(), Unfit>>,
    /// stop this answer
    pub(crate) on_stop: Callback<u64>,
    /// the genomes of the node, once they are known
    pub(crate) genomes: Option<Rc<Vec<Genome>>>,
    /// what the next answer wears
    pub(crate) worn: Worn,
    /// wear something else
    pub(crate) on_wear: Callback<Worn>,
    /// begin anew
    pub(crate) on_new: Callback<()>,
}

#[component]
pub(crate) fn Chat(props: &ChatProps) -> Html {
    let options = use_state_eq(Options::default);
    let refused = use_state_eq(|| None::<Unfit>);
    let prompt = use_node_ref();
    let list = use_node_ref();
    use_effect_with(props.conversation.clone(), {
        let list = list.clone();
        move |_| {
            if let Some(list) = list.cast::<Element>() {
                list.set_scroll_top(list.scroll_height());
            }
        }
    });

    let send = {
        let (on_ask, options) = (props.on_ask.clone(), *options);
        let (refused, prompt) = (refused.clone(), prompt.clone());
        let ready = props.snapshot.is_some() && props.conversation.open_ask().is_none();
        Callback::from(move |()| {
            let Some(field) = prompt.cast::<HtmlTextAreaElement>().filter(|_| ready) else {
                return;
            };
            let sent = on_ask.emit((field.value(), options));
            if sent.is_ok() {
                field.set_value("");
            }
            refused.set(sent.err());
            browser::focus(PROMPT_ID);
        })
    };
    let choose = {
        let prompt = prompt.clone();
        Callback::from(move |text: String| {
            if let Some(field) = prompt.cast::<HtmlTextAreaElement>() {
                field.set_value(&text);
                browser::focus(PROMPT_ID);
            }
        })
    };
    let examples: Vec<Example> = props
        .model
        .as_ref()
        .map(|model| model.prompts.clone())
        .unwrap_or_default();
    let new = props.on_new.reform(|_: MouseEvent| ());

    html! {
        <section class="card chat" aria-labelledby="chat-title">
            <div class="card-head">
                <h2 id="chat-title">{ "Ask the hive" }</h2>
                if !props.conversation.is_empty() {
                    <button type="button" class="text-button" onclick={new} data-testid="new-conversation">
                        { "New conversation" }
                    </button>
                }
            </div>
            { notice(props) }
            if props.conversation.is_empty() {
                <div class="empty chat-empty">
                    <p><strong>{ "Nothing asked yet." }</strong></p>
                    <p>{ if examples.is_empty() { "Type a prompt below." } else { "Take an example or type a prompt. The answer names the tab that computed it." } }</p>
                </div>
            } else {
                <ol class="turns" ref={list} tabindex="0" aria-label="Conversation">
                    { for props.conversation.turns().map(|turn| html! {
                        <TurnView key={turn.ask} turn={Rc::clone(turn)} this_peer={props.snapshot.as_ref().map(|it| it.peer_id)} />
                    }) }
                </ol>
            }
            <p class="unseen" role="status">{ spoken(&props.conversation) }</p>
            if props.waits_for_model {
                <div class="examples-to-come" />
            }
            <Examples prompts={examples} on_choose={choose} />
            { form(props, &options, &prompt, send) }
            if let Some(genomes) = props.genomes.as_ref().filter(|it| it.iter().any(|it| it.fits != Some(false))) {
                <WornGenomes genomes={Rc::clone(genomes)} worn={props.worn.clone()} on_change={props.on_wear.clone()} />
            }
            if let Some(why) = unfit(*refused) {
                <p class="fault" role="alert">{ why }</p>
            }
            <ChatOptions options={*options} on_change={Callback::from(move |next| options.set(next))} />
        </section>
    }
}

/// What the model is good for. While that is on its way it takes as much room.
fn notice(props: &ChatProps) -> Html {
    let described = |model: &&Listed| !model.description.is_empty();
    if let Some(model) = props.model.as_ref().filter(described) {
        return html! {
            <p class="demonstrator" data-testid="demonstrator">
                <strong>{ &model.name }{ " is a demonstrator. " }</strong>
                { &model.description }
                { " For real use, load a GGUF of your own under “Model”." }
            </p>
        };
    }
    if props.waits_for_model {
        return html! { <p class="demonstrator">{ "Asking the relay what its model is good for…" }</p> };
    }
    Html::default()
}

/// The prompt, the route and the one button that matters at the moment.
fn form(
    props: &ChatProps,
    options: &UseStateHandle<Options>,
    prompt: &NodeRef,
    send: Callback<()>,
) -> Html {
    let onkeydown = {
        let send = send.clone();
        Callback::from(move |event: KeyboardEvent| {
            if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
                event.prevent_default();
                send.emit(());
            }
        })
    };
    let onsubmit = Callback::from(move |event: SubmitEvent| {
        event.prevent_default();
        send.emit(());
    });
    let route = {
        let options = options.clone();
        Callback::from(move |event: Event| {
            let select: HtmlSelectElement = event.target_unchecked_into();
            if let Some(route) = ask::route_from(&select.value()) {
                options.set(Options { route, ..*options });
            }
        })
    };
    let peers = props.snapshot.as_ref().map(|it| it.peers.as_slice());
    let open = props.conversation.open_ask();
    let waiting = (props.snapshot.is_none()).then_some("true");
    html! {
        <form class="ask" {onsubmit}>
            <label for={PROMPT_ID}>{ "Prompt" }</label>
            <textarea id={PROMPT_ID} ref={prompt} rows="2" {onkeydown} aria-describedby="prompt-hint"
                placeholder="reverse: starling" spellcheck="false" data-testid="prompt" />
            <span id="prompt-hint" class="quiet small">{ "Enter sends, Shift+Enter begins a line." }</span>
            <div class="ask-row">
                <div class="field inline">
                    <label for="route">{ "Answered by" }</label>
                    <select id="route" onchange={route} data-testid="route">
                        { for routes(peers.unwrap_or_default(), options.route) }
                    </select>
                </div>
                if let Some(ask) = open {
                    <button key="stop" type="button" class="button" data-testid="stop"
                        onclick={props.on_stop.reform(move |_: MouseEvent| ask)}>
                        { "Stop" }
                    </button>
                } else {
                    <button key="send" type="submit" class="button primary" aria-disabled={waiting} data-testid="send">
                        { "Send" }
                    </button>
                }
            </div>
        </form>
    }
}

/// The choices of the route; a chosen peer that left stays there, marked as gone.
fn routes(peers: &[PeerView], chosen: Route) -> Vec<Html> {
    let option = |route: Route, words: String| {
        html! {
            <option value={ask::route_value(route)} selected={route == chosen}>{ words }</option>
        }
    };
    let mut options = vec![
        option(Route::Auto, "whoever is best".to_owned()),
        option(Route::Local, "this tab".to_owned()),
        option(Route::Peer, "any other peer".to_owned()),
    ];
    options.extend(peers.iter().map(|peer| {
        let short = format::short_id(peer.peer_id);
        let speed = peers::speed(peer)
            .map(|speed| format!(", {} tok/s", format::rate(speed)))
            .unwrap_or_default();
        option(
            Route::PeerId(peer.peer_id),
            format!("{short} ({}{speed})", words::path(peer.path)),
        )
    }));
    if let Route::PeerId(gone) = chosen
        && peers.iter().all(|peer| peer.peer_id != gone)
    {
        options.push(option(chosen, format!("{} (gone)", format::short_id(gone))));
    }
    options
}

fn unfit(refused: Option<Unfit>) -> Option<String> {
    refused.map(|why| match why {
        Unfit::Empty => "Type a prompt first.".to_owned(),
        Unfit::TooLong { got_bytes } => format!(
            "This prompt has {}; one prompt may have {}. Shorten it.",
            format::bytes(got_bytes as u64),
            format::bytes(MAX_PROMPT_BYTES as u64)
        ),
    })
}

/// What a screen reader hears: the ends of answers, not every token.
fn spoken(conversation: &Conversation) -> String {
    let Some(turn) = conversation.turns().next_back() else {
        return String::new();
    };
    match &turn.phase {
        Phase::Done(_) => format!("Answer: {}", turn.text),
        Phase::Stopped => "The answer was stopped.".to_owned(),
        Phase::Failed { .. } | Phase::Waiting | Phase::Writing => String::new(),
    }
}
