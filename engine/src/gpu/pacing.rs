//! How much of the machine computing may take: pure arithmetic on times that the caller measures.

/// ms; what a browser can wait for before it draws a page, without anybody noticing much.
const SUBMIT_MS: f64 = 50.0;

/// ms; a single stretch of work counts for no more, so that a machine that slept in between does
/// not rest for as long.
const MAX_BUSY_MS: f64 = 10_000.0;

/// ms; what is owed in rest is paid in no smaller pieces: timers of a page are no finer.
const MIN_REST_MS: f64 = 4.0;

/// ms; rest taken and not owed, by timers that came late, is good for so much work to come and no
/// more, so that a long pause is not followed by a long rush.
const MAX_CREDIT_MS: f64 = 1_000.0;

/// The smallest share that can be set; nothing at all is not a share but a pause.
const MIN_SHARE: f64 = 0.01;

/// Keeps computing to a share of the time, in the long run and whatever single steps take.
///
/// After each stretch of work: [`DutyCycle::worked`], rest for what it says, and tell
/// [`DutyCycle::rested`] how long that was in fact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DutyCycle {
    share: f64,
    /// ms of rest; negative where there was more than was owed
    owed_ms: f64,
}

impl DutyCycle {
    /// A share of the time, held between 0.01 and 1; what is not a number is the smallest.
    pub fn new(share: f64) -> Self {
        Self {
            share: bounded(share),
            owed_ms: 0.0,
        }
    }

    /// The share that is kept to.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Keeps to another share from now on; what is owed stays owed.
    pub fn set_share(&mut self, share: f64) {
        self.share = bounded(share);
    }

    /// Work took `busy_ms`; how long to rest now, in ms: 0, or at least 4.
    pub fn worked(&mut self, busy_ms: f64) -> f64 {
        let busy_ms = measured(busy_ms).min(MAX_BUSY_MS);
        self.owed_ms += busy_ms * (1.0 - self.share) / self.share;
        if self.owed_ms < MIN_REST_MS {
            return 0.0;
        }
        self.owed_ms
    }

    /// Nothing was computed for `rest_ms`.
    pub fn rested(&mut self, rest_ms: f64) {
        self.owed_ms = (self.owed_ms - measured(rest_ms)).max(-MAX_CREDIT_MS);
    }
}

/// How many dispatches to put into one submit, so that none takes much longer than 50 ms: `pass_ms`
/// is what a pass of `dispatches` took. At least one.
pub fn dispatches_per_submit(pass_ms: f64, dispatches: usize) -> usize {
    let pass_ms = measured(pass_ms);
    if pass_ms <= SUBMIT_MS {
        return dispatches.max(1);
    }
    ((dispatches as f64 * SUBMIT_MS / pass_ms) as usize).max(1)
}

fn bounded(share: f64) -> f64 {
    match share.is_nan() {
        true => MIN_SHARE,
        false => share.clamp(MIN_SHARE, 1.0),
    }
}

/// A clock may be set back, or give anything.
fn measured(ms: f64) -> f64 {
    if ms.is_finite() { ms.max(0.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_share_holds_in_the_long_run(
            share in 0.01_f64..=1.0,
            // Work, and by how much a timer comes late.
            steps in prop::collection::vec((0.0_f64..400.0, 0.0_f64..30.0), 200..400),
        ) {
            let mut duty = DutyCycle::new(share);
            let (mut busy, mut rest, mut late_rest) = (0.0, 0.0, 0.0);
            for (work, late) in steps {
                busy += work;
                let asked = duty.worked(work);
                prop_assert!(asked == 0.0 || asked >= MIN_REST_MS);
                if asked > 0.0 {
                    duty.rested(asked + late);
                    rest += asked + late;
                    late_rest += late;
                }
            }
            // Never more work than the share, but for what is not worth a timer yet.
            let owed = busy * (1.0 - share) / share;
            prop_assert!(rest >= owed - MIN_REST_MS - 1e-6, "{rest} of {owed}");
            // And no more rest than owed, but for the timers.
            prop_assert!(rest <= owed + late_rest + 1e-6, "{rest} of {owed}");
        }

        #[test]
        fn nothing_that_a_clock_says_breaks_it(
            share in prop::num::f64::ANY,
            times in prop::collection::vec(prop::num::f64::ANY, 0..50),
        ) {
            let mut duty = DutyCycle::new(share);
            for time in times {
                let rest = duty.worked(time);
                prop_assert!((0.0..1e9).contains(&rest), "{rest}");
                duty.rested(rest);
                prop_assert!(dispatches_per_submit(time, 300) >= 1);
            }
        }
    }

    #[test]
    fn a_timer_that_comes_late_is_made_up_for_and_a_long_pause_is_not() {
        let mut duty = DutyCycle::new(0.5);
        assert_eq!(duty.worked(100.0), 100.0);
        duty.rested(150.0);
        assert_eq!(duty.worked(100.0), 50.0);
        duty.rested(1e9);
        assert_eq!(duty.worked(MAX_CREDIT_MS), 0.0);
        assert_eq!(duty.worked(10.0), 10.0);
    }

    #[test]
    fn a_whole_share_never_rests() {
        let mut duty = DutyCycle::new(7.0);
        assert_eq!(duty.share(), 1.0);
        assert_eq!(duty.worked(1e6), 0.0);
    }

    #[test]
    fn submits_are_cut_to_what_a_page_can_wait_for() {
        assert_eq!(dispatches_per_submit(20.0, 300), 300);
        assert_eq!(dispatches_per_submit(500.0, 300), 30);
        assert_eq!(dispatches_per_submit(1e9, 300), 1);
    }
}
