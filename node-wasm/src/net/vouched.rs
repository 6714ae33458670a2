//! Relays that the node's own relays vouch for: their peers are found at ours, and a way to them
//! leads through theirs.
//!
//! They are dialled to carry such a way and for nothing else: they keep no place for this node.

use super::relays::{self, Endpoint, Federated};
use super::{Net, discovery};
use futures::future::FutureExt as _;
use libp2p::core::ConnectedPoint;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;
use thrum_hive::io::{Found, RelayIndex};
use thrum_protocol::time::Millis;
use thrum_rtc::address::is_webrtc;

/// ms; how often a relay is asked again whom it vouches for, while peers are found that lead
/// through others. Relays that come back are known to it within seconds.
const ASK_PERIOD: Millis = Millis(15_000);

/// What became of asking a relay again.
pub(super) type Told = (RelayIndex, Result<Endpoint, String>);

/// Whom each of the node's relays vouches for.
#[derive(Default)]
pub(super) struct Vouched {
    /// by [`RelayIndex`]; what it said and when it was asked
    by: BTreeMap<usize, (Millis, Vec<Federated>)>,
}

impl Vouched {
    /// A relay said whom it vouches for, in place of whom it did before.
    pub(super) fn told(&mut self, now: Millis, by: RelayIndex, relays: Vec<Federated>) {
        self.by.insert(by.0, (now, relays));
    }

    pub(super) fn knows(&self, relay: &PeerId) -> bool {
        self.addresses(relay).next().is_some()
    }

    fn addresses(&self, relay: &PeerId) -> impl Iterator<Item = &Multiaddr> {
        let all = self.by.values().flat_map(|(_, relays)| relays);
        let named = all.filter(move |it| it.peer == *relay);
        named.flat_map(|it| &it.addresses)
    }

    /// Whether the relay is to be asked again now; then it counts as asked.
    fn is_due(&mut self, now: Millis, by: RelayIndex) -> bool {
        let asked = self.by.entry(by.0).or_insert((now, Vec::new()));
        let is_due = now.since(asked.0) >= ASK_PERIOD;
        if is_due {
            asked.0 = now;
        }
        is_due
    }
}

impl Net {
    /// Ways to a peer's relays that are not ours, the best of each.
    pub(super) fn ways_to_vouched(&self, named: &[PeerId]) -> Vec<Multiaddr> {
        let foreign = named.iter().filter(|relay| self.relay_of(relay).is_none());
        let mut ways: Vec<_> = foreign
            .filter_map(|relay| self.vouched.addresses(relay).next().cloned())
            .collect();
        ways.dedup();
        ways
    }

    /// Whether this is a connection to a relay that only carries.
    pub(super) fn is_vouched(&self, peer: &PeerId, endpoint: &ConnectedPoint) -> bool {
        let address = endpoint.get_remote_address();
        let through = address.iter().any(|it| matches!(it, Protocol::P2pCircuit));
        endpoint.is_dialer() && !through && !is_webrtc(address) && self.vouched.knows(peer)
    }

    /// Has a relay say again whom it vouches for, where it told of peers that no known relay
    /// leads to.
    pub(super) fn ask_for_ways(&mut self, by: RelayIndex, found: &[Found]) {
        let is_lost = |one: &Found| {
            let mut relays = one
                .addresses
                .iter()
                .filter_map(|text| discovery::relay_in(&text.parse().ok()?));
            !relays.any(|relay| self.relay_of(&relay).is_some() || self.vouched.knows(&relay))
        };
        if !found.iter().any(is_lost) {
            return;
        }
        let Some(text) = self.relays.get(by.0).map(|slot| slot.text.clone()) else {
            return;
        };
        if self.vouched.is_due(self.clock.now(), by) {
            let asking = async move { (by, relays::resolve(&text).await) };
            self.vouching.push(asking.boxed_local());
        }
    }

    pub(super) fn on_vouched(&mut self, (by, endpoint): Told) {
        match endpoint {
            Ok(endpoint) => self.vouched.told(self.clock.now(), by, endpoint.federated),
            Err(reason) => tracing::debug!(reason, "the relay does not say whom it vouches for"),
        }
    }
}
