//! Owns how much and how often: buckets that refill with time, for addresses and for peers.
//!
//! Addresses are anybody's word (UDP has no handshake), so their buckets are a table of one size:
//! a flood from invented addresses fills it, and takes no memory. Peers are known by credentials.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use crate::address_cap::block_of;
use crate::limits::{
    MAX_TURN_PEERS, REQUEST_BUCKETS, REQUESTS_PER_ADDRESS, Rate, TURN_BYTES_PER_HOUR, TURN_RATE,
};

/// The window of [`TURN_BYTES_PER_HOUR`].
const HOUR: Duration = Duration::from_secs(60 * 60);

/// What is left of a rate, kept as the moment at which the bucket is full again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes `n` where that many are left.
    pub(super) fn take(&mut self, now: Duration, n: u64, rate: Rate) -> bool {
        let after = self.full_at.max(now) + time_for(rate, n);
        let is_enough = after <= now + time_for(rate, rate.burst);
        if is_enough {
            self.full_at = after;
        }
        is_enough
    }
}

/// How long the bucket takes to gain `n`.
const fn time_for(rate: Rate, n: u64) -> Duration {
    Duration::from_nanos(n.saturating_mul(1_000_000_000) / rate.per_sec)
}

/// One bucket for each address, or rather for each of the few values that its hash has.
#[derive(Debug)]
pub(super) struct AddressBuckets {
    buckets: Vec<Bucket>,
    /// Keeps others from knowing who shares a bucket with whom.
    seed: u64,
}

impl AddressBuckets {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            buckets: vec![Bucket::default(); REQUEST_BUCKETS],
            seed,
        }
    }

    /// Takes one request of this IPv4 address or IPv6 /64.
    pub(super) fn take(&mut self, now: Duration, ip: IpAddr) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, block_of(ip)).hash(&mut hasher);
        let at = hasher.finish() % self.buckets.len() as u64;
        self.buckets[at as usize].take(now, 1, REQUESTS_PER_ADDRESS)
    }
}

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
    use proptest::prelude::*;

    const RATE: Rate = Rate {
        per_sec: 10,
        burst: 5,
    };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::default();
        let at = Duration::from_secs(100);
        let taken = (0..9).filter(|_| bucket.take(at, 1, RATE)).count();
        assert_eq!(taken, 5);
        assert!(!bucket.take(at + Duration::from_millis(99), 1, RATE));
        assert!(bucket.take(at + Duration::from_millis(100), 1, RATE));
        assert!(!bucket.take(at + Duration::from_secs(3600), 6, RATE));
    }

    proptest! {
        /// Whatever is asked for and when, no more is given than the burst and the rate allow.
        #[test]
        fn a_bucket_never_gives_more(asks in prop::collection::vec((0_u64..400, 1_u64..6), 1..200)) {
            let mut bucket = Bucket::default();
            let (mut now, mut given) = (Duration::ZERO, 0);
            for (millis, n) in asks {
                now += Duration::from_millis(millis);
                if bucket.take(now, n, RATE) {
                    given += n;
                }
                let most = RATE.burst + now.as_millis() as u64 * RATE.per_sec / 1000;
                prop_assert!(given <= most, "{given} > {most}");
            }
        }
    }

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
