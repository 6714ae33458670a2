//! How much of the time goes to others: the donor's slider, as a date before which none of their
//! work is begun.
//!
//! A step that took `d` uses up `d / share` of time, so the rest after it is in proportion. Rest
//! that was longer than owed (timers are late, the person's own work came between) is made good,
//! by [`CREDIT_MS`] at most, so that the share holds and no long silence is followed by a burst.

/// ms; how much overlong rest is made good. Timers are late by a few ms, the person's own work by
/// more, which the donor does not owe anybody.
const CREDIT_MS: f64 = 100.0;

/// Says when work for others may begin. Knows no clock: times are ms since any fixed moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pacer {
    /// of the time, 1 to 100
    percent: u32,
    /// the next step may begin then
    free_at_ms: f64,
}

impl Pacer {
    /// Without rests.
    pub(crate) fn new() -> Self {
        Self {
            percent: 100,
            free_at_ms: f64::NEG_INFINITY,
        }
    }

    /// Changes the share from now on.
    pub(crate) fn set(&mut self, percent: u32) {
        self.percent = percent.clamp(1, 100);
        self.free_at_ms = f64::NEG_INFINITY;
    }

    /// A step for others lasted from `begun_ms` to `ended_ms`.
    pub(crate) fn worked(&mut self, begun_ms: f64, ended_ms: f64) {
        let due_ms = self.free_at_ms.max(begun_ms - CREDIT_MS);
        let used_ms = (ended_ms - begun_ms).max(0.0) * 100.0 / f64::from(self.percent);
        self.free_at_ms = due_ms + used_ms;
    }

    /// How long work for others has to wait, in ms; 0 where it may begin.
    pub(crate) fn rest_ms(&self, now_ms: f64) -> f64 {
        (self.free_at_ms - now_ms).max(0.0)
    }
}
