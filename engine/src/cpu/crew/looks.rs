//! How long to look for what another worker will have done before falling asleep.
//!
//! Looking again and again takes a core that the other side may need; falling asleep and being
//! woken takes longer than most waits between two cores that are free. Each sleep says which of the
//! two it was.

/// count; looks where cores are free: half a millisecond or so, longer than most of what a leader
/// does between two orders.
const MAX_LOOKS: u32 = 10_000;

/// count; looks where there is more to do than there are cores.
const MIN_LOOKS: u32 = 20;

/// ms; after a sleep that was shorter, looking would have cost less. Waking somebody takes 0.14 ms
/// on a virtual machine whose core has gone idle, and so does being woken.
const SHORT_SLEEP_MS: f64 = 0.6;

/// What one side of a mailbox has learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks(u32);

impl Default for Looks {
    fn default() -> Self {
        Self(MAX_LOOKS)
    }
}

impl Looks {
    /// How many there are before the next sleep.
    pub fn count(self) -> u32 {
        self.0
    }

    /// After looking in vain and then sleeping for `slept_ms`.
    #[must_use]
    pub fn after_sleep(self, slept_ms: f64) -> Self {
        let next = if slept_ms < SHORT_SLEEP_MS {
            self.0 * 2
        } else {
            self.0 / 4
        };
        Self(next.clamp(MIN_LOOKS, MAX_LOOKS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sleeps_make_looking_short_and_short_ones_bring_it_back() {
        let mut looks = Looks::default();
        for _ in 0..10 {
            looks = looks.after_sleep(4.0);
        }
        assert_eq!(looks.count(), MIN_LOOKS);
        for _ in 0..10 {
            looks = looks.after_sleep(0.05);
        }
        assert_eq!(looks, Looks::default());
    }

    #[test]
    fn a_clock_that_stands_still_or_fails_does_no_harm() {
        for slept_ms in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let count = Looks::default().after_sleep(slept_ms).count();
            assert!((MIN_LOOKS..=MAX_LOOKS).contains(&count), "{count}");
        }
    }
}
