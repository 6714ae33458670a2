//! The answers being given: what the page calls a job is an answer of the engine's scheduler, and
//! tokens go to the page as often as it draws.

mod wardrobe;

use super::answer::{Answer, End, Language};
use super::clock::{now_ms, sleep};
use super::crew::Members;
use super::embed::Embedding;
use super::error::LoadError;
use super::load::Loaded;
use super::messages::EngineEvent;
use std::collections::BTreeMap;
use std::rc::Weak;
use thrum_engine::error::EngineError;
use thrum_engine::generate::Step;
use thrum_engine::gpu::GpuDevice;
use thrum_engine::memory::MemoryEstimate;
use thrum_engine::model::{self, Model};
use thrum_engine::pacing::{DutyCycle, steps_ahead};
use thrum_engine::schedule::{Event, JobId, Priority, Scheduler};
use thrum_protocol::id::ModelId;
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::task::{Prompt, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::view::Threads;
use wardrobe::Wardrobe;

/// count; answers given at once. More would make each of them slow.
const MAX_SESSIONS: usize = 8;

/// tokens; what one message to the page carries at most.
const FLUSH_TOKENS: usize = 16;

/// ms; a page draws sixty times a second.
const FLUSH_MS: f64 = 16.0;

/// bytes; what keys and values of all sessions may take on a GPU, whose memory nobody tells us.
const GPU_SESSION_BYTES: u64 = 512 << 20;

/// ms; how often an idle engine asks whether its device is still there.
const DEVICE_CHECK_PERIOD: Millis = Millis(500);

/// The engine with a model in it.
pub(super) struct Engine {
    offer: ModelOffer,
    backend: Backend,
    language: Language,
    /// none on the CPU
    device: Option<GpuDevice>,
    model: Model,
    /// jobs that run at once
    max_sessions: usize,
    memory: MemoryEstimate,
    threads: Option<Threads>,
    members: Weak<Members>,
    scheduler: Scheduler,
    jobs: BTreeMap<JobId, Job>,
    embedding: Embedding,
    wardrobe: Wardrobe,
    /// whether what computes is gone and the model is awaited again
    waits: bool,
}

/// What computes is gone, and with it the model.
pub(super) struct Lost {
    pub(super) reason: String,
}

impl Lost {
    /// None for an error that leaves the model as it was.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the engine's errors may grow; these two are of what computes"
    )]
    pub(super) fn of(error: &EngineError) -> Option<Self> {
        match error {
            EngineError::GpuLost { reason } => Some(Self {
                reason: format!("the GPU: {reason}"),
            }),
            EngineError::MemberLost { .. } => Some(Self {
                reason: error.to_string(),
            }),
            _ => None,
        }
    }
}

/// An answer and what the page has of it.
struct Job {
    /// as the page calls it
    job: u64,
    answer: Answer,
    /// what it wears
    genomes: Vec<ModelId>,
    /// tokens that the page has not got
    unsent: Vec<Token>,
    sent_ms: f64,
}

impl Engine {
    /// An engine without jobs, for as many sessions as fit in `available_bytes`.
    pub(super) fn new(loaded: Loaded, available_bytes: u64) -> Self {
        let Loaded {
            id,
            name,
            model,
            language,
            memory,
            threads,
            members,
        } = loaded;
        let context_tokens = u32::try_from(model.config().context_len).unwrap_or(u32::MAX);
        let (backend, device) = backend_of(&model);
        let max_sessions = sessions(&memory, device.is_some(), available_bytes);
        Self {
            offer: ModelOffer {
                id,
                name,
                context_tokens,
            },
            backend,
            language,
            device,
            model,
            max_sessions,
            memory,
            threads,
            members,
            // Guessing pays where one answer is computed; the scheduler sees to that.
            scheduler: Scheduler::new(max_sessions, true),
            jobs: BTreeMap::new(),
            embedding: Embedding::default(),
            wardrobe: Wardrobe::default(),
            waits: false,
        }
    }

    /// What computes is gone: nothing is computed until [`Engine::go_on`], and jobs are taken as
    /// ever.
    pub(super) fn wait(&mut self) {
        self.waits = true;
        // What is left of it would stand in the way of another.
        self.destroy_device();
    }

    /// Whether it waits for the model to be loaded again.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Every job goes on with the same model, loaded again, and the same adapters.
    ///
    /// # Errors
    /// [`LoadError::WrongDigest`] for another model, [`LoadError::Engine`] where the adapters do
    /// not get there. It waits on then.
    pub(super) async fn go_on(
        &mut self,
        loaded: Loaded,
        available_bytes: u64,
    ) -> Result<(), LoadError> {
        let Loaded {
            id,
            name: _,
            mut model,
            language,
            memory,
            threads,
            members,
        } = loaded;
        if id != self.offer.id {
            let (expected, found) = (self.offer.id, id);
            return Err(LoadError::WrongDigest { expected, found });
        }
        model.adopt_adapters(self.model.adapters()).await?;
        (self.backend, self.device) = backend_of(&model);
        self.max_sessions = sessions(&memory, self.device.is_some(), available_bytes);
        (self.model, self.language, self.memory) = (model, language, memory);
        (self.threads, self.members) = (threads, members);
        self.scheduler.set_max_running(self.max_sessions);
        self.scheduler.restart();
        self.waits = false;
        Ok(())
    }

