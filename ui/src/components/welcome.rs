//! What stands there before anybody said yes: what this is, what is shared, and two buttons.

use thrum_protocol::view::DonateLimits;
use thrum_ui::choice::Choice;
use thrum_ui::state::Fetched;
use thrum_ui::{format, words};
use yew::prelude::*;

#[derive(PartialEq, Properties)]
pub(crate) struct WelcomeProps {
    pub(crate) catalogue: Fetched,
    pub(crate) limits: DonateLimits,
    /// why the last start failed
    pub(crate) failure: Option<String>,
    pub(crate) on_start: Callback<Choice>,
}

#[component]
pub(crate) fn Welcome(props: &WelcomeProps) -> Html {
    let start = |choice: Choice| props.on_start.reform(move |_: MouseEvent| choice);
    html! {
        <>
            <section class="welcome" aria-labelledby="headline">
                <h1 id="headline">{ words::SENTENCE }</h1>
                <p class="lead">{ words::LEAD }</p>
                <div class="actions">
                    <button type="button" class="button primary" onclick={start(Choice::Donate)}
                        aria-describedby="consent-title" data-testid="donate">
                        { "Donate this tab" }
                    </button>
                    <button type="button" class="button" onclick={start(Choice::Connect)}
                        aria-describedby="consent-title" data-testid="connect">
                        { "Just connect" }
                    </button>
                </div>
                <p class="quiet small" role="status">{ "Nothing connects, computes or downloads a model before you click." }</p>
                if let Some(failure) = &props.failure {
                    <div class="fault" role="alert" data-testid="start-failure">
                        <p><strong>{ "This tab could not start: " }</strong>{ failure }</p>
                        <p>{ "Mend that and press a button again." }</p>
                    </div>
                }
            </section>
            { consent(props) }
        </>
    }
}

fn consent(props: &WelcomeProps) -> Html {
    let slots = format::counted(props.limits.slots.into(), "prompt", "prompts");
    let tokens = format::count(props.limits.max_new_tokens.into());
    html! {
        <section class="consent" aria-labelledby="consent-title" data-testid="consent">
            <h2 id="consent-title">{ "What a click shares" }</h2>
            <dl class="terms">
                { term("Computing", &format!(
                    "“Donate this tab” answers up to {slots} of others at a time, at most {tokens} tokens each, \
                     on your CPU or GPU; that costs electricity. Pause stops it at once. “Just connect” \
                     answers nobody."
                )) }
                { term("Your network address",
                    "The relay sees your IP address, and other peers may learn it, so that tabs can \
                     reach each other directly.") }
                { term("What you write",
                    "The tab that answers a prompt reads it, and so does its owner if they wish. Send nothing \
                     secret, or choose “this tab” as the one that answers.") }
                { term("Download", &download(&props.catalogue)) }
                { term("What is kept",
                    "A key that is your name among peers, your choice, and the model, all in this browser. \
                     “Forget this choice” makes the page ask again.") }
            </dl>
        </section>
    }
}

fn term(name: &'static str, text: &str) -> Html {
    html! { <div><dt>{ name }</dt><dd>{ text }</dd></div> }
}

fn download(catalogue: &Fetched) -> String {
    match catalogue {
        Fetched::Waiting => {
            "Once, when this tab computes: the model (asking the relay for its size…).".to_owned()
        }
        Fetched::Failed(why) => {
            format!("Once, when this tab computes: the model. Its size is not known: {why}.")
        }
        Fetched::Ready(catalogue) => match catalogue.default_model() {
            None => "The relay offers no model. You can load a file of your own.".to_owned(),
            Some(model) => format!(
                "Once, when this tab computes: {} from the relay, {}.",
                model.name,
                format::bytes(model.bytes)
            ),
        },
    }
}
