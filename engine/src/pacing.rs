//! How much of the machine computing may take: pure arithmetic on times that the caller measures.
//!
//! [`DutyCycle`] keeps work for others to the donor's share of the time; [`Submits`] keeps what the
//! GPU is given at once short, so that the page draws; [`steps_ahead`] says how far an answer may go
//! between two looks at it.

use crate::gpu::MAX_STEPS;

/// ms; what one submit may take: half of what a page has for a picture at sixty a second.
const SUBMIT_MS: f64 = 8.0;

/// ms; what one wait for the GPU may take: a person sees tokens come in pieces beyond it, and an
/// order to stop waits as long.
const WAIT_MS: f64 = 50.0;

/// ms; how much overlong rest is made good. Timers are late by a few ms, the person's own work by
/// more, which the donor does not owe anybody.
const CREDIT_MS: f64 = 100.0;

/// The donor's slider, as a date before which no work for others is begun. Knows no clock: times are
/// ms since any fixed moment.
///
/// A step that took `d` uses up `d / share` of time, so the rest after it is in proportion. Rest
/// that was longer than owed (timers are late, the person's own work came between) is made good, by
/// 100 ms at most, so that the share holds and no long silence is followed by a burst.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DutyCycle {
    /// of the time, 1 to 100
    percent: u32,
    /// the next step may begin then
    free_at_ms: f64,
}

impl Default for DutyCycle {
    /// Without rests.
    fn default() -> Self {
        Self {
            percent: 100,
            free_at_ms: f64::NEG_INFINITY,
        }
    }
}

impl DutyCycle {
    /// Changes the share from now on; held between 1 and 100.
    pub fn set(&mut self, percent: u32) {
        self.percent = percent.clamp(1, 100);
        self.free_at_ms = f64::NEG_INFINITY;
    }

    /// A step for others lasted from `begun_ms` to `ended_ms`.
    pub fn worked(&mut self, begun_ms: f64, ended_ms: f64) {
        if !begun_ms.is_finite() || !ended_ms.is_finite() {
            return;
        }
        let due_ms = self.free_at_ms.max(begun_ms - CREDIT_MS);
        let used_ms = (ended_ms - begun_ms).max(0.0) * 100.0 / f64::from(self.percent);
        self.free_at_ms = due_ms + used_ms;
    }

    /// How long work for others has to wait, in ms; 0 where it may begin.
    pub fn rest_ms(&self, now_ms: f64) -> f64 {
        (self.free_at_ms - now_ms).max(0.0)
    }
}

/// How many dispatches go into one submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submits {
    /// Of a pass over one row.
    one: usize,
    /// Of a pass over several, times its rows.
    many: usize,
}

impl Submits {
    /// Everything at once.
    pub const WHOLE: Self = Self {
        one: usize::MAX,
        many: usize::MAX,
    };

    /// None much longer than 8 ms, where a pass of `dispatches` takes `one_ms` over one row and
    /// `row_ms` for each row of several.
    pub fn measured(dispatches: usize, one_ms: f64, row_ms: f64) -> Self {
        let in_time = |ms: f64| match ms > 0.0 {
            // Saturates where nearly nothing was measured.
            true => (dispatches as f64 * SUBMIT_MS / ms) as usize,
            false => usize::MAX,
        };
        Self {
            one: in_time(one_ms).max(1),
            many: in_time(row_ms).max(1),
        }
    }

    /// For a pass over `rows` rows.
    pub fn of(self, rows: usize) -> usize {
        match rows {
            0 | 1 => self.one,
            _ => (self.many / rows).max(1),
        }
    }
}

