//! Owns when a federated relay is dialled: at once, and after a failure ever later.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::limits::{FEDERATION_REDIAL_MAX, FEDERATION_REDIAL_MIN};

#[derive(Debug)]
enum State {
    Dialling,
    /// next tried then
    Down {
        until: Duration,
    },
    Up {
        since: Duration,
    },
}

#[derive(Debug)]
struct Line {
    /// none: it dials
    addresses: Vec<Multiaddr>,
    state: State,
    n_failures: u32,
}

/// The relays of the settings.
#[derive(Debug)]
pub(crate) struct Redial {
    lines: BTreeMap<PeerId, Line>,
    rng: StdRng,
}

impl Redial {
    /// The relays with their addresses; one without is waited for.
    pub(crate) fn new(
        relays: impl IntoIterator<Item = (PeerId, Vec<Multiaddr>)>,
        seed: u64,
    ) -> Self {
        let line = |(relay, addresses)| {
            let state = State::Down {
                until: Duration::ZERO,
            };
            let line = Line {
                addresses,
                state,
                n_failures: 0,
            };
            (relay, line)
        };
        Self {
            lines: relays.into_iter().map(line).collect(),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    pub(crate) fn knows(&self, relay: &PeerId) -> bool {
        self.lines.contains_key(relay)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(crate) fn relays(&self) -> impl Iterator<Item = PeerId> {
        self.lines.keys().copied()
    }

    /// Whom to dial now; each counts as being dialled then.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (relay, line) in &mut self.lines {
            if let State::Down { until } = line.state
                && until <= now
                && !line.addresses.is_empty()
            {
                line.state = State::Dialling;
                due.push((*relay, line.addresses.clone()));
            }
        }
        due
    }

    /// It is connected, whoever dialled.
    pub(crate) fn up(&mut self, now: Duration, relay: &PeerId) {
        if let Some(line) = self.lines.get_mut(relay) {
            line.state = State::Up { since: now };
        }
    }

    /// A dial failed, or the last connection ended.
    pub(crate) fn down(&mut self, now: Duration, relay: &PeerId) {
        let Some(line) = self.lines.get_mut(relay) else {
            return;
        };
        if let State::Up { since } = line.state
            && now.saturating_sub(since) >= FEDERATION_REDIAL_MAX
        {
            line.n_failures = 0;
        }
        let most = FEDERATION_REDIAL_MIN.saturating_mul(1 << line.n_failures.min(16));
        let most = most.min(FEDERATION_REDIAL_MAX);
        line.n_failures += 1;
        // Two that lost each other are not to dial at the same moment for ever.
        let until = now + most.mul_f64(self.rng.random_range(0.5..1.0));
        line.state = State::Down { until };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_ever_later_and_success_begins_anew() {
        let (a, waited_for) = (PeerId::random(), PeerId::random());
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1/ws".parse().unwrap();
        let relays = [(a, vec![address]), (waited_for, vec![])];
        let mut redial = Redial::new(relays, 1);
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let due = redial.due(now);
            assert_eq!(due.len(), 1, "only who has an address is dialled");
            assert!(redial.due(now).is_empty(), "one dial at a time");
            redial.down(now, &a);
            let since = now;
            while redial.due(now).is_empty() {
                now += Duration::from_millis(100);
            }
            waits.push(now - since);
            redial.lines.get_mut(&a).unwrap().state = State::Down { until: now };
        }
        assert!(waits[0] <= FEDERATION_REDIAL_MIN);
        let last = *waits.last().unwrap();
        assert!(last >= FEDERATION_REDIAL_MAX / 2 && last <= FEDERATION_REDIAL_MAX * 2);

        redial.up(now, &a);
        assert!(redial.due(now + FEDERATION_REDIAL_MAX).is_empty());
        now += FEDERATION_REDIAL_MAX;
        redial.down(now, &a);
        assert_eq!(redial.due(now + FEDERATION_REDIAL_MIN).len(), 1);
    }
}
