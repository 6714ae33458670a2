//! How fast we dial: dials that lead nowhere, one after the other, are made less and less often.
//! Behind some NATs most do, somebody answers each, and where no direct one ever succeeds they are
//! not begun with.

use crate::backoff::jittered;
use crate::limits::{
    BLOCKED_AFTER, DIAL_PAUSE_FEW, DIAL_PAUSE_MAX, DIAL_PAUSE_MIN, DIRECT_RETRY_MIN,
};
use rand_chacha::ChaCha8Rng;
use thrum_protocol::time::Millis;

/// The dials of a node, taken together.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// how many more failed than succeeded, about
    level: u32,
    failed_at: Millis,
    wait: Millis,
    /// peers that were there and not reached directly, since one was
    blocked: u32,
    /// when one of the relayed links may be tried directly again
    probe_at: Millis,
}

impl Pace {
    /// A dial led nowhere.
    pub(crate) fn failed(&mut self, now: Millis, rng: &mut ChaCha8Rng) {
        let span = DIAL_PAUSE_MIN.0 << self.level.min(16);
        self.wait = jittered(rng, Millis(span.min(DIAL_PAUSE_MAX.0)));
        self.failed_at = now;
        self.level = (self.level + 1).min(16);
    }

    /// A peer that is there was not reached directly.
    pub(crate) fn missed(&mut self) {
        self.blocked = self.blocked.saturating_add(1);
    }

    /// A dial of ours reached somebody.
    pub(crate) fn succeeded(&mut self) {
        self.level = self.level.saturating_sub(1);
        self.wait = Millis(0);
    }

    /// Somebody is connected directly, whoever dialled.
    pub(crate) fn reached(&mut self) {
        self.blocked = 0;
    }

    /// Our own network is another one.
    pub(crate) fn network_changed(&mut self) {
        *self = Self::default();
    }

    /// When the next may be dialled. `few`: there are so few links that waiting costs more than a
    /// dial.
    pub(crate) fn until(&self, few: bool) -> Millis {
        let most = if few { DIAL_PAUSE_FEW } else { DIAL_PAUSE_MAX };
        self.failed_at + self.wait.min(most)
    }

    /// Whether nobody at all is reached directly, as behind a firewall that lets no UDP out.
    pub(crate) fn blocked(&self) -> bool {
        self.blocked >= BLOCKED_AFTER
    }

    /// Whether a relayed link may be tried directly now, once; where nothing is reached directly
    /// they take turns.
    pub(crate) fn may_probe(&mut self, now: Millis) -> bool {
        let may = !self.blocked() || self.probe_at <= now;
        if may {
            self.probe_at = now + DIRECT_RETRY_MIN;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;

    #[test]
    fn failures_slow_down_and_successes_speed_up() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut pace = Pace::default();
        let now = Millis(10_000);
        assert!(pace.until(false) <= now);
        for _ in 0..30 {
            pace.failed(now, &mut rng);
        }
        let wait = pace.until(false).since(now);
        assert!(wait >= Millis(DIAL_PAUSE_MAX.0 / 2) && wait <= DIAL_PAUSE_MAX);
        assert!(pace.until(true).since(now) <= DIAL_PAUSE_FEW);
        pace.succeeded();
        assert!(pace.until(false) <= now, "the next one at once");
        for _ in 0..30 {
            pace.succeeded();
        }
        pace.failed(now, &mut rng);
        assert!(pace.until(false).since(now) <= DIAL_PAUSE_MIN);
    }

    #[test]
    fn who_never_reaches_anybody_directly_begins_elsewhere() {
        let mut pace = Pace::default();
        for _ in 0..BLOCKED_AFTER {
            assert!(!pace.blocked());
            pace.missed();
        }
        assert!(pace.blocked());
        assert!(pace.may_probe(Millis(5)));
        assert!(!pace.may_probe(Millis(6)), "one at a time");
        assert!(pace.may_probe(Millis(5) + DIRECT_RETRY_MIN));
        pace.reached();
        assert!(!pace.blocked() && pace.may_probe(Millis(7)));
    }
}