    /// What the page is told of it.
    pub(super) fn ready(&self, load: u64, millitokens_per_second: u64) -> EngineEvent {
        EngineEvent::Ready {
            load,
            model: self.offer.clone(),
            backend: self.backend,
            threads: self.threads.clone(),
            millitokens_per_second,
        }
    }

    /// Bytes of this tab's memory that it takes; a GPU's are not among them.
    pub(super) fn held_bytes(&self) -> u64 {
        if self.device.is_some() {
            return 0;
        }
        let sessions = self.max_sessions as u64;
        let genome_bytes = self.model.adapters().used_bytes();
        let sessions_bytes = sessions * session_bytes(&self.memory);
        let MemoryEstimate {
            weight_bytes,
            crew_bytes,
            ..
        } = self.memory;
        weight_bytes + crew_bytes + genome_bytes + sessions_bytes
    }

    /// Whether there is something to compute, and something to compute it with.
    pub(super) fn has_work(&self) -> bool {
        !self.waits && (self.scheduler.has_work() || !self.embedding.is_empty())
    }

    /// How long there is nothing to do because work for others has to wait, in ms.
    pub(super) fn rest_ms(&self, duty: &DutyCycle) -> f64 {
        if self.scheduler.has_work_for(Priority::Local) || !self.embedding.is_empty() {
            return 0.0;
        }
        duty.rest_ms(now_ms())
    }

    /// Takes a job whose genomes are here, or says why not.
    pub(super) fn run(
        &mut self,
        job: u64,
        prompt: &Prompt,
        local: bool,
        tell: &dyn Fn(EngineEvent),
    ) {
        let priority = match local {
            true => Priority::Local,
            false => Priority::Donated,
        };
        let taken =
            Answer::new(&self.model, &self.language, prompt).and_then(|(answer, generation)| {
                let stack = self.wardrobe.stack(&prompt.sampling.genomes)?;
                let id = self.scheduler.submit(generation, priority, stack)?;
                Ok((id, answer))
            });
        match taken {
            Ok((id, answer)) => {
                let job = Job {
                    job,
                    answer,
                    genomes: prompt.sampling.genomes.iter().map(|it| it.id).collect(),
                    unsent: Vec::new(),
                    sent_ms: f64::NEG_INFINITY,
                };
                self.jobs.insert(id, job);
            }
            Err(error) => tell(failed(job, &error)),
        }
    }

    /// Takes texts that are to be vectors.
    pub(super) fn embed(&mut self, embedding: u64, texts: Vec<String>) {
        self.embedding.add(embedding, &self.offer.name, texts);
    }

    /// Forgets texts.
    pub(super) fn stop_embedding(&mut self, embedding: u64) {
        self.embedding.stop(embedding);
    }

    /// Forgets a job, wherever it is.
    pub(super) fn cancel(&mut self, job: u64) {
        let ids = self.jobs.iter().filter(|(_, it)| it.job == job);
        let ids: Vec<JobId> = ids.map(|(id, _)| *id).collect();
        for id in ids {
            self.jobs.remove(&id);
            self.scheduler.cancel(&mut self.model, id);
        }
    }

    /// Fails every job.
    pub(super) fn end(mut self, why: &str, tell: &dyn Fn(EngineEvent)) {
        self.embedding.end(why, tell);
        for job in self.jobs.values() {
            tell(EngineEvent::Failed {
                job: job.job,
                invalid_request: false,
                message: why.to_owned(),
            });
        }
    }

    /// Destroys the GPU device, if there is one, or ends a member of the crew, if there is one.
    pub(super) fn destroy_device(&self) {
        if let Some(members) = self.members.upgrade() {
            members.end_one();
        }
        if let Some(device) = &self.device {
            device.destroy();
        }
    }

    /// Resolves when the GPU device goes away; never on the CPU, and never twice.
    pub(super) async fn lost(&self) -> Lost {
        match self.device.as_ref().filter(|_| !self.waits) {
            Some(device) => loop {
                if let Some(reason) = device.lost() {
                    return Lost {
                        reason: format!("the GPU: {reason}"),
                    };
                }
                sleep(DEVICE_CHECK_PERIOD).await;
            },
            None => std::future::pending().await,
        }
    }

