//! Many answers on one model: who is computed next, and with whom.
//!
//! Each [`Scheduler::step`] is one forward pass.
//! 1. Answers that have ended leave; what they read is remembered for a while.
//! 2. The pass is filled: one row for every answer that waits for a token (more when its next
//!    tokens can be guessed), then slices of prompts, in turns.
//! 3. The logits are shared out; every token goes to its answer.
//!
//! The person at the page comes first: while one of their answers is computed, those given to
//! others get one pass in [`DONATED_PERIOD`]. When the cache is full, remembered texts are
//! forgotten first; then the newest answer, one for somebody else before the person's, gives its
//! place up and reads its past anew later.
//!
//! Invariant: the tokens of an answer do not depend on what else is computed.

mod compute;
mod draft;
mod prefixes;

use std::collections::VecDeque;

use crate::error::EngineError;
use crate::generate::{Finish, Generation, Step};
use crate::gpu::MAX_STEPS;
use crate::memory::MAX_BATCH;
use crate::model::Model;
use crate::pass::{AdapterId, PAGE_LEN};
use crate::sequences::{BatchRow, SequenceId};
use crate::tokenizer::Tokenizer;
use compute::Choice;
use draft::Draft;
use prefixes::Prefixes;

/// passes; of so many, answers for others get one while the person's are computed.
pub const DONATED_PERIOD: u64 = 8;

/// answers; how many can wait or run at once.
pub const MAX_JOBS: usize = 128;

/// An answer that the scheduler has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(u64);

/// Whom an answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Somebody else.
    Donated,
    /// The person at the page.
    Local,
}

/// What a pass did for an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It cannot go on; it is gone.
    Failed(JobId, EngineError),
    /// It has ended; it is gone.
    Finished(JobId, Finish),
    /// It has one more token, or read more of its prompt.
    Step(JobId, Step),
}

#[derive(Debug)]
struct Job {
    id: JobId,
    priority: Priority,
    generation: Generation,
    adapters: Vec<(AdapterId, f32)>,
    /// None before the first pass and after a place was given up.
    sequence: Option<SequenceId>,
    /// Tokens that the model has read; those of a shared beginning count.
    n_read: usize,
    draft: Draft,
    /// An event has told of its end.
    failed: bool,
}

/// The rows of one answer in a pass.
#[derive(Debug)]
struct Part {
    job: usize,
    rows: usize,
    /// Of which guesses, at the end.
    guesses: usize,
}

/// All answers of a model.
#[derive(Debug)]
pub struct Scheduler {
    /// The next in turn is in front.
    jobs: VecDeque<Job>,
    prefixes: Prefixes,
    max_running: usize,
    max_steps: usize,
    guesses: bool,
    donates: bool,
    passes: u64,
    last_turn: Priority,
    next_id: u64,
}

impl Scheduler {
    /// No answers; at most `max_running` of them hold a place in the cache at once. With
    /// `guesses`, several tokens of an answer are computed at once where its text repeats itself.
    pub fn new(max_running: usize, guesses: bool) -> Self {
        Self {
            jobs: VecDeque::new(),
            prefixes: Prefixes::default(),
            max_running: max_running.max(1),
            max_steps: MAX_STEPS,
            guesses,
            donates: true,
            passes: 0,
            last_turn: Priority::Local,
            next_id: 0,
        }
    }

    /// Takes an answer, which nothing has read yet.
    ///
    /// # Errors
    /// [`EngineError::TooManySequences`] when [`MAX_JOBS`] are there.
    pub fn submit(
        &mut self,
        generation: Generation,
        priority: Priority,
        adapters: Vec<(AdapterId, f32)>,
    ) -> Result<JobId, EngineError> {
        if self.jobs.len() >= MAX_JOBS {
            return Err(EngineError::TooManySequences {
                max_sequences: MAX_JOBS,
            });
        }
        let id = JobId(self.next_id);
        self.next_id += 1;
        self.jobs.push_back(Job {
            id,
            priority,
            generation,
            adapters,
            sequence: None,
            n_read: 0,
            draft: Draft::default(),
            failed: false,
        });
        Ok(id)
    }

