//! How a peer is reached: directly first, then by TURN, through a relay where that fails, too, and
//! directly again later, since networks change.

use crate::backoff::Backoff;
use crate::io::Way;
use crate::limits::{DIRECT_RETRY_MAX, DIRECT_RETRY_MIN};
use rand_chacha::ChaCha8Rng;
use thrum_protocol::time::Millis;
use thrum_protocol::view::Path;

/// What was tried with one peer.
#[derive(Debug)]
pub(crate) struct Ladder {
    /// why the last direct dial failed, unless one led somewhere since
    failure: Option<String>,
    /// when a peer that is reached through a relay is dialled directly again
    again: Option<Millis>,
    retry: Backoff,
}

impl Ladder {
    pub(crate) fn new() -> Self {
        Self {
            failure: None,
            again: None,
            retry: Backoff::new(DIRECT_RETRY_MIN, DIRECT_RETRY_MAX),
        }
    }

    /// A rung failed: the one to try at once, if any is left. A connected peer has no need of it.
    pub(crate) fn failed(
        &mut self,
        way: Way,
        reason: String,
        connected: bool,
        now: Millis,
        rng: &mut ChaCha8Rng,
    ) -> Option<Way> {
        match way {
            Way::Direct => {
                self.failure = Some(reason);
                Some(Way::Turn)
            }
            Way::Turn => {
                if let Some(failure) = &mut self.failure {
                    *failure = format!("{failure}; by TURN: {reason}");
                }
                if connected {
                    self.again = Some(now + self.retry.fail(rng));
                }
                (!connected).then_some(Way::Relayed)
            }
            Way::Relayed => None,
        }
    }

    /// The peer is reached.
    pub(crate) fn reached(&mut self, path: Path, now: Millis, rng: &mut ChaCha8Rng) {
        match path {
            Path::Direct => *self = Self::new(),
            Path::Relayed => {
                let again = now + self.retry.fail(rng);
                self.again.get_or_insert(again);
            }
        }
    }

    /// The peer is connected no more: the next dial begins at the first rung.
    pub(crate) fn lost(&mut self) {
        self.again = None;
    }

    /// Something has changed in our network: a peer behind a relay is tried at once.
    pub(crate) fn hurry(&mut self, now: Millis) {
        if let Some(again) = &mut self.again {
            *again = now;
            self.retry.reset();
        }
    }

    /// A direct dial to a connected peer begins.
    pub(crate) fn begun(&mut self) {
        self.again = None;
    }

    /// Not now.
    pub(crate) fn postpone(&mut self, again: Millis) {
        self.again = Some(again);
    }

    /// When a connected peer is to be dialled directly.
    pub(crate) fn again(&self) -> Option<Millis> {
        self.again
    }

    /// Why the peer is not reached directly.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(7)
    }

    #[test]
    fn turn_is_the_second_rung_and_a_relay_the_last() {
        let (mut ladder, rng) = (Ladder::new(), &mut rng());
        let next = ladder.failed(Way::Direct, "no way".into(), false, Millis(0), rng);
        assert_eq!(next, Some(Way::Turn));
        assert_eq!(ladder.failure(), Some("no way"));
        let next = ladder.failed(Way::Turn, "none".into(), false, Millis(0), rng);
        assert_eq!(next, Some(Way::Relayed));
        let why = Some("no way; by TURN: none");
        assert_eq!(ladder.failure(), why);
        let next = ladder.failed(Way::Relayed, "no".into(), false, Millis(0), rng);
        assert_eq!(next, None);
        assert_eq!(ladder.failure(), why, "of the direct ones");
    }

    #[test]
    fn a_relayed_peer_is_tried_directly_less_and_less_often() {
        let (mut ladder, rng) = (Ladder::new(), &mut rng());
        let mut now = Millis(0);
        ladder.reached(Path::Relayed, now, rng);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let again = ladder.again().expect("it is tried again");
            waits.push(again.since(now));
            now = again;
            ladder.begun();
            assert_eq!(ladder.again(), None, "one at a time");
            let next = ladder.failed(Way::Direct, "no".into(), true, now, rng);
            assert_eq!(next, Some(Way::Turn));
            let next = ladder.failed(Way::Turn, "no".into(), true, now, rng);
            assert_eq!(next, None, "it is connected");
        }
        assert!(waits[0] >= DIRECT_RETRY_MIN, "{waits:?}");
        assert!(waits[11] >= Millis(DIRECT_RETRY_MAX.0 / 2), "{waits:?}");
        ladder.hurry(now);
        assert_eq!(ladder.again(), Some(now));
        ladder.reached(Path::Direct, now, rng);
        assert_eq!((ladder.again(), ladder.failure()), (None, None));
    }
}
