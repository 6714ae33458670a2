//! An answer, one step at a time: whoever drives it may pause, look or stop between any two steps.
//!
//! 1. [`Generation::new`] takes the prompt and, when an answer is taken over from another peer,
//!    the tokens it already has.
//! 2. Each [`Generation::step`] is at most one forward pass: a slice of the prompt, or one token.
//! 3. After [`Step::Finished`] every further step says the same again.
//!
//! The token at index `i` depends on the prompt, the tokens before it, the parameters and the
//! model: not on how many of those tokens were computed here.

use crate::constraint::Constraint;
use crate::error::EngineError;
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::sampler::{Choice, Logprobs, Recipe, Sampler, SamplerParams};
use crate::sequences::SequenceId;
use crate::text::TextStream;
use crate::tokenizer::Tokenizer;
use crate::truncation::ContextShift;

/// What an answer shall be like.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationParams {
    /// How tokens are chosen.
    pub sampling: SamplerParams,
    /// Tokens in the whole answer, resumed ones included; at least 1.
    pub max_tokens: usize,
    /// The answer ends before the first of these.
    pub stop: Vec<String>,
    /// Goes on after an end-of-text token, for measuring and comparing.
    pub ignore_eos: bool,
    /// When the context is full, goes on without the oldest half of what comes after so many tokens
    /// of the beginning, as [`ContextShift`] says; none ends the answer there. [`crate::schedule`]
    /// does it.
    pub keep: Option<usize>,
}

/// A token of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEvent {
    /// Its place in the answer, from 0, resumed tokens counted.
    pub index: usize,
    /// Its id.
    pub id: u32,
    /// Its bytes, which may be part of a character.
    pub bytes: Vec<u8>,
    /// Text that became certain with it; empty while a character or a stop string may be open.
    pub text: String,
    /// What the model thought of it; where [`SamplerParams::logprobs`] asks.
    pub logprobs: Option<Logprobs>,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The caller asked for it.
    Cancelled,
    /// `max_tokens`, or the end of the context.
    Length,
    /// An end-of-text token or a stop string.
    Stop,
}

/// The end of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// Text that had been held back; empty when the step is repeated.
    pub text: String,
    /// Tokens of prompt and answer that went so that the answer could go on.
    pub discarded: usize,
}

/// What a step did.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Step {
    /// The answer has ended.
    Finished(Finish),
    /// Part of the prompt was read.
    Prefill {
        /// Tokens read so far.
        done: usize,
        /// Tokens to read before the next token of the answer.
        total: usize,
    },
    /// The answer has one more token.
    Token(TokenEvent),
}

/// An answer in the making.
#[derive(Debug)]
pub struct Generation {
    sampler: Sampler,
    params: GenerationParams,
    text: TextStream,
    /// The prompt and the answer so far.
    tokens: Vec<u32>,
    n_prompt: usize,
    context_len: usize,
    /// What goes when the context is full; none ends the answer there.
    shift: Option<ContextShift>,
    /// What the text of the answer has to fit.
    constraint: Option<Constraint>,
    /// Where the model keeps what it has read of them; none before the first step.
    sequence: Option<SequenceId>,
    finished: Option<FinishReason>,
    /// An end-of-text token came, which is not among the tokens: all of those were read.
    said_end: bool,
}