    /// Forgets an answer.
    pub fn cancel(&mut self, model: &mut Model, id: JobId) {
        if let Some(at) = self.jobs.iter().position(|job| job.id == id)
            && let Some(job) = self.jobs.remove(at)
        {
            self.remember(model, job);
        }
    }

    /// Whether there is anything to compute.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether there is anything to compute for `priority`.
    pub fn has_work_for(&self, priority: Priority) -> bool {
        self.jobs.iter().any(|job| job.priority == priority)
    }

    /// Answers that hold a place in the cache.
    pub fn running(&self) -> usize {
        self.jobs.iter().filter(|it| it.sequence.is_some()).count()
    }

    /// Whether passes are spent on answers for others, until it is said otherwise.
    pub fn set_donates(&mut self, donates: bool) {
        self.donates = donates;
    }

    /// Lets answers go at most so many tokens ahead in one pass where the model chooses them itself,
    /// at least one and at most [`MAX_STEPS`]: fewer waits, and longer ones.
    pub fn set_max_steps(&mut self, steps: usize) {
        self.max_steps = steps.clamp(1, MAX_STEPS);
    }

    /// For whom the last pass was.
    pub fn last_turn(&self) -> Priority {
        self.last_turn
    }

    /// Forgets every remembered beginning, as after adapters changed.
    pub fn forget_prefixes(&mut self, model: &mut Model) {
        while self.prefixes.forget_oldest(model) {}
    }

    /// Lets at most so many answers hold a place in the cache at once, from the next pass on.
    pub fn set_max_running(&mut self, max_running: usize) {
        self.max_running = max_running.max(1);
    }

    /// After the model was lost and another of the same file took its place, whose sequences are
    /// none: every answer reads its past anew and goes on where it was.
    pub fn restart(&mut self) {
        self.prefixes = Prefixes::default();
        for job in &mut self.jobs {
            (job.sequence, job.n_read) = (None, 0);
        }
    }

