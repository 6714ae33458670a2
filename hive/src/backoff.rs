//! How long to wait before the next try: twice as long each time, with a random part, in bounds.

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use thrum_protocol::time::Millis;

/// A wait that grows from `min` to `max`.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    min: Millis,
    max: Millis,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(min: Millis, max: Millis) -> Self {
        Self {
            min,
            max,
            failures: 0,
        }
    }

    /// The next wait: between half and all of `min * 2^failures`, never outside `min..=max`.
    pub(crate) fn fail(&mut self, rng: &mut ChaCha8Rng) -> Millis {
        let ceiling = self
            .min
            .0
            .saturating_mul(1 << self.failures.min(20))
            .min(self.max.0);
        self.failures = self.failures.saturating_add(1);
        jittered(rng, Millis(ceiling)).max(self.min)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }
}

/// A span between half of `span` and all of it, so that peers that started together drift apart.
pub(crate) fn jittered(rng: &mut ChaCha8Rng, span: Millis) -> Millis {
    let half = span.0 / 2;
    Millis(span.0 - half + rng.next_u64() % (half + 1))
}
