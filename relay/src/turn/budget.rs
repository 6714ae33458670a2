//! Owns what each peer has of TURN: its allocations, its rate, its hour.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bucket::Bucket;
use crate::limits::{MAX_TURN_PEERS, TURN_BYTES_PER_HOUR, TURN_RATE};

/// The window of [`TURN_BYTES_PER_HOUR`].
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What one peer has of the relay.
#[derive(Debug, Default)]
struct Account {
    n_allocations: usize,
    rate: Bucket,
    hour_began: Duration,
    n_bytes_in_hour: u64,
    last_used: Duration,
}

/// The accounts of peers, which outlive their allocations so that a peer cannot reset them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    by_peer: BTreeMap<String, Account>,
}

impl Accounts {
    /// Whether this peer may send so many bytes at this moment; counts them if so.
    pub(super) fn spend(&mut self, now: Duration, peer: &str, n_bytes: usize) -> bool {
        let Some(account) = self.by_peer.get_mut(peer) else {
            return false;
        };
        account.roll(now);
        let n_bytes = n_bytes as u64;
        let is_enough = account.n_bytes_in_hour + n_bytes <= TURN_BYTES_PER_HOUR
            && account.rate.take(now, n_bytes, TURN_RATE);
        if is_enough {
            account.n_bytes_in_hour += n_bytes;
        }
        is_enough
    }

    pub(super) fn n_allocations(&self, peer: &str) -> usize {
        self.by_peer
            .get(peer)
            .map_or(0, |account| account.n_allocations)
    }

    /// Counts one allocation more; room is made by forgetting the peer that was idle longest.
    pub(super) fn open(&mut self, now: Duration, peer: &str) {
        if !self.by_peer.contains_key(peer) && self.by_peer.len() >= MAX_TURN_PEERS {
            let idle = self
                .by_peer
                .iter()
                .filter(|(_, one)| one.n_allocations == 0);
            let oldest = idle.min_by_key(|(_, one)| one.last_used);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.by_peer.remove(&name);
            }
        }
        let account = self.by_peer.entry(peer.to_owned()).or_default();
        account.n_allocations += 1;
        account.roll(now);
    }

    pub(super) fn close(&mut self, peer: &str) {
        if let Some(account) = self.by_peer.get_mut(peer) {
            account.n_allocations = account.n_allocations.saturating_sub(1);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_peer.len()
    }
}

impl Account {
    fn roll(&mut self, now: Duration) {
        self.last_used = now;
        if now >= self.hour_began + HOUR {
            self.hour_began = now;
            self.n_bytes_in_hour = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::time_for;

    #[test]
    fn a_peer_cannot_reset_its_hour_by_closing() {
        let mut accounts = Accounts::default();
        let mut now = Duration::from_secs(1);
        accounts.open(now, "peer");
        let mut n_bytes = 0;
        while n_bytes < TURN_BYTES_PER_HOUR {
            now += time_for(TURN_RATE, 1000);
            assert!(now < HOUR, "the hour's bytes are fewer than the rate's");
            if !accounts.spend(now, "peer", 1000) {
                break;
            }
            n_bytes += 1000;
        }
        accounts.close("peer");
        accounts.open(now, "peer");
        assert!(!accounts.spend(now + Duration::from_secs(1), "peer", 1000));
        assert!(accounts.spend(now + HOUR, "peer", 1000));
    }

    #[test]
    fn peers_that_left_make_room() {
        let mut accounts = Accounts::default();
        for n in 0..MAX_TURN_PEERS + 64 {
            let peer = n.to_string();
            accounts.open(Duration::from_secs(n as u64), &peer);
            accounts.close(&peer);
        }
        assert_eq!(accounts.len(), MAX_TURN_PEERS);
    }
}
