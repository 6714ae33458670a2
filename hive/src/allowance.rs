//! How much somebody may do: a burst, and then some more with time.

use thrum_protocol::time::Millis;

/// A number that time fills up to the burst.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    left: u64,
    /// until when it was filled
    counted: Millis,
}

impl Allowance {
    /// Full.
    pub(crate) fn new(now: Millis, burst: u64) -> Self {
        let (left, counted) = (burst, now);
        Self { left, counted }
    }

    /// Whether one more is allowed; then it is taken.
    pub(crate) fn take(&mut self, now: Millis, burst: u64, period: Millis) -> bool {
        let earned = now.since(self.counted).0 / period.0;
        self.left = self.left.saturating_add(earned).min(burst);
        self.counted = self.counted + Millis(earned * period.0);
        let rest = self.left.checked_sub(1);
        self.left = rest.unwrap_or(0);
        rest.is_some()
    }
}
