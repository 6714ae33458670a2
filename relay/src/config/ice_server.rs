//! Owns how STUN and TURN servers are written in the settings.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A STUN or TURN server that peers are advised to use; the JSON of a browser's `RTCIceServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IceServer {
    /// `stun:`, `stuns:`, `turn:` or `turns:` URLs of the same server.
    pub urls: Vec<String>,
    /// The TURN user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The TURN password; everyone who asks the relay sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl FromStr for IceServer {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        check_url(url)?;
        Ok(Self {
            urls: vec![url.to_owned()],
            username: None,
            credential: None,
        })
    }
}

pub(super) fn check_url(url: &str) -> Result<(), String> {
    let host = url.split_once(':').and_then(|(scheme, host)| {
        ["stun", "stuns", "turn", "turns"]
            .contains(&scheme)
            .then_some(host)
    });
    match host {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) => Ok(()),
        Some(_) | None => Err("an ICE server looks like stun:host:port or turn:host:port".into()),
    }
}
