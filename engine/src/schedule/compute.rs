//! One pass on the model: logits where somebody has to look at them, chosen tokens where all that
//! is wanted is the likeliest. A GPU chooses those itself, several in a row, so that what comes back
//! is 4 bytes for each.

use super::{Part, Scheduler};
use crate::error::EngineError;
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::sequences::SequenceId;

/// What a pass gave.
#[derive(Debug)]
pub(super) enum Computed {
    /// For each wanted row, in order: `(wanted, vocab_size)`.
    Logits(Vec<f32>),
    /// The likeliest token after each wanted row; of answers that were computed several steps
    /// ahead `(steps, parts)`.
    Likeliest { ids: Vec<u32>, steps: usize },
}

/// What an answer makes its next token of.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    Logits(&'a mut [f32]), // (vocab_size)
    Likeliest(u32),
}

impl Computed {
    /// What each part gets, of which `wanted` says how many rows it wants.
    pub(super) fn shares(&mut self, wanted: &[usize], vocab_size: usize) -> Vec<Vec<Choice<'_>>> {
        match self {
            Self::Logits(logits) => {
                let mut rows = logits.chunks_exact_mut(vocab_size).map(Choice::Logits);
                let share = |n: &usize| rows.by_ref().take(*n).collect();
                wanted.iter().map(share).collect()
            }
            Self::Likeliest { ids, steps: 1 } => {
                let mut ids = ids.iter().copied().map(Choice::Likeliest);
                let share = |n: &usize| ids.by_ref().take(*n).collect();
                wanted.iter().map(share).collect()
            }
            Self::Likeliest { ids, .. } => {
                let own = |part: usize| ids.iter().copied().skip(part).step_by(wanted.len());
                let share = |part: usize| own(part).map(Choice::Likeliest).collect();
                (0..wanted.len()).map(share).collect()
            }
        }
    }
}

impl Scheduler {
    /// Computes the rows of `parts`, of which there is at least one.
    pub(super) async fn compute(
        &self,
        parts: &[Part],
        model: &mut Model,
    ) -> Result<Computed, EngineError> {
        let rows = self.rows(parts);
        let plain = |part: &Part| {
            let is_plain = self.jobs[part.job].generation.takes_likeliest();
            is_plain || !self.reads_all(part)
        };
        let is_wanted = parts.iter().any(|part| self.reads_all(part));
        if is_wanted && model.chooses() && parts.iter().all(plain) {
            let steps = self.steps_ahead(parts, model)?;
            let chosen = match steps {
                1 => model.likeliest(&rows).await,
                _ => model.greedy(&self.next(parts), steps).await,
            };
            match chosen {
                // Whose logits they are is seen in them.
                Err(EngineError::LogitsNotFinite { .. }) => {}
                chosen => return chosen.map(|ids| Computed::Likeliest { ids, steps }),
            }
        }
        model.forward(&rows).await.map(Computed::Logits)
    }

    /// How many tokens all of `parts` may go ahead without being looked at.
    fn steps_ahead(&self, parts: &[Part], model: &Model) -> Result<usize, EngineError> {
        let mut steps = self.max_steps.min(MAX_BATCH / parts.len());
        for part in parts {
            if part.rows > 1 || !self.reads_all(part) {
                return Ok(1);
            }
            let job = &self.jobs[part.job];
            let sequence = job.sequence.expect("compose gave it one");
            let context_left = model.config().context_len - model.len(sequence)?;
            steps = steps.min(context_left).min(job.generation.tokens_left());
        }
        let mut pages = 0;
        for (sequence, _) in self.next(parts) {
            pages += model.sequences().pages_for(sequence, steps)?;
        }
        Ok(match pages <= model.sequences().free_pages() {
            true => steps.max(1),
            false => 1,
        })
    }

    /// The sequence of each part, and the one token that it reads next.
    fn next(&self, parts: &[Part]) -> Vec<(SequenceId, u32)> {
        let rows = self.rows(parts);
        rows.iter().map(|row| (row.sequence, row.token)).collect()
    }
}
