//! Owns how often: buckets that refill with time, one for each address.
//!
//! Addresses are anybody's word (UDP has no handshake), so their buckets are a table of one size:
//! a flood from invented addresses fills it, and takes no memory.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use crate::address_cap::block_of;
use crate::limits::{ADDRESS_BUCKETS, Rate};

/// What is left of a rate, kept as the moment at which the bucket is full again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes `n` where that many are left.
    pub(crate) fn take(&mut self, now: Duration, n: u64, rate: Rate) -> bool {
        let after = self.full_at.max(now) + time_for(rate, n);
        let is_enough = after <= now + time_for(rate, rate.burst);
        if is_enough {
            self.full_at = after;
        }
        is_enough
    }

    /// Takes `n`, also where not so many are left; how long to rest until they would be.
    pub(crate) fn owe(&mut self, now: Duration, n: u64, rate: Rate) -> Duration {
        self.full_at = self.full_at.max(now) + time_for(rate, n);
        self.full_at
            .saturating_sub(now + time_for(rate, rate.burst))
    }
}

/// How long the bucket takes to gain `n`.
pub(crate) const fn time_for(rate: Rate, n: u64) -> Duration {
    Duration::from_nanos(n.saturating_mul(1_000_000_000) / rate.per_sec)
}

/// One bucket for each address, or rather for each of the few values that its hash has.
#[derive(Debug)]
pub(crate) struct AddressBuckets {
    buckets: Vec<Bucket>,
    rate: Rate,
    /// Keeps others from knowing who shares a bucket with whom.
    seed: u64,
}

impl AddressBuckets {
    pub(crate) fn new(rate: Rate, seed: u64) -> Self {
        Self {
            buckets: vec![Bucket::default(); ADDRESS_BUCKETS],
            rate,
            seed,
        }
    }

    /// Takes one from this IPv4 address or IPv6 /64.
    pub(crate) fn take(&mut self, now: Duration, ip: IpAddr) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.seed, block_of(ip)).hash(&mut hasher);
        let at = hasher.finish() % self.buckets.len() as u64;
        self.buckets[at as usize].take(now, 1, self.rate)
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
}
