//! The answers being given: who is next, on which session, and when tokens go to the page.
//!
//! The person's own jobs go first. Jobs for others take turns, one token each. As many run at once
//! as memory has room for their keys and values. When there is none for a job of the person, one for
//! somebody else gives its place up and computes its past anew later.

use super::answer::{Answer, End, Language, Stepped};
use super::clock::{now_ms, sleep};
use super::embed::Embedding;
use super::load::Loaded;
use super::messages::EngineEvent;
use super::pace::Pacer;
use std::collections::VecDeque;
use thrum_engine::error::EngineError;
use thrum_engine::gpu::GpuDevice;
use thrum_engine::memory::MemoryEstimate;
use thrum_engine::model::{self, Model};
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::task::{Prompt, Token};
use thrum_protocol::time::Millis;

/// count; answers given at once. More would make each of them slow.
const MAX_SESSIONS: usize = 8;

/// count; jobs that wait for a session. The node takes a few at a time.
const MAX_WAITING: usize = 64;

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
    /// the next in turn is in front
    running: VecDeque<Running>,
    waiting: VecDeque<Waiting>,
    embedding: Embedding,
}

/// The model cannot be used any more.
pub(super) struct Lost {
    pub(super) reason: String,
}

struct Waiting {
    job: u64,
    local: bool,
    answer: Answer,
    /// tokens that the page has not got, of a job that gave its session up
    unsent: Vec<Token>,
}

