//! One pass on the model: logits where somebody has to look at them, chosen tokens where a recipe
//! says enough. A GPU chooses those itself, several in a row where they do not depend on each other
//! but through the model, so that what comes back is 4 bytes for each.

use super::{Job, Part, Scheduler};
use crate::error::EngineError;
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::sampler::Recipe;
use crate::sequences::SequenceId;

/// What a pass gave.
#[derive(Debug)]
pub(super) enum Computed {
    /// For each wanted row, in order: `(wanted, vocab_size)`.
    Logits(Vec<f32>),
    /// The token after each wanted row; of answers that were computed several steps ahead
    /// `(steps, parts)`.
    Chosen { ids: Vec<u32>, steps: usize },
}

/// Who chooses the tokens of a pass, and how.
#[derive(Debug)]
enum Way {
    /// The model: the likeliest.
    Likeliest,
    /// The model, as it is told for each wanted row.
    Drawn(Vec<Recipe>),
    /// The answers, who see the logits.
    Seen,
}

/// What an answer makes its next token of.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    Logits(&'a mut [f32]), // (vocab_size)
    Chosen(u32),
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
            Self::Chosen { ids, steps: 1 } => {
                let mut ids = ids.iter().copied().map(Choice::Chosen);
                let share = |n: &usize| ids.by_ref().take(*n).collect();
                wanted.iter().map(share).collect()
            }
            Self::Chosen { ids, .. } => {
                let own = |part: usize| ids.iter().copied().skip(part).step_by(wanted.len());
                let share = |part: usize| own(part).map(Choice::Chosen).collect();
                (0..wanted.len()).map(share).collect()
            }
        }
    }
}

impl Scheduler {
    /// Computes the rows of `parts`, of which there is at least one.
    pub(super) async fn compute(
        &mut self,
        parts: &[Part],
        model: &mut Model,
    ) -> Result<Computed, EngineError> {
        let rows = self.rows(parts);
        let is_wanted = parts.iter().any(|part| self.reads_all(part));
        if is_wanted && model.chooses() {
            let steps = self.steps_ahead(parts, model)?;
            let chosen = match self.way(parts, steps) {
                Way::Likeliest if steps == 1 => model.likeliest(&rows).await,
                Way::Likeliest => model.greedy(&self.next(parts), steps).await,
                Way::Drawn(recipes) if steps == 1 => model.sample(&rows, &recipes).await,
                Way::Drawn(recipes) => {
                    let next = self.next(parts);
                    model.sample_ahead(&next, &recipes, steps).await
                }
                Way::Seen => return model.forward(&rows).await.map(Computed::Logits),
            };
            match chosen {
                // Whose logits they are is seen in them.
                Err(EngineError::LogitsNotFinite { .. }) => {}
                chosen => return chosen.map(|ids| Computed::Chosen { ids, steps }),
            }
        }
        model.forward(&rows).await.map(Computed::Logits)
    }

    /// How the model can choose the tokens of all of `parts`.
    fn way(&mut self, parts: &[Part], steps: usize) -> Way {
        let wanted = parts.iter().filter(|part| self.reads_all(part));
        let wanted: Vec<&Part> = wanted.collect();
        let is_plain = |part: &&Part| self.jobs[part.job].generation.takes_likeliest();
        if wanted.iter().all(is_plain) {
            return Way::Likeliest;
        }
        let mut recipes = Vec::new();
        for part in wanted {
            let Job {
                generation, draft, ..
            } = &mut self.jobs[part.job];
            for ahead in 0..=part.guesses {
                match generation.recipe(&draft.guesses()[..ahead], steps) {
                    Some(recipe) => recipes.push(recipe),
                    None => return Way::Seen,
                }
            }
        }
        Way::Drawn(recipes)
    }

    /// How many tokens all of `parts` may go ahead without being looked at.
    fn steps_ahead(&self, parts: &[Part], model: &Model) -> Result<usize, EngineError> {
        let mut steps = self.max_steps.min(MAX_BATCH / parts.len());
        for part in parts {
            let job = &self.jobs[part.job];
            if part.rows > 1 || !self.reads_all(part) || !job.generation.goes_ahead() {
                return Ok(1);
            }
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
