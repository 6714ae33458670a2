//! Owns the decision who may begin a handshake, by a clock that is told to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{AddressFull, Tally};
use crate::bucket::{AddressBuckets, Bucket};
use crate::limits;

/// The IPv4 /24 or IPv6 /48 that an address is in.
fn subnet_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    AddressFull(#[from] AddressFull),
    #[error("this address begins handshakes too fast")]
    AddressTooFast,
    #[error("all addresses together begin handshakes too fast")]
    AllTooFast,
    #[error("its subnet has as many connections as one may have")]
    SubnetFull,
    #[error("this address has as many handshakes as one may have at once")]
    TooManyPending,
    #[error("there are as many handshakes over UDP as there may be at once")]
    TooManyUnproven,
}

impl Refusal {
    /// What it is counted under.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::AddressFull(_) => "AddressFull",
            Self::AddressTooFast => "AddressTooFast",
            Self::AllTooFast => "AllTooFast",
            Self::SubnetFull => "SubnetFull",
            Self::TooManyPending => "TooManyPending",
            Self::TooManyUnproven => "TooManyUnproven",
        }
    }
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) ip: IpAddr,
    /// Whether its address has answered, as TCP's has; over UDP anybody can write any.
    pub(super) is_proven: bool,
}

/// What a connection is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Established,
    Pending,
}

/// Decides who may begin a handshake.
#[derive(Debug)]
pub(super) struct Gate {
    connections: Tally,
    by_subnet: Tally,
    pending: Tally,
    rates: AddressBuckets,
    proven: Bucket,
    unproven: Bucket,
    n_pending_unproven: u32,
}

impl Gate {
    pub(super) fn new(max_per_ip: u32, seed: u64) -> Self {
        let max_per_subnet = max_per_ip.saturating_mul(limits::ADDRESSES_PER_SUBNET);
        Self {
            connections: Tally::new(max_per_ip),
            by_subnet: Tally::by(subnet_of, max_per_subnet),
            pending: Tally::new(limits::max_pending_per_ip(max_per_ip)),
            rates: AddressBuckets::new(limits::handshakes_per_ip(max_per_ip), seed),
            proven: Bucket::default(),
            unproven: Bucket::default(),
            n_pending_unproven: 0,
        }
    }

    /// Counts a handshake that begins, or says why it may not; then nothing is counted.
    pub(super) fn admit(&mut self, now: Duration, origin: Origin) -> Result<(), Refusal> {
        let ip = origin.ip;
        self.connections.admit(ip)?;
        if self.by_subnet.admit(ip).is_err() {
            self.connections.release(ip);
            return Err(Refusal::SubnetFull);
        }
        if self.pending.admit(ip).is_err() {
            self.connections.release(ip);
            self.by_subnet.release(ip);
            return Err(Refusal::TooManyPending);
        }
        if !origin.is_proven {
            self.n_pending_unproven += 1;
        }
        let admitted = self.check_rates(now, origin);
        if admitted.is_err() {
            self.release(origin, Stage::Pending);
        }
        admitted
    }

    /// Whether another handshake from there may be worked on at this moment.
    fn check_rates(&mut self, now: Duration, origin: Origin) -> Result<(), Refusal> {
        if !self.rates.take(now, origin.ip) {
            return Err(Refusal::AddressTooFast);
        }
        if self.n_pending_unproven > limits::MAX_PENDING_UNPROVEN && !origin.is_proven {
            return Err(Refusal::TooManyUnproven);
        }
        let (all, rate) = match origin.is_proven {
            true => (&mut self.proven, limits::MAX_HANDSHAKES),
            false => (&mut self.unproven, limits::MAX_UNPROVEN_HANDSHAKES),
        };
        let is_enough = all.take(now, 1, rate);
        is_enough.then_some(()).ok_or(Refusal::AllTooFast)
    }

    /// Notes that a handshake ended well.
    pub(super) fn establish(&mut self, origin: Origin) {
        self.pending.release(origin.ip);
        if !origin.is_proven {
            self.n_pending_unproven = self.n_pending_unproven.saturating_sub(1);
        }
    }

