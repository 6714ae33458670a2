//! Copies a text and says whether it worked.

use gloo_timers::callback::Timeout;
use yew::prelude::*;

use crate::browser;

/// ms; how long "Copied" stands.
const SAID_MILLIS: u32 = 1_500;

#[derive(Clone, Copy, PartialEq)]
enum Said {
    Copied,
    Nothing,
    Refused,
}

#[derive(PartialEq, Properties)]
pub(crate) struct CopyButtonProps {
    /// gives what is copied at the moment of the click
    pub(crate) text: Callback<(), String>,
    /// what it copies, for people who do not see where the button stands
    pub(crate) label: AttrValue,
}

#[component]
pub(crate) fn CopyButton(props: &CopyButtonProps) -> Html {
    let said = use_state_eq(|| Said::Nothing);
    let timer = use_mut_ref(|| None::<Timeout>);
    let onclick = {
        let (said, text) = (said.clone(), props.text.clone());
        Callback::from(move |_: MouseEvent| {
            let (said, text, timer) = (said.clone(), text.emit(()), timer.clone());
            wasm_bindgen_futures::spawn_local(async move {
                let copied = browser::copy(&text).await;
                said.set(if copied { Said::Copied } else { Said::Refused });
                let back = Timeout::new(SAID_MILLIS, move || said.set(Said::Nothing));
                *timer.borrow_mut() = Some(back);
            });
        })
    };
    let (word, spoken) = match *said {
        Said::Copied => ("Copied", "Copied"),
        Said::Nothing => ("Copy", ""),
        Said::Refused => ("Refused", "The browser refused to copy"),
    };
    html! {
        <>
            <button type="button" class="text-button" aria-label={&props.label} {onclick}>{ word }</button>
            <span class="unseen" role="status">{ spoken }</span>
        </>
    }
}
