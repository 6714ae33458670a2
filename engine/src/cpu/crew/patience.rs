//! How long a leader waits for a member that gives no sign.
//!
//! Knows no clock: whoever waits naps for so long as it is told, and says what it saw after each nap.

/// ms; how long a leader sleeps before it looks whether its member still works.
const NAP_MS: u32 = 100;

/// ms; how long a leader waits for a sign of work. A member gives one with every matrix, and the
/// largest with the most tokens takes a second on a slow machine.
const SILENCE_MS: u32 = 5_000;

/// How a leader waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    nap_ms: u32,
    silence_ms: u32,
}

impl Patience {
    /// Five seconds, in naps of a tenth of one.
    pub const DEFAULT: Self = Self {
        nap_ms: NAP_MS,
        silence_ms: SILENCE_MS,
    };

    /// Gives up after `silence_ms` of naps of `nap_ms` each without a sign: at least one nap, each of
    /// at least 1 ms.
    pub fn new(nap_ms: u32, silence_ms: u32) -> Self {
        Self {
            nap_ms: nap_ms.max(1),
            silence_ms,
        }
    }

    /// Of each nap, in ms.
    pub fn nap_ms(self) -> u32 {
        self.nap_ms
    }

    /// After how much silence a member is given up, in ms.
    pub fn silence_ms(self) -> u32 {
        self.silence_ms
    }

    /// The wait for one order, while the member's last sign of work is `beat`.
    pub fn wait(self, beat: i32) -> Wait {
        Wait {
            beat,
            naps: 0,
            max_naps: self.silence_ms.div_ceil(self.nap_ms).max(1),
        }
    }
}

/// A wait under way. Naps are counted, and not the time that passed: a machine that was asleep
/// itself has napped once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    beat: i32,
    /// Since the last sign.
    naps: u32,
    max_naps: u32,
}

impl Wait {
    /// After a nap that the member did not end, which has worked so far as `beat`; whether to nap
    /// again.
    #[must_use]
    pub fn goes_on(&mut self, beat: i32) -> bool {
        self.naps = match beat == self.beat {
            true => self.naps + 1,
            false => 0,
        };
        self.beat = beat;
        self.naps < self.max_naps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ms of a virtual clock until a member is given up whose beat is `beat(ms)`; none where it is
    /// waited for through `until_ms`.
    fn given_up_ms(patience: Patience, until_ms: u32, beat: impl Fn(u32) -> i32) -> Option<u32> {
        let mut now_ms = 0;
        let mut wait = patience.wait(beat(now_ms));
        while now_ms < until_ms {
            now_ms += patience.nap_ms();
            if !wait.goes_on(beat(now_ms)) {
                return Some(now_ms);
            }
        }
        None
    }

    #[test]
    fn one_that_says_nothing_is_given_up_after_five_seconds() {
        let patience = Patience::DEFAULT;
        assert_eq!(given_up_ms(patience, 60_000, |_| 7), Some(SILENCE_MS));
    }

    #[test]
    fn one_that_works_is_waited_for_however_long_it_takes() {
        let patience = Patience::DEFAULT;
        let slow = |ms: u32| (ms / (SILENCE_MS - NAP_MS)) as i32;
        assert_eq!(given_up_ms(patience, 600_000, slow), None);
    }

    #[test]
    fn silence_counts_from_the_last_sign() {
        let patience = Patience::new(10, 70);
        let dies_at = |ms: u32| (ms.min(1_000) / 10) as i32;
        assert_eq!(given_up_ms(patience, 60_000, dies_at), Some(1_070));
        // Its number may come round: what counts is that it changes.
        let wraps = |ms: u32| (i32::MAX - 2).wrapping_add((ms.min(100) / 10) as i32);
        assert_eq!(given_up_ms(patience, 60_000, wraps), Some(170));
    }

    #[test]
    fn no_patience_is_one_nap() {
        for (nap_ms, silence_ms, given_up) in [(0, 0, 1), (50, 0, 50), (50, 1, 50), (50, 51, 100)] {
            let patience = Patience::new(nap_ms, silence_ms);
            assert_eq!(given_up_ms(patience, 1_000, |_| 0), Some(given_up));
        }
    }

    #[test]
    fn a_machine_that_slept_has_napped_once() {
        let mut wait = Patience::new(100, 200).wait(0);
        // However long this nap was by the clock on the wall.
        assert!(wait.goes_on(0));
        assert!(wait.goes_on(1));
        assert!(wait.goes_on(1));
        assert!(!wait.goes_on(1));
    }
}
