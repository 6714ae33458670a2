//! The servers that help to find a direct way: those of the page, and those that its relays advise.

use serde::Deserialize;
use std::collections::BTreeMap;
use thrum_hive::io::RelayIndex;
use thrum_protocol::limits::MAX_TEXT_BYTES;
use thrum_rtc::browser::{Config, Control};

/// count; addresses of servers that a browser is given. It warns of more than four.
const MAX_URLS: usize = 4;

/// An entry of `RTCPeerConnection`'s `iceServers`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IceServer {
    urls: Urls,
    username: Option<String>,
    credential: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Urls {
    One(String),
    Several(Vec<String>),
}

impl IceServer {
    fn urls(&self) -> &[String] {
        match &self.urls {
            Urls::One(url) => std::slice::from_ref(url),
            Urls::Several(urls) => urls,
        }
    }

    /// Why a browser would refuse it.
    pub(crate) fn wrong(&self) -> Option<String> {
        let is_turn = |url: &String| url.starts_with("turn:") || url.starts_with("turns:");
        let is_known = |url: &String| {
            let known = is_turn(url) || url.starts_with("stun:") || url.starts_with("stuns:");
            known && url.len() <= MAX_TEXT_BYTES
        };
        if let Some(url) = self.urls().iter().find(|url| !is_known(url)) {
            return Some(format!(
                "{url} is no stun:, stuns:, turn: or turns: address"
            ));
        }
        if self.urls().is_empty() {
            return Some("an entry names no address".to_owned());
        }
        let credentials = self.username.is_some() && self.credential.is_some();
        if self.urls().iter().any(is_turn) && !credentials {
            return Some("a turn: address needs a username and a credential".to_owned());
        }
        None
    }
}

/// All of them, and where connections take them from.
pub(super) struct Ice {
    links: Control,
    own: Vec<IceServer>,
    relay_only: bool,
    /// the relays' TURN servers, where nothing else is used
    turn: BTreeMap<RelayIndex, thrum_rtc::browser::IceServer>,
    advised: BTreeMap<RelayIndex, Vec<IceServer>>,
}

impl Ice {
    pub(super) fn new(links: Control, own: Vec<IceServer>, relay_only: bool) -> Self {
        let ice = Self {
            links,
            own,
            relay_only,
            turn: BTreeMap::new(),
            advised: BTreeMap::new(),
        };
        ice.apply();
        ice
    }

    /// Takes what a relay advises in place of what it advised before.
    pub(super) fn advise(&mut self, relay: RelayIndex, servers: Vec<IceServer>) {
        self.advised.insert(relay, servers);
        self.apply();
    }

    /// Takes a relay's TURN server for every connection.
    pub(super) fn use_turn(&mut self, relay: RelayIndex, server: thrum_rtc::browser::IceServer) {
        self.turn.insert(relay, server);
        self.apply();
    }

    pub(super) fn is_relay_only(&self) -> bool {
        self.relay_only
    }

    fn apply(&self) {
        let mut found: Vec<_> = self.turn.values().cloned().collect();
        let mut left = MAX_URLS.saturating_sub(found.iter().map(|it| it.urls.len()).sum());
        for server in self.own.iter().chain(self.advised.values().flatten()) {
            let known = |url: &&String| !found.iter().any(|it| it.urls.contains(url));
            let urls = server.urls().iter().filter(known).take(left).cloned();
            let urls: Vec<String> = urls.collect();
            left -= urls.len();
            if !urls.is_empty() {
                found.push(thrum_rtc::browser::IceServer {
                    urls,
                    username: server.username.clone(),
                    credential: server.credential.clone(),
                });
            }
        }
        self.links.set_config(Config {
            ice_servers: found,
            relay_only: self.relay_only,
        });
    }
}