    pub(super) fn release(&mut self, origin: Origin, stage: Stage) {
        self.connections.release(origin.ip);
        self.by_subnet.release(origin.ip);
        if stage == Stage::Pending {
            self.establish(origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(ip: IpAddr) -> Origin {
        let is_proven = true;
        Origin { ip, is_proven }
    }

    fn at(ip: &str) -> Origin {
        tcp(ip.parse().unwrap())
    }

    fn everybody() -> impl Iterator<Item = IpAddr> {
        (0..20_000_u32).map(|n| IpAddr::from((n << 8).to_be_bytes()))
    }

    /// Takes connections one after the other until one is refused.
    fn fill(gate: &mut Gate, now: Duration, ips: impl Iterator<Item = IpAddr>) -> (u32, Refusal) {
        let mut n_admitted = 0;
        for ip in ips {
            match gate.admit(now, tcp(ip)) {
                Ok(()) => n_admitted += 1,
                Err(refusal) => return (n_admitted, refusal),
            }
        }
        panic!("all {n_admitted} were admitted");
    }

    #[test]
    fn half_open_handshakes_of_one_address_have_an_end() {
        let mut gate = Gate::new(64, 1);
        let now = Duration::from_secs(1);
        let (n, refusal) = fill(&mut gate, now, std::iter::repeat_n(at("192.0.2.1").ip, 100));
        assert!(matches!(refusal, Refusal::TooManyPending), "{refusal}");
        assert_eq!(n, limits::max_pending_per_ip(64));
        gate.admit(now, at("192.0.2.2")).unwrap();
        gate.establish(at("192.0.2.1"));
        gate.admit(now, at("192.0.2.1")).unwrap();
    }

    #[test]
    fn an_address_that_comes_and_goes_is_slowed() {
        let mut gate = Gate::new(64, 1);
        let rate = limits::handshakes_per_ip(64);
        let mut n_admitted = 0;
        for millis in 0..10_000 {
            let now = Duration::from_millis(millis);
            if gate.admit(now, at("192.0.2.1")).is_ok() {
                n_admitted += 1;
                gate.release(at("192.0.2.1"), Stage::Pending);
            }
        }
        let most = rate.burst + 10 * rate.per_sec;
        assert!((most - 1..=most).contains(&n_admitted), "{n_admitted}");
    }

    #[test]
    fn a_subnet_has_its_share() {
        let mut gate = Gate::new(2, 1);
        let home = (0..=255).map(|last| IpAddr::from([192, 0, 2, last]));
        let (n, refusal) = fill(&mut gate, Duration::ZERO, home);
        assert!(matches!(refusal, Refusal::SubnetFull), "{refusal}");
        assert_eq!(n, 2 * limits::ADDRESSES_PER_SUBNET);
        gate.admit(Duration::ZERO, at("192.0.3.1")).unwrap();
    }

    #[test]
    fn all_together_are_slowed_and_a_refused_one_counts_for_nothing() {
        let mut gate = Gate::new(64, 1);
        let (n, refusal) = fill(&mut gate, Duration::ZERO, everybody());
        assert!(matches!(refusal, Refusal::AllTooFast), "{refusal}");
        assert_eq!(u64::from(n), limits::MAX_HANDSHAKES.burst);
        assert_eq!(gate.connections.n_by_block.len(), n as usize);
        assert_eq!(gate.by_subnet.n_by_block.len(), n as usize);
        assert_eq!(gate.pending.n_by_block.len(), n as usize);
    }

    #[test]
    fn invented_addresses_leave_the_others_their_handshakes() {
        let mut gate = Gate::new(64, 1);
        let mut n_admitted = 0;
        for (step, ip) in everybody().enumerate() {
            let now = Duration::from_millis(step as u64);
            let is_proven = false;
            let admitted = gate.admit(now, Origin { ip, is_proven });
            n_admitted += u32::from(admitted.is_ok());
        }
        assert_eq!(n_admitted, limits::MAX_PENDING_UNPROVEN);
        assert_eq!(gate.n_pending_unproven, n_admitted);
        let (n, _) = fill(&mut gate, Duration::from_secs(20), everybody());
        assert_eq!(u64::from(n), limits::MAX_HANDSHAKES.burst);
    }
}
