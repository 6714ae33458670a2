//! From what the person calls a relay to addresses that a tab can dial.

use super::ice::IceServer;
use crate::http;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use serde::Deserialize;

/// count; addresses of one relay that are tried.
const MAX_ADDRESSES: usize = 8;

/// count; relays that one relay may vouch for. It federates with no more.
const MAX_FEDERATED: usize = 8;

/// A relay that can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// who must answer
    pub(super) peer: PeerId,
    /// best first, each ending in `/p2p/<peer>`
    pub(super) addresses: Vec<Multiaddr>,
    /// that it advises
    pub(super) ice_servers: Vec<IceServer>,
    /// that it vouches for
    pub(super) federated: Vec<Federated>,
}

/// A relay whose peers are found at another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Federated {
    pub(super) peer: PeerId,
    /// as those of an [`Endpoint`]
    pub(super) addresses: Vec<Multiaddr>,
}

/// What `GET /api/relay` says, as far as a tab needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    peer_id: String,
    addrs: Vec<String>,
    #[serde(default)]
    ice_servers: Vec<IceServer>,
    #[serde(default)]
    federated: Vec<Listed>,
}

/// A relay in the answer of another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    peer_id: String,
    addrs: Vec<String>,
}

impl Listed {
    /// `None` where this page may dial none of its addresses.
    fn dialled(self) -> Option<Federated> {
        let peer = self.peer_id.parse().ok()?;
        let addresses = addresses_in(&self.addrs, peer);
        (!addresses.is_empty()).then_some(Federated { peer, addresses })
    }
}

/// The way a relay is reached, from the best to the worst for a page that came over HTTP.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// refused by browsers on an HTTPS page, except to this machine
    Websocket,
    SecureWebsocket,
    WebrtcDirect,
}

/// Where the relay that the person wrote as `text` can be dialled.
///
/// # Errors
/// A sentence for people.
pub(super) async fn resolve(text: &str) -> Result<Endpoint, String> {
    if text.starts_with('/') {
        return from_multiaddr(text);
    }
    let url = format!("{}/api/relay", text.trim_end_matches('/'));
    let description: Description = http::get_json(&url)
        .await
        .map_err(|error| error.to_string())?;
    let peer: PeerId = description
        .peer_id
        .parse()
        .map_err(|error| format!("{url} names no peer: {error}"))?;
    let addresses = addresses_in(&description.addrs, peer);
    if addresses.is_empty() {
        return Err(format!("{url} lists no address that this page may dial"));
    }
    let ice_servers = description.ice_servers.into_iter();
    let federated = description.federated.into_iter();
    Ok(Endpoint {
        peer,
        addresses,
        ice_servers: ice_servers.filter(|it| it.wrong().is_none()).collect(),
        federated: federated
            .filter_map(Listed::dialled)
            .take(MAX_FEDERATED)
            .collect(),
    })
}

fn from_multiaddr(text: &str) -> Result<Endpoint, String> {
    let address: Multiaddr = text
        .parse()
        .map_err(|error| format!("{text} is no multiaddr: {error}"))?;
    let Some(Protocol::P2p(peer)) = address.iter().last() else {
        return Err(format!("{text} does not end in /p2p/ and a peer id"));
    };
    if way(&address).is_none() {
        return Err(format!("{text} is no websocket or webrtc-direct address"));
    }
    Ok(Endpoint {
        peer,
        addresses: vec![address],
        ice_servers: Vec::new(),
        federated: Vec::new(),
    })
}

/// Those of a peer's addresses that this page may dial, the best first.
fn addresses_in(texts: &[String], peer: PeerId) -> Vec<Multiaddr> {
    let addresses = texts.iter().filter_map(|text| text.parse().ok());
    let addresses = addresses.filter_map(|address| with_peer(address, peer));
    ordered(addresses, page_is_secure())
}

/// `address` ending in the peer's id; `None` where it names another peer or a way through one.
fn with_peer(address: Multiaddr, peer: PeerId) -> Option<Multiaddr> {
    if address.iter().any(|part| part == Protocol::P2pCircuit) {
        return None;
    }
    address.with_p2p(peer).ok()
}

fn ordered(addresses: impl Iterator<Item = Multiaddr>, secure_page: bool) -> Vec<Multiaddr> {
    let rank = |address: &Multiaddr| {
        let way = way(address)?;
        let blocked = secure_page && way == Way::Websocket;
        (!blocked || is_loopback(address)).then_some((blocked, way))
    };
    let mut usable: Vec<_> = addresses.filter_map(|it| Some((rank(&it)?, it))).collect();
    usable.sort_by_key(|(rank, _)| *rank);
    usable
        .into_iter()
        .map(|(_, address)| address)
        .take(MAX_ADDRESSES)
        .collect()
}

fn way(address: &Multiaddr) -> Option<Way> {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    if has(|part| matches!(part, Protocol::WebRTCDirect)) {
        return Some(Way::WebrtcDirect);
    }
    if has(|part| matches!(part, Protocol::Wss(_))) {
        return Some(Way::SecureWebsocket);
    }
    if has(|part| matches!(part, Protocol::Ws(_))) {
        let tls = has(|part| matches!(part, Protocol::Tls));
        return Some(if tls {
            Way::SecureWebsocket
        } else {
            Way::Websocket
        });
    }
    None
}

fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| {
        if let Protocol::Ip4(ip) = part {
            ip.is_loopback()
        } else if let Protocol::Ip6(ip) = part {
            ip.is_loopback()
        } else if let Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) = part {
            name == "localhost"
        } else {
            false
        }
    })
}

fn page_is_secure() -> bool {
    web_sys::window().is_some_and(|page| page.location().protocol().is_ok_and(|it| it == "https:"))
}
