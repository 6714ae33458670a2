//! What we think of one peer, from what it did with us: a bounded score, and for how long it is
//! shunned after a lie.

use crate::limits::{MAX_LIES, SHUN_MAX, SHUN_MIN};
use thrum_protocol::time::Millis;

/// score; of a peer we know nothing of.
const UNKNOWN: u32 = 500;
/// score; the best.
const BEST: u32 = 1_000;

/// One peer's reputation.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// 0 to [`BEST`]; `None` before the first task
    score: Option<u32>,
    /// 16 at most, so that it can be a power of two
    lies: u32,
    shunned_until: Millis,
}

impl Standing {
    pub(crate) const NEW: Self = Self {
        score: None,
        lies: 0,
        shunned_until: Millis(0),
    };

    /// A fifth of the way to the best.
    pub(crate) fn served(&mut self) {
        let score = self.score();
        self.score = Some(score + (BEST - score) / 5);
    }

    /// It vanished, was silent or failed: a tenth less. The honest recover from that.
    pub(crate) fn faulted(&mut self) {
        let score = self.score();
        self.score = Some(score - score / 10);
    }

    /// A quarter of the score remains, and nobody asks it for a time that doubles.
    pub(crate) fn lied(&mut self, now: Millis) {
        self.score = Some(self.score() / 4);
        let shun = SHUN_MIN.0.saturating_mul(1 << self.lies.min(16));
        self.shunned_until = now + Millis(shun.min(SHUN_MAX.0));
        self.lies = (self.lies + 1).min(16);
    }

    pub(crate) fn shunned(&self, now: Millis) -> bool {
        now < self.shunned_until
    }

    /// It lied so often that we do not even stay connected.
    pub(crate) fn banned(&self, now: Millis) -> bool {
        self.lies >= MAX_LIES && self.shunned(now)
    }

    /// When it may be connected again; zero where it may at once.
    pub(crate) fn ban_ends(&self) -> Millis {
        if self.lies >= MAX_LIES {
            self.shunned_until
        } else {
            Millis(0)
        }
    }

    /// Thousandths.
    pub(crate) fn score(&self) -> u32 {
        self.score.unwrap_or(UNKNOWN)
    }

    /// 0 to 1, `None` before anything is known.
    pub(crate) fn view(&self) -> Option<f64> {
        self.score.map(|score| f64::from(score) / f64::from(BEST))
    }
}