struct Running {
    job: u64,
    local: bool,
    answer: Answer,
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
        } = loaded;
        let context_tokens = u32::try_from(model.config().context_len).unwrap_or(u32::MAX);
        let (backend, device) = match model.backend() {
            model::Backend::Cpu(_) | model::Backend::Reference(_) => (Backend::Cpu, None),
            model::Backend::Gpu(gpu) => (Backend::Webgpu, Some(gpu.device().clone())),
        };
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
            running: VecDeque::new(),
            waiting: VecDeque::new(),
            embedding: Embedding::default(),
        }
    }

    /// What the page is told of it.
    pub(super) fn ready(&self, load: u64, millitokens_per_second: u64) -> EngineEvent {
        EngineEvent::Ready {
            load,
            model: self.offer.clone(),
            backend: self.backend,
            millitokens_per_second,
        }
    }

    /// Bytes of this tab's memory that it takes; a GPU's are not among them.
    pub(super) fn held_bytes(&self) -> u64 {
        if self.device.is_some() {
            return 0;
        }
        let sessions = self.max_sessions as u64;
        self.memory.weight_bytes + sessions * session_bytes(&self.memory)
    }

    /// Whether a job waits or runs.
    pub(super) fn has_work(&self) -> bool {
        !(self.running.is_empty() && self.waiting.is_empty() && self.embedding.is_empty())
    }

    /// How long there is nothing to do because work for others has to wait, in ms.
    pub(super) fn rest_ms(&self, pacer: &Pacer) -> f64 {
        let mut local = (self.running.iter().map(|running| running.local))
            .chain(self.waiting.iter().map(|waiting| waiting.local));
        if local.any(|local| local) || !self.embedding.is_empty() {
            return 0.0;
        }
        pacer.rest_ms(now_ms())
    }

    /// Takes a job, or says why not.
    pub(super) fn run(
        &mut self,
        job: u64,
        prompt: &Prompt,
        local: bool,
        tell: &dyn Fn(EngineEvent),
    ) {
        if self.waiting.len() == MAX_WAITING {
            let message = format!("{MAX_WAITING} jobs are waiting already");
            return tell(EngineEvent::Failed {
                job,
                invalid_request: false,
                message,
            });
        }
        match Answer::new(&self.model, &self.language, prompt) {
            Ok(answer) => self.waiting.push_back(Waiting {
                job,
                local,
                answer,
                unsent: Vec::new(),
            }),
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
        self.waiting.retain(|waiting| waiting.job != job);
        while let Some(at) = self.running.iter().position(|running| running.job == job) {
            if let Some(mut running) = self.running.remove(at) {
                running.answer.release(&mut self.model);
            }
        }
    }

    /// Fails every job.
    pub(super) fn end(mut self, why: &str, tell: &dyn Fn(EngineEvent)) {
        self.embedding.end(why, tell);
        let waiting = self.waiting.iter().map(|waiting| waiting.job);
        let running = self.running.iter().map(|running| running.job);
        for job in running.chain(waiting) {
            tell(EngineEvent::Failed {
                job,
                invalid_request: false,
                message: why.to_owned(),
            });
        }
    }

    /// Destroys the GPU device, if there is one.
    pub(super) fn destroy_device(&self) {
        if let Some(device) = &self.device {
            device.destroy();
        }
    }

    /// Resolves when the GPU device goes away; never on the CPU.
    pub(super) async fn lost(&self) -> Lost {
        match &self.device {
            Some(device) => loop {
                if let Some(reason) = device.lost() {
                    return Lost {
                        reason: reason.to_owned(),
                    };
                }
                sleep(DEVICE_CHECK_PERIOD).await;
            },
            None => std::future::pending().await,
        }
    }

    /// Computes one slice of a prompt or one token of one answer; for others as `pacer` says.
    ///
    /// # Errors
    /// [`Lost`] when the device is gone, and every job with it.
    pub(super) async fn step(
        &mut self,
        pacer: &mut Pacer,
        tell: &dyn Fn(EngineEvent),
    ) -> Result<(), Lost> {
        if !self.embedding.is_empty() {
            let (model, language) = (&mut self.model, &self.language);
            self.embedding.step(model, language, tell).await;
            return Ok(());
        }
        self.admit();
        let begun_ms = now_ms();
        let next = match self.running.iter().position(|running| running.local) {
            Some(local) => local,
            None if pacer.rest_ms(begun_ms) > 0.0 => return Ok(()),
            None => 0,
        };
        let Some(mut running) = self.running.remove(next) else {
            return Ok(());
        };
        let answer = &mut running.answer;
        let stepped = answer.step(&mut self.model, &self.language).await;
        if !running.local {
            pacer.worked(begun_ms, now_ms());
        }
        match stepped {
            Ok(Stepped::Ended(end)) => self.finish(running, &end, tell),
            Ok(Stepped::Read) => self.running.push_back(running),
            Ok(Stepped::Token(token)) => {
                running.unsent.push(token);
                self.running.push_back(running);
            }
            Err(EngineError::GpuLost { reason }) => return Err(Lost { reason }),
            Err(error) => {
                running.send(tell);
                tell(failed(running.job, &error));
                running.answer.release(&mut self.model);
            }
        }
        for running in &mut self.running {
            running.send_if_due(tell);
        }
        Ok(())
    }

    fn finish(&mut self, mut running: Running, end: &End, tell: &dyn Fn(EngineEvent)) {
        running.send(tell);
        tell(EngineEvent::Done {
            job: running.job,
            finish_reason: end.finish_reason,
            prompt_tokens: end.prompt_tokens,
            trimmed_bytes: end.trimmed_bytes,
        });
        running.answer.release(&mut self.model);
    }

    /// Gives sessions to waiting jobs, the person's first.
    fn admit(&mut self) {
        while let Some(at) = self.next_waiting() {
            let Some(next) = self.waiting.remove(at) else {
                return;
            };
            if !self.make_room(next.local) {
                return self.waiting.insert(at, next);
            }
            let Waiting {
                job,
                local,
                answer,
                unsent,
            } = next;
            let sent_ms = f64::NEG_INFINITY;
            self.running.push_back(Running {
                job,
                local,
                answer,
                unsent,
                sent_ms,
            });
        }
    }

    fn next_waiting(&self) -> Option<usize> {
        let local = self.waiting.iter().position(|waiting| waiting.local);
        local.or_else(|| (!self.waiting.is_empty()).then_some(0))
    }

    /// Whether another job of this kind can run; one for somebody else gives its place up for a
    /// job of the person.
    fn make_room(&mut self, local: bool) -> bool {
        if self.running.len() < self.max_sessions {
            return true;
        }
        let given_up = self.running.iter().rposition(|running| !running.local);
        let Some(mut running) = given_up
            .filter(|_| local)
            .and_then(|at| self.running.remove(at))
        else {
            return false;
        };
        running.answer.release(&mut self.model);
        self.waiting.push_front(Waiting {
            job: running.job,
            local: running.local,
            answer: running.answer,
            unsent: running.unsent,
        });
        true
    }
}

impl Running {
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
    let message = error.to_string();
    EngineEvent::Failed {
        job,
        invalid_request: is_of_the_request(error),
        message,
    }
}

/// Whether every engine with this model would refuse the request as well.
fn is_of_the_request(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::BadParameter { .. }
            | EngineError::Chat(_)
            | EngineError::EmptyPrompt
            | EngineError::PromptTooLong { .. }
            | EngineError::UnknownToken { .. }
    )
}