impl Generation {
    /// Starts an answer to `prompt`, of which `resumed` has been computed elsewhere.
    ///
    /// Text that belongs to `resumed` is not repeated; what its last token held back comes out
    /// with the next.
    ///
    /// # Errors
    /// [`EngineError::EmptyPrompt`], [`EngineError::PromptTooLong`],
    /// [`EngineError::UnknownToken`], or [`EngineError::BadParameter`].
    pub fn new(
        model: &Model,
        tokenizer: &Tokenizer,
        prompt: &[u32],
        resumed: &[u32],
        params: GenerationParams,
    ) -> Result<Self, EngineError> {
        let sampler = Sampler::new(params.sampling.clone())?;
        if params.max_tokens == 0 {
            return Err(EngineError::BadParameter {
                name: "max_tokens",
                value: "0".to_owned(),
                expected: "at least 1".to_owned(),
            });
        }
        let tokens = [prompt, resumed].concat();
        let config = model.config();
        if prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        let keep = params.keep;
        let shift = keep.and_then(|keep| ContextShift::new(config.context_len, keep));
        // What an answer goes on from may be longer than the context where that is shifted.
        let n_first = match shift {
            Some(_) => prompt.len(),
            None => tokens.len(),
        };
        if n_first > config.context_len {
            return Err(EngineError::PromptTooLong {
                prompt_tokens: n_first,
                context_len: config.context_len,
            });
        }
        let vocab_size = config.vocab_size;
        sampler.check_vocabulary(vocab_size)?;
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocab_size) {
            return Err(EngineError::UnknownToken {
                token: *token,
                vocab_size,
            });
        }
        let mut text = TextStream::new(&params.stop)?;
        for token in resumed {
            text.push(tokenizer.piece(*token));
        }
        let n_prompt = prompt.len();
        let mut generation = Self {
            sampler,
            params,
            text,
            tokens,
            n_prompt,
            context_len: config.context_len,
            shift,
            constraint: None,
            sequence: None,
            finished: None,
            said_end: false,
        };
        if !resumed.is_empty() {
            generation.finished = generation.end_after_last();
        }
        Ok(generation)
    }

    /// Holds the answer to `constraint`, which has accepted nothing yet.
    ///
    /// # Errors
    /// [`EngineError::Constraint`] when the resumed tokens do not fit it.
    pub fn constrained(mut self, mut constraint: Constraint) -> Result<Self, EngineError> {
        for token in self.answer() {
            constraint.accept(*token)?;
        }
        self.constraint = Some(constraint);
        Ok(self)
    }

    /// Reads the next slice of the prompt, or computes the next token.
    ///
    /// # Errors
    /// As [`Model::forward`]; [`EngineError::LogitsNotFinite`]. A step that failed can be tried
    /// again.
    ///
    /// # Cancel safety
    /// A step that was dropped can be taken again.
    pub async fn step(
        &mut self,
        model: &mut Model,
        tokenizer: &Tokenizer,
    ) -> Result<Step, EngineError> {
        if let Some(finish) = self.finish() {
            return Ok(Step::Finished(finish));
        }
        let sequence = match self.sequence {
            Some(sequence) => sequence,
            None => *self.sequence.insert(model.open()?),
        };
        let n_read = model.len(sequence)?;
        let total = self.tokens.len();
        let end = total.min(n_read + MAX_BATCH);
        let mut logits = model.read(sequence, &self.tokens[n_read..end]).await?;
        if end < total {
            return Ok(Step::Prefill { done: end, total });
        }
        self.take(&mut logits, tokenizer)
    }

    /// Takes the next token from the logits that follow everything there is.
    ///
    /// # Errors
    /// [`EngineError::LogitsNotFinite`]; nothing has changed then.
    pub fn take(
        &mut self,
        logits: &mut [f32], // (vocab_size)
        tokenizer: &Tokenizer,
    ) -> Result<Step, EngineError> {
        let index = self.answer().len();
        let allowed = match &mut self.constraint {
            Some(constraint) => Some(constraint.mask()?),
            None => None,
        };
        let Choice { id, logprobs } = self.sampler.choose(logits, &self.tokens, index, allowed)?;
        self.append(id, logprobs, tokenizer)
    }

    /// Whether the next token is the likeliest whatever else was said, so that nobody has to see
    /// the logits.
    pub fn takes_likeliest(&self) -> bool {
        self.constraint.is_none() && self.params.sampling.takes_likeliest()
    }

    /// Whether tokens after the next can be chosen without looking at the next.
    pub fn goes_ahead(&self) -> bool {
        self.constraint.is_none() && !self.params.sampling.looks_back()
    }

    /// How the token after everything there is and the tokens `ahead` is chosen, and those after it
    /// up to `steps`, which may be several where [`Generation::goes_ahead`]. None where the logits
    /// have to be seen, which [`Generation::take`] then does.
    pub fn recipe(&mut self, ahead: &[u32], steps: usize) -> Option<Recipe> {
        if self.params.sampling.logprobs.is_some() {
            return None;
        }
        let index = self.answer().len() + ahead.len();
        let allowed = match &mut self.constraint {
            // What fits after tokens that are guesses is not known.
            Some(_) if !ahead.is_empty() => return None,
            Some(constraint) => Some(constraint.mask().ok()?),
            None => None,
        };
        match ahead {
            [] => self.sampler.recipe(&self.tokens, index, steps, allowed),
            _ => {
                let history = [&self.tokens, ahead].concat();
                self.sampler.recipe(&history, index, steps, allowed)
            }
        }
    }

    /// Takes `id` as the next token, which [`Generation::take`] would have chosen: that of the
    /// largest logit, where [`Generation::takes_likeliest`], or what [`Generation::recipe`] gives.
    ///
    /// # Errors
    /// As [`Generation::take`].
    pub fn take_chosen(&mut self, id: u32, tokenizer: &Tokenizer) -> Result<Step, EngineError> {
        self.append(id, None, tokenizer)
    }

    fn append(
        &mut self,
        id: u32,
        logprobs: Option<Logprobs>,
        tokenizer: &Tokenizer,
    ) -> Result<Step, EngineError> {
        let index = self.answer().len();
        if tokenizer.is_end(id) && !self.params.ignore_eos {
            self.finished = Some(FinishReason::Stop);
            self.said_end = true;
            return Ok(Step::Finished(Finish {
                reason: FinishReason::Stop,
                text: self.text.flush(),
                discarded: self.discarded(),
            }));
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(id)?;
        }
        self.tokens.push(id);
        let bytes = tokenizer.piece(id).to_vec();
        let text = self.text.push(&bytes);
        self.finished = self.end_after_last();
        Ok(Step::Token(TokenEvent {
            index,
            id,
            bytes,
            text,
            logprobs,
        }))
    }

    /// The end of the answer, once there is one.
    pub fn finish(&mut self) -> Option<Finish> {
        let discarded = self.discarded();
        self.finished.map(|reason| Finish {
            reason,
            text: self.text.flush(),
            discarded,
        })
    }

    /// Whether the answer has ended.
    pub fn is_finished(&self) -> bool {
        self.finished.is_some()
    }

    /// What the answer shall be like.
    pub fn params(&self) -> &GenerationParams {
        &self.params
    }

    /// Tokens that the answer may still have.
    pub fn tokens_left(&self) -> usize {
        self.params.max_tokens.saturating_sub(self.answer().len())
    }

    /// The prompt and the answer so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Gives back what the model keeps of it; a further step reads everything anew.
    pub fn release(&mut self, model: &mut Model) {
        if let Some(sequence) = self.sequence.take() {
            model.close(sequence);
        }
    }

    /// Ends the answer; the next step says so. An answer that has ended stays as it ended.
    pub fn cancel(&mut self) {
        self.finished.get_or_insert(FinishReason::Cancelled);
    }

    /// The tokens of the answer so far, resumed ones included.
    pub fn answer(&self) -> &[u32] {
        &self.tokens[self.n_prompt..]
    }

    /// What goes when the context is full; none where the answer ends there.
    pub fn shift(&self) -> Option<ContextShift> {
        self.shift
    }

    /// Tokens of prompt and answer that went so that the answer could go on.
    pub fn discarded(&self) -> usize {
        let unread = usize::from(!self.said_end);
        let n_read = self.tokens.len().saturating_sub(unread);
        self.shift.map_or(0, |shift| shift.discarded(n_read))
    }

    /// Tokens in the prompt.
    pub fn prompt_len(&self) -> usize {
        self.n_prompt
    }

    fn end_after_last(&self) -> Option<FinishReason> {
        let whole = self
            .constraint
            .as_ref()
            .is_some_and(Constraint::is_finished);
        if self.text.stopped() || whole {
            return Some(FinishReason::Stop);
        }
        let context_full = self.tokens.len() > self.context_len && self.shift.is_none();
        let full = self.answer().len() >= self.params.max_tokens || context_full;
        full.then_some(FinishReason::Length)
    }
}

#[cfg(test)]
mod tests;
