//! Owns what the setting of the federation means: which relays, and where they are dialled.

use std::collections::BTreeMap;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use super::{Config, ConfigError, bad, check_announced};
use crate::limits::MAX_FEDERATED_RELAYS;

impl Config {
    /// The relays of the federation with their addresses; one without is waited for.
    pub(crate) fn federated(&self) -> BTreeMap<PeerId, Vec<Multiaddr>> {
        let mut relays: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for address in &self.federate {
            let mut host = address.clone();
            if let Some(Protocol::P2p(relay)) = host.pop() {
                let addresses = relays.entry(relay).or_default();
                if !host.is_empty() {
                    addresses.push(host);
                }
            }
        }
        relays
    }

    pub(super) fn check_federation(&self) -> Result<(), ConfigError> {
        for address in &self.federate {
            let mut host = address.clone();
            let Some(Protocol::P2p(_)) = host.pop() else {
                return Err(bad("federate", address, "it must end in /p2p/<peer id>"));
            };
            if !host.is_empty() {
                check_announced(&host).map_err(|reason| bad("federate", address, reason))?;
            }
        }
        let n_relays = self.federated().len();
        if n_relays > MAX_FEDERATED_RELAYS {
            let reason = format!("{MAX_FEDERATED_RELAYS} relays are the most");
            return Err(bad("federate", n_relays, reason));
        }
        Ok(())
    }
}