    /// Computes one pass; for others as `duty` says.
    ///
    /// # Errors
    /// [`Lost`] when what computes is gone; every job is as before.
    pub(super) async fn step(
        &mut self,
        duty: &mut DutyCycle,
        tell: &dyn Fn(EngineEvent),
    ) -> Result<(), Lost> {
        if !self.embedding.is_empty() {
            let (model, language) = (&mut self.model, &self.language);
            return self.embedding.step(model, language, tell).await;
        }
        let begun_ms = now_ms();
        self.scheduler.set_donates(duty.rest_ms(begun_ms) <= 0.0);
        let stepped = self
            .scheduler
            .step(&mut self.model, &self.language.tokenizer)
            .await;
        if self.scheduler.last_turn() == Priority::Donated {
            duty.worked(begun_ms, now_ms());
        }
        match stepped {
            Ok(events) => {
                let tokens = events.iter().filter(|event| is_token(event)).count();
                if tokens > 0 && self.device.is_some() {
                    let each_ms = (now_ms() - begun_ms) / tokens as f64;
                    self.scheduler.set_max_steps(steps_ahead(each_ms));
                }
                for event in events {
                    self.hear(event, tell);
                }
            }
            Err(error) => match Lost::of(&error) {
                Some(lost) => return Err(lost),
                None => self.fail_all(&error, tell),
            },
        }
        for job in self.jobs.values_mut() {
            job.send_if_due(tell);
        }
        Ok(())
    }

    fn hear(&mut self, event: Event, tell: &dyn Fn(EngineEvent)) {
        match event {
            Event::Failed(id, error) => {
                if let Some(mut job) = self.jobs.remove(&id) {
                    job.send(tell);
                    tell(failed(job.job, &error));
                }
            }
            Event::Finished(id, finish) => {
                if let Some(mut job) = self.jobs.remove(&id) {
                    job.send(tell);
                    let End {
                        finish_reason,
                        prompt_tokens,
                        trimmed_bytes,
                        discarded,
                    } = job.answer.end(&finish);
                    tell(EngineEvent::Done {
                        job: job.job,
                        finish_reason,
                        prompt_tokens,
                        trimmed_bytes,
                        discarded,
                    });
                }
            }
            Event::Step(id, Step::Token(token)) => {
                if let Some(job) = self.jobs.get_mut(&id) {
                    let token = job.answer.token(&self.language, token);
                    job.unsent.push(token);
                }
            }
            Event::Step(_, Step::Prefill { .. } | Step::Finished(_)) => {}
        }
    }

    /// What no answer is to blame for would come back with the next pass.
    fn fail_all(&mut self, error: &EngineError, tell: &dyn Fn(EngineEvent)) {
        for (id, mut job) in std::mem::take(&mut self.jobs) {
            self.scheduler.cancel(&mut self.model, id);
            job.send(tell);
            tell(failed(job.job, error));
        }
    }
}

impl Job {
    /// The first token at once, later ones as often as a page draws.
    fn send_if_due(&mut self, tell: &dyn Fn(EngineEvent)) {
        if self.unsent.len() >= FLUSH_TOKENS || now_ms() - self.sent_ms >= FLUSH_MS {
            self.send(tell);
        }
    }

    fn send(&mut self, tell: &dyn Fn(EngineEvent)) {
        if !self.unsent.is_empty() {
            let tokens = std::mem::take(&mut self.unsent);
            tell(EngineEvent::Tokens {
                job: self.job,
                tokens,
            });
            self.sent_ms = now_ms();
        }
    }
}

/// What computes, and on what device.
fn backend_of(model: &Model) -> (Backend, Option<GpuDevice>) {
    match model.backend() {
        model::Backend::Cpu(_) | model::Backend::Reference(_) => (Backend::Cpu, None),
        model::Backend::Gpu(gpu) => (Backend::Webgpu, Some(gpu.device().clone())),
    }
}

fn is_token(event: &Event) -> bool {
    matches!(event, Event::Step(_, Step::Token(_)))
}

/// Answers that can be given at once.
pub(super) fn sessions(memory: &MemoryEstimate, on_gpu: bool, available_bytes: u64) -> usize {
    let spare_bytes = match on_gpu {
        true => GPU_SESSION_BYTES,
        false => available_bytes.saturating_sub(memory.total_bytes()),
    };
    let further = usize::try_from(spare_bytes / session_bytes(memory).max(1)).unwrap_or(usize::MAX);
    1 + further.min(MAX_SESSIONS - 1)
}

fn session_bytes(memory: &MemoryEstimate) -> u64 {
    memory.kv_bytes + memory.working_bytes
}

fn failed(job: u64, error: &EngineError) -> EngineEvent {
    failed_with(job, is_of_the_request(error), error.to_string())
}

fn failed_with(job: u64, invalid_request: bool, message: String) -> EngineEvent {
    EngineEvent::Failed {
        job,
        invalid_request,
        message,
    }
}

/// Whether every engine with this model would refuse the request as well.
fn is_of_the_request(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::BadParameter { .. }
            | EngineError::Chat(_)
            | EngineError::Constraint(_)
            | EngineError::EmptyPrompt
            | EngineError::PromptTooLong { .. }
            | EngineError::UnknownToken { .. }
    )
}
