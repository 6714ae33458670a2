//! What tabs of one origin say to each other: JSON text over a BroadcastChannel.
//!
//! All tabs are of one origin and trust each other, but they may be of different builds: what is
//! not understood is dropped.

use crate::fault::{LoadFailure, text_of};
use crate::options::ModelSource;
use futures::channel::mpsc;
use serde::{Deserialize, Serialize};
use thrum_protocol::id::ModelId;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::view::{Command, Event, Snapshot};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use web_sys::{BroadcastChannel, MessageEvent};

/// count; messages that wait for the loop. A page that is this far behind is frozen.
const MAX_WAITING: usize = 4_096;

/// A tab, by a number it drew at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct TabId(u64);

/// What is said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum TabMessage {
    /// owner to one: what happened to its answer
    Ask { to: TabId, event: Event },
    /// follower to owner: I am gone
    Bye { from: TabId },
    /// follower to owner: do this
    Command { from: TabId, command: Command },
    /// owner to all: this happened
    Event { event: Event },
    /// follower to owner: remove this model's file
    Forget { model: ModelId },
    /// follower to owner: I am here, let me see
    Hello { from: TabId },
    /// follower to owner: load this model; a file travels beside the message
    Load { from: TabId, model: ModelText },
    /// owner to one: how the loading of its model ended
    Loaded {
        to: TabId,
        result: Result<ModelOffer, LoadFailure>,
    },
    /// owner to all: I am the owner from this moment on
    Owner {},
    /// owner to all: how things stand
    Snapshot { snapshot: Box<Snapshot> },
    /// follower to owner: let me see again
    WantSnapshot {},
}

/// A model source that can be said as text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ModelText {
    /// the file beside the message
    Blob,
    Catalogue(String),
    /// the relay's default
    Default,
    Url(String),
}

/// A message and the file beside it.
pub(crate) struct Heard {
    pub(crate) message: TabMessage,
    pub(crate) blob: Option<web_sys::Blob>,
}

/// The channel between the tabs.
pub(crate) struct Tabs {
    own: TabId,
    channel: BroadcastChannel,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Tabs {
    /// Joins the channel; `None` where the browser has none, and each tab is alone.
    pub(crate) fn join(name: &str) -> (Option<Self>, mpsc::Receiver<Heard>) {
        let (mut sender, receiver) = mpsc::channel(MAX_WAITING);
        let Ok(channel) = BroadcastChannel::new(name) else {
            return (None, receiver);
        };
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(heard) = unpack(&event.data()) {
                // Full only while this tab is frozen; it asks for a snapshot when it thaws.
                sender.try_send(heard).ok();
            }
        });
        channel.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let mut number = [0; 8];
        getrandom::fill(&mut number).expect("every browser with wasm has crypto.getRandomValues");
        let own = TabId(u64::from_le_bytes(number));
        (
            Some(Self {
                own,
                channel,
                _on_message: on_message,
            }),
            receiver,
        )
    }

    /// This tab.
    pub(crate) fn own(&self) -> TabId {
        self.own
    }

    /// Says something to all other tabs.
    pub(crate) fn say(&self, message: &TabMessage) {
        self.say_with(message, None);
    }

    /// Has the owner load a model.
    pub(crate) fn say_load(&self, source: Option<&ModelSource>) {
        let (model, blob) = match source {
            Some(ModelSource::Blob(blob)) => (ModelText::Blob, Some(blob)),
            Some(ModelSource::Catalogue(name)) => (ModelText::Catalogue(name.clone()), None),
            Some(ModelSource::Url(url)) => (ModelText::Url(url.clone()), None),
            None => (ModelText::Default, None),
        };
        self.say_with(
            &TabMessage::Load {
                from: self.own,
                model,
            },
            blob,
        );
    }

    fn say_with(&self, message: &TabMessage, blob: Option<&web_sys::Blob>) {
        let Ok(text) = serde_json::to_string(message) else {
            return;
        };
        let parts = js_sys::Array::of1(&text.into());
        if let Some(blob) = blob {
            parts.push(blob);
        }
        if let Err(thrown) = self.channel.post_message(&parts) {
            tracing::warn!(reason = text_of(&thrown), "cannot speak to the other tabs");
        }
    }
}

impl Drop for Tabs {
    fn drop(&mut self) {
        self.channel.set_onmessage(None);
        self.channel.close();
    }
}

impl ModelText {
    /// The source that was meant: the relay's default where there is none.
    pub(crate) fn into_source(self, blob: Option<web_sys::Blob>) -> Option<ModelSource> {
        match self {
            Self::Blob => blob.map(ModelSource::Blob),
            Self::Catalogue(name) => Some(ModelSource::Catalogue(name)),
            Self::Default => None,
            Self::Url(url) => Some(ModelSource::Url(url)),
        }
    }
}

fn unpack(data: &JsValue) -> Option<Heard> {
    let parts = data.dyn_ref::<js_sys::Array>()?;
    let message = serde_json::from_str(&parts.get(0).as_string()?).ok()?;
    Some(Heard {
        message,
        blob: parts.get(1).dyn_into().ok(),
    })
}