/// Tokens that an answer may go ahead in one wait where one takes `token_ms`: at least one, and no
/// more than fit into 50 ms.
pub fn steps_ahead(token_ms: f64) -> usize {
    match token_ms > 0.0 {
        true => ((WAIT_MS / token_ms) as usize).clamp(1, MAX_STEPS),
        false => MAX_STEPS,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A clock that is set by what happens: steps, timers that are late, the person's own work.
    struct Donor {
        duty: DutyCycle,
        now_ms: f64,
        worked_ms: f64,
    }

    impl Donor {
        fn new(percent: u32) -> Self {
            let mut duty = DutyCycle::default();
            duty.set(percent);
            Self {
                duty,
                now_ms: 1_000.0,
                worked_ms: 0.0,
            }
        }

        fn step(&mut self, step_ms: f64, late_ms: f64) {
            let rest_ms = self.duty.rest_ms(self.now_ms);
            if rest_ms > 0.0 {
                self.now_ms += rest_ms + late_ms;
            }
            self.duty.worked(self.now_ms, self.now_ms + step_ms);
            self.now_ms += step_ms;
            self.worked_ms += step_ms;
        }
    }

    proptest! {
        #[test]
        fn the_share_holds_in_the_long_run(
            percent in 1_u32..=100,
            steps in prop::collection::vec((0.1_f64..400.0, 0.0_f64..5.0), 400..600),
        ) {
            let mut donor = Donor::new(percent);
            let begun_ms = donor.now_ms;
            for (step_ms, late_ms) in &steps {
                donor.step(*step_ms, *late_ms);
            }
            // The rest that the last step owes is still to come, and the first credit was given.
            let end_ms = donor.now_ms + donor.duty.rest_ms(donor.now_ms) + CREDIT_MS;
            let share = 100.0 * donor.worked_ms / (end_ms - begun_ms);
            let given = f64::from(percent);
            prop_assert!(share <= given * (1.0 + 1e-9), "{} % of {} %", share, given);
            prop_assert!(share >= given * 0.95, "{} % of {} %", share, given);
        }

        #[test]
        fn nothing_that_a_clock_says_breaks_it(
            percent in 0_u32..=u32::MAX,
            times in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY), 0..50),
        ) {
            let mut duty = DutyCycle::default();
            duty.set(percent);
            for (begun_ms, ended_ms) in times {
                duty.worked(begun_ms, ended_ms);
                prop_assert!(duty.rest_ms(0.0) >= 0.0);
                let submits = Submits::measured(300, begun_ms, ended_ms);
                prop_assert!(submits.of(1) >= 1 && submits.of(64) >= 1);
                prop_assert!((1..=MAX_STEPS).contains(&steps_ahead(begun_ms)));
            }
        }
    }

    #[test]
    fn after_a_long_silence_no_burst_follows() {
        let mut duty = DutyCycle::default();
        duty.set(10);
        duty.worked(0.0, 10.0);
        duty.worked(60_000.0, 60_010.0);
        duty.worked(60_010.0, 60_020.0);
        assert_eq!(duty.rest_ms(60_020.0), 80.0);
    }

    #[test]
    fn a_whole_share_never_rests() {
        let mut donor = Donor::new(100);
        for _ in 0..100 {
            donor.step(7.0, 0.0);
            assert_eq!(donor.duty.rest_ms(donor.now_ms), 0.0);
        }
    }

    #[test]
    fn submits_are_cut_to_what_a_page_can_wait_for() {
        let submits = Submits::measured(300, 80.0, 40.0);
        assert_eq!((submits.of(1), submits.of(2), submits.of(60)), (30, 30, 1));
        assert!(Submits::measured(300, 5.0, 0.5).of(1) >= 300);
        let slow = Submits::measured(300, 1e9, 1e9);
        assert_eq!((slow.of(1), slow.of(32)), (1, 1));
        assert!(Submits::WHOLE.of(32) > 1 << 20);
    }

    #[test]
    fn a_wait_is_no_longer_than_a_person_notices() {
        assert_eq!(steps_ahead(1.0), MAX_STEPS);
        assert_eq!(steps_ahead(20.0), 2);
        assert_eq!(steps_ahead(500.0), 1);
    }
}