    /// Computes one pass.
    ///
    /// # Errors
    /// [`EngineError::GpuLost`], [`EngineError::OutOfMemory`] and whatever else is not the matter
    /// of one answer. Every answer is as before and the step can be taken again.
    ///
    /// # Cancel safety
    /// A step that was dropped can be taken again.
    pub async fn step(
        &mut self,
        model: &mut Model,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<Event>, EngineError> {
        let mut events = self.take_finished(model);
        let parts = match self.compose(model, &mut events) {
            Ok(parts) => parts,
            Err(error) => return told(events, error),
        };
        if parts.is_empty() {
            // Whoever had this turn has to wait; the next is another's.
            self.passes += 1;
            return Ok(events);
        }
        let mut computed = match self.compute(&parts, model).await {
            Ok(computed) => computed,
            Err(error) => return told(events, error),
        };
        self.passes += 1;
        let wanted = |part: &Part| match self.reads_all(part) {
            true => part.guesses + 1,
            false => 0,
        };
        let wanted: Vec<usize> = parts.iter().map(wanted).collect();
        let shares = computed.shares(&wanted, model.config().vocab_size);
        for (part, choices) in parts.iter().zip(shares) {
            self.hand_out(part, choices, model, tokenizer, &mut events)?;
        }
        // Whoever was served goes to the end of the queue.
        let mut served: Vec<usize> = parts.iter().map(|part| part.job).collect();
        served.sort_unstable();
        for at in served.into_iter().rev() {
            if let Some(job) = self.jobs.remove(at) {
                self.jobs.push_back(job);
            }
        }
        events.extend(self.take_finished(model));
        Ok(events)
    }

    /// Whether a part's rows reach the last token, so that the next can be chosen.
    fn reads_all(&self, part: &Part) -> bool {
        let job = &self.jobs[part.job];
        job.n_read + part.rows - part.guesses == job.generation.tokens().len()
    }

    fn rows(&self, parts: &[Part]) -> Vec<BatchRow> {
        let mut rows = Vec::with_capacity(MAX_BATCH);
        for part in parts {
            let job = &self.jobs[part.job];
            let sequence = job.sequence.expect("compose gave it one");
            let certain = part.rows - part.guesses;
            let tokens = &job.generation.tokens()[job.n_read..job.n_read + certain];
            let guesses = &job.draft.guesses()[..part.guesses];
            let reads_all = self.reads_all(part);
            for (i, token) in tokens.iter().chain(guesses).enumerate() {
                rows.push(BatchRow {
                    sequence,
                    token: *token,
                    logits: reads_all && i + 1 >= certain,
                });
            }
        }
        rows
    }

    /// Gives one answer what the pass computed for it: one choice for each row that it wanted, or
    /// for each step that it went ahead.
    fn hand_out(
        &mut self,
        part: &Part,
        choices: Vec<Choice<'_>>,
        model: &mut Model,
        tokenizer: &Tokenizer,
        events: &mut Vec<Event>,
    ) -> Result<(), EngineError> {
        let job = &mut self.jobs[part.job];
        job.n_read += part.rows - part.guesses;
        if choices.is_empty() {
            let (done, total) = (job.n_read, job.generation.tokens().len());
            events.push(Event::Step(job.id, Step::Prefill { done, total }));
            return Ok(());
        }
        // What the model has read after the first choice: guesses, or what it chose itself.
        let ahead = choices.len() - 1;
        let is_guess = part.guesses > 0;
        let mut confirmed = 0;
        for (i, choice) in choices.into_iter().enumerate() {
            let taken = match choice {
                Choice::Logits(logits) => job.generation.take(logits, tokenizer),
                Choice::Chosen(id) => job.generation.take_chosen(id, tokenizer),
            };
            let step = match taken {
                Ok(step) => step,
                Err(error) => {
                    let id = job.id;
                    events.push(Event::Failed(id, error));
                    self.fail(part.job, model);
                    return Ok(());
                }
            };
            let Step::Token(token) = &step else { break };
            let guessed = job.draft.guesses().get(i).filter(|_| i < part.guesses);
            let is_read = i < ahead && (!is_guess || guessed == Some(&token.id));
            events.push(Event::Step(job.id, step));
            if !is_read || job.generation.is_finished() {
                break;
            }
            confirmed += 1;
        }
        job.n_read += confirmed;
        if is_guess || ahead == 0 {
            job.draft.learn(part.guesses, confirmed);
        }
        let wrong = ahead - confirmed;
        if wrong > 0 {
            let sequence = job.sequence.expect("it was just computed");
            model.truncate(sequence, model.len(sequence)? - wrong)?;
        }
        Ok(())
    }

    /// Ends a job of which an event has told; it leaves when the step ends, so that others keep
    /// their places until then.
    fn fail(&mut self, at: usize, model: &mut Model) {
        self.give_up(at, model);
        self.jobs[at].failed = true;
    }

    /// Answers that have ended leave.
    fn take_finished(&mut self, model: &mut Model) -> Vec<Event> {
        let mut events = Vec::new();
        for mut job in std::mem::take(&mut self.jobs) {
            if job.failed {
                continue;
            }
            match job.generation.finish() {
                Some(finish) => {
                    events.push(Event::Finished(job.id, finish));
                    self.remember(model, job);
                }
                None => self.jobs.push_back(job),
            }
        }
        events
    }

    /// Keeps what an answer has read, for one that begins alike.
    fn remember(&mut self, model: &mut Model, job: Job) {
        if let Some(sequence) = job.sequence {
            let tokens = job.generation.tokens()[..job.n_read].to_vec();
            // After a shift the cache is not the beginning of the text.
            let whole = model.len(sequence) == Ok(job.n_read);
            self.prefixes
                .keep(model, sequence, tokens, job.adapters, whole);
        }
    }

    /// Chooses the rows of the next pass.
    fn compose(
        &mut self,
        model: &mut Model,
        events: &mut Vec<Event>,
    ) -> Result<Vec<Part>, EngineError> {
        let mut admits = true;
        loop {
            let mut parts: Vec<Part> = Vec::new();
            let mut left = MAX_BATCH;
            let order = self.order();
            // Answers that wait for one token first: a long prompt must not hold them up.
            for is_prompt in [false, true] {
                for at in &order {
                    let unread = self.jobs[*at].unread();
                    if left == 0 || (unread > 1) != is_prompt {
                        continue;
                    }
                    let has_place = self.jobs[*at].sequence.is_some();
                    if !(has_place || admits) || !self.give_place(*at, model)? {
                        continue;
                    }
                    let unread = self.jobs[*at].unread().min(left);
                    // A context is shifted when it is full, and not before.
                    let unread = unread.min(self.context_left(*at, model)?);
                    let alone = order.len() == 1;
                    let guesses = self.guess(*at, left - unread, alone, model)?;
                    parts.push(Part {
                        job: *at,
                        rows: unread + guesses,
                        guesses,
                    });
                    left -= unread + guesses;
                }
            }
            match self.make_room(&parts, model)? {
                Room::Enough => return Ok(parts),
                // Whose place was taken does not get it back at once.
                Room::Made => admits = false,
                Room::Missing(error) => {
                    let Some(part) = parts.first() else {
                        return Ok(parts);
                    };
                    events.push(Event::Failed(self.jobs[part.job].id, error));
                    let at = part.job;
                    self.give_up(at, model);
                    self.jobs.remove(at);
                }
            }
        }
    }

    /// The jobs that may be in the next pass: those with a place in turn, then the oldest without.
    fn order(&mut self) -> Vec<usize> {
        let has_local = self.has_work_for(Priority::Local);
        let donated_turn = self.passes % DONATED_PERIOD == DONATED_PERIOD - 1;
        let has_donated = self.donates && self.has_work_for(Priority::Donated);
        let turn = match has_local && !(donated_turn && has_donated) || !self.donates {
            true => Priority::Local,
            false => Priority::Donated,
        };
        self.last_turn = turn;
        let of_turn = |at: &usize| self.jobs[*at].priority == turn;
        let (mut order, mut placeless): (Vec<usize>, Vec<usize>) = (0..self.jobs.len())
            .filter(of_turn)
            .partition(|at| self.jobs[*at].sequence.is_some());
        placeless.sort_by_key(|at| self.jobs[*at].id);
        order.extend(placeless);
        order
    }

    /// Makes sure that a job has a sequence; false when it has to wait for one. It gets one only
    /// where the cache has room for all that it has to read, so that nobody is turned out for it
    /// but answers for somebody else for one of the person's.
    fn give_place(&mut self, at: usize, model: &mut Model) -> Result<bool, EngineError> {
        if self.jobs[at].sequence.is_some() {
            return self.shift_if_full(at, model);
        }
        let is_local = self.jobs[at].priority == Priority::Local;
        while self.running() >= self.max_running {
            if !(is_local && self.displace(model)) {
                return Ok(false);
            }
        }
        let Some((sequence, n_read)) = self.open(at, model)? else {
            return Ok(false);
        };
        let unread = self.jobs[at].generation.tokens().len() - n_read;
        let unread = unread.min(model.config().context_len - n_read);
        // And a page to grow.
        let needed = model.sequences().pages_for(sequence, unread)? + 1;
        while model.sequences().free_pages() < needed && self.running() > 0 {
            let made = self.prefixes.forget_oldest(model) || (is_local && self.displace(model));
            if !made {
                model.close(sequence);
                return Ok(false);
            }
        }
        let job = &mut self.jobs[at];
        (job.sequence, job.n_read) = (Some(sequence), n_read);
        // What it shares may fill the context already.
        self.shift_if_full(at, model)
    }

    /// A sequence for a job, and how many of its tokens that one has; none where too many are open.
    fn open(
        &mut self,
        at: usize,
        model: &mut Model,
    ) -> Result<Option<(SequenceId, usize)>, EngineError> {
        let job = &self.jobs[at];
        let tokens = job.generation.tokens();
        if let Some(shared) = self.prefixes.share(model, tokens, &job.adapters) {
            return Ok(Some(shared));
        }
        loop {
            match model.open() {
                Ok(sequence) => {
                    model.set_adapters(sequence, job.adapters.clone())?;
                    return Ok(Some((sequence, 0)));
                }
                Err(EngineError::TooManySequences { .. }) => {
                    if !self.prefixes.forget_oldest(model) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes room in the context of an answer that has filled it and shall go on. False where pages
    /// that others have too would have to be copied and there is no room: it gives its place up.
    fn shift_if_full(&mut self, at: usize, model: &mut Model) -> Result<bool, EngineError> {
        let job = &self.jobs[at];
        let (Some(sequence), Some(shift)) = (job.sequence, job.generation.shift()) else {
            return Ok(true);
        };
        if self.context_left(at, model)? > 0 {
            return Ok(true);
        }
        loop {
            match model.shift(sequence, shift.keep(), shift.discard()) {
                Err(EngineError::CacheFull { .. }) if self.prefixes.forget_oldest(model) => {}
                Err(EngineError::CacheFull { .. }) => {
                    self.give_up(at, model);
                    return Ok(false);
                }
                shifted => return shifted.map(|()| true),
            }
        }
    }

    /// Positions that an answer with a place can still read before its context is full.
    fn context_left(&self, at: usize, model: &Model) -> Result<usize, EngineError> {
        let sequence = self.jobs[at].sequence.ok_or(EngineError::UnknownSequence)?;
        Ok(model.config().context_len - model.len(sequence)?)
    }

    /// How many of the next tokens of a job are guessed in this pass.
    fn guess(
        &mut self,
        at: usize,
        left: usize,
        alone: bool,
        model: &Model,
    ) -> Result<usize, EngineError> {
        let job = &mut self.jobs[at];
        // Rows beside others are not free, and what comes after a prompt is not known.
        if !self.guesses || !alone || job.unread() != 1 {
            return Ok(0);
        }
        let Some(sequence) = job.sequence else {
            return Ok(0);
        };
        let context_left = model.config().context_len - model.len(sequence)? - 1;
        let most = left
            .min(context_left)
            .min(job.generation.tokens_left().saturating_sub(1));
        Ok(job.draft.guess(job.generation.tokens(), most))
    }

    /// Looks whether the cache has room for a pass, and makes some.
    fn make_room(&mut self, parts: &[Part], model: &mut Model) -> Result<Room, EngineError> {
        let mut needed = 0;
        for part in parts {
            let sequence = self.jobs[part.job].sequence.expect("compose gave it one");
            needed += model.sequences().pages_for(sequence, part.rows)?;
        }
        let free = model.sequences().free_pages();
        if needed <= free {
            return Ok(Room::Enough);
        }
        if self.prefixes.forget_oldest(model) {
            return Ok(Room::Made);
        }
        let running = (0..self.jobs.len()).filter(|at| self.jobs[*at].sequence.is_some());
        // The newest answer for somebody else, so that the oldest always comes to its end.
        let newest = running.max_by_key(|at| {
            let job = &self.jobs[*at];
            (job.priority == Priority::Donated, job.id)
        });
        match newest.filter(|_| self.running() > 1) {
            Some(at) => {
                self.give_up(at, model);
                Ok(Room::Made)
            }
            None => Ok(Room::Missing(EngineError::CacheFull {
                needed_positions: needed * PAGE_LEN,
                free_positions: free * PAGE_LEN,
                max_positions: model.sequences().max_pages() * PAGE_LEN,
            })),
        }
    }

    /// Takes the place of an answer for somebody else; false when there is none.
    fn displace(&mut self, model: &mut Model) -> bool {
        let donated = |job: &Job| job.priority == Priority::Donated && job.sequence.is_some();
        let Some(at) = self.jobs.iter().rposition(donated) else {
            return false;
        };
        self.give_up(at, model);
        true
    }

    fn give_up(&mut self, at: usize, model: &mut Model) {
        let job = &mut self.jobs[at];
        if let Some(sequence) = job.sequence.take() {
            model.close(sequence);
        }
        job.n_read = 0;
    }
}

/// What has been said is said: an error comes back with the next pass.
fn told(events: Vec<Event>, error: EngineError) -> Result<Vec<Event>, EngineError> {
    match events.is_empty() {
        true => Err(error),
        false => Ok(events),
    }
}

/// Whether a pass fits into the cache.
enum Room {
    Enough,
    /// Something was given up; look again.
    Made,
    Missing(EngineError),
}

impl Job {
    /// Tokens that the model has to read before the next can be chosen.
    fn unread(&self) -> usize {
        self.generation.tokens().len() - self.n_read
    }
}

#[cfg(test)]
mod tests;
