//! Beginnings of texts that were read lately, for answers that begin alike.

use std::collections::VecDeque;

use crate::model::Model;
use crate::pass::AdapterId;
use crate::sequences::SequenceId;

/// texts; a conversation comes back with its last turn, and few are had at once.
const MAX_REMEMBERED: usize = 8;

/// tokens; below it reading anew costs less than keeping pages.
const MIN_SHARED: usize = 16;

#[derive(Debug)]
struct Remembered {
    sequence: SequenceId,
    tokens: Vec<u32>,
    adapters: Vec<(AdapterId, f32)>,
}

/// What is remembered, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Prefixes(VecDeque<Remembered>);

impl Prefixes {
    /// Takes over a sequence that has read `tokens`; closes it when it is not worth keeping.
    pub(super) fn keep(
        &mut self,
        model: &mut Model,
        sequence: SequenceId,
        tokens: Vec<u32>,
        adapters: Vec<(AdapterId, f32)>,
        whole: bool,
    ) {
        if !whole || tokens.len() < MIN_SHARED {
            return model.close(sequence);
        }
        // What a longer text begins with need not be kept beside it.
        self.0.retain(|old| {
            let covered = old.adapters == adapters && tokens.starts_with(&old.tokens);
            if covered {
                model.close(old.sequence);
            }
            !covered
        });
        if self.0.len() == MAX_REMEMBERED {
            self.forget_oldest(model);
        }
        self.0.push_back(Remembered {
            sequence,
            tokens,
            adapters,
        });
    }

    /// A sequence that begins as `tokens` do, and how many of them it has; at least one is left to
    /// read.
    pub(super) fn share(
        &mut self,
        model: &mut Model,
        tokens: &[u32],
        adapters: &[(AdapterId, f32)],
    ) -> Option<(SequenceId, usize)> {
        let common = |it: &Remembered| {
            let pairs = it.tokens.iter().zip(&tokens[..tokens.len() - 1]);
            match it.adapters == adapters {
                true => pairs.take_while(|(a, b)| a == b).count(),
                false => 0,
            }
        };
        let (at, n) = self
            .0
            .iter()
            .map(common)
            .enumerate()
            .max_by_key(|(_, n)| *n)?;
        if n < MIN_SHARED {
            return None;
        }
        let used = self.0.remove(at)?;
        let shared = model.share_prefix(used.sequence, n).ok();
        self.0.push_back(used);
        shared.map(|sequence| (sequence, n))
    }

    /// Gives the oldest back; false when nothing is remembered.
    pub(super) fn forget_oldest(&mut self, model: &mut Model) -> bool {
        match self.0.pop_front() {
            Some(oldest) => {
                model.close(oldest.sequence);
                true
            }
            None => false,
        }
    }
}
