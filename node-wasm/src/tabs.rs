//! What tabs of one origin say to each other: JSON text over a BroadcastChannel.
//!
//! All tabs are of one origin and trust each other, but they may be of different builds: what is
//! not understood is dropped.

use crate::errand::{Errand, ErrandText, Reply};
use crate::fault::text_of;
use futures::channel::mpsc;
use serde::{Deserialize, Serialize};
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
    /// follower to owner: do this about models; files travel beside the message
    Errand {
        from: TabId,
        ticket: u64,
        errand: ErrandText,
    },
    /// owner to one: what came of its errand
    ErrandDone {
        to: TabId,
        ticket: u64,
        reply: Reply,
    },
    /// owner to all: this happened
    Event { event: Event },
    /// follower to owner: I am here, let me see
    Hello { from: TabId },
    /// owner to all: I am the owner from this moment on
    Owner {},
    /// owner to all: how things stand
    Snapshot { snapshot: Box<Snapshot> },
    /// follower to owner: nobody waits for this errand any more
    StopErrand { from: TabId, ticket: u64 },
    /// follower to owner: let me see again
    WantSnapshot {},
}

/// A message and the files beside it.
pub(crate) struct Heard {
    pub(crate) message: TabMessage,
    pub(crate) blobs: Vec<web_sys::Blob>,
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
        self.say_with(message, &[]);
    }

    /// Has the owner do something about models.
    pub(crate) fn say_errand(&self, ticket: u64, errand: &Errand) {
        let (errand, blobs) = errand.to_text();
        let from = self.own;
        let message = TabMessage::Errand {
            from,
            ticket,
            errand,
        };
        self.say_with(&message, &blobs);
    }

    fn say_with(&self, message: &TabMessage, blobs: &[web_sys::Blob]) {
        let Ok(text) = serde_json::to_string(message) else {
            return;
        };
        let parts = js_sys::Array::of1(&text.into());
        for blob in blobs {
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

fn unpack(data: &JsValue) -> Option<Heard> {
    let parts = data.dyn_ref::<js_sys::Array>()?;
    let message = serde_json::from_str(&parts.get(0).as_string()?).ok()?;
    Some(Heard {
        message,
        blobs: (parts.iter().skip(1))
            .filter_map(|part| part.dyn_into().ok())
            .collect(),
    })
}
