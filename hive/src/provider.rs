//! Answering others: takes a task only while the person donates, the model is there and a slot is
//! free, and says at least every heartbeat that it computes.
//!
//! 1. a stream is accepted; its first message must be a prompt, soon
//! 2. `accept` and a job for the engine, or `refuse` and the end
//! 3. `tokens` as the engine makes them, `heartbeat` while it makes none
//! 4. `done` or `failed`, and the end
//!
//! Invariant: every session in `jobs` has a job in the engine, and the other way round.

use crate::admission::{Admissions, Terms};
use crate::env::{Env, earlier};
use crate::io::{JobId, Output, StreamId};
use crate::limits::PROMPT_TIMEOUT;
use crate::misbehaviour::Misbehaviour;
use crate::session::{Session, name_of};
use std::collections::BTreeMap;
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::{
    HEARTBEAT_PERIOD, MAX_LOGPROB_TOKENS_PER_FRAME, MAX_TEXT_BYTES, MAX_TOKENS_PER_FRAME,
};
use thrum_protocol::task::{
    Accept, Done, FinishReason, Prompt, Refusal, RefusalCode, TaskBody, Token, Tokens,
};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{Event, JobView, LogLevel};

/// Everything we compute for others.
pub(crate) struct Provider {
    /// streams that owe a prompt. No more than the floodgate admits
    silent: BTreeMap<StreamId, Silent>,
    /// tasks under way. No more than slots
    jobs: BTreeMap<JobId, Task>,
    admissions: Admissions,
}

struct Silent {
    peer: NodeId,
    until: Millis,
}

struct Task {
    session: Session,
    deadline: Millis,
    heartbeat_at: Millis,
    /// index of the next token in the answer; resumed ones count
    next_index: u32,
    /// tokens computed here
    computed: u32,
}

/// A task that ended, for the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contribution {
    pub(crate) tokens: u32,
    pub(crate) completed: bool,
}

/// What the engine says at the end of a job.
pub(crate) struct JobEnd {
    pub(crate) finish_reason: FinishReason,
    pub(crate) prompt_tokens: u32,
    pub(crate) trimmed_bytes: u32,
    pub(crate) discarded: Discarded,
}

impl Provider {
    pub(crate) fn new() -> Self {
        Self {
            silent: BTreeMap::new(),
            jobs: BTreeMap::new(),
            admissions: Admissions::default(),
        }
    }

    pub(crate) fn busy(&self) -> u32 {
        u32::try_from(self.jobs.len()).expect("slots bound the jobs")
    }

    pub(crate) fn computes_for(&self, peer: NodeId) -> bool {
        self.jobs.values().any(|task| task.session.peer == peer)
    }

    pub(crate) fn views(&self) -> Vec<JobView> {
        let view = |task: &Task| JobView {
            task_id: task.session.task,
            peer_id: task.session.peer,
            tokens: task.computed,
        };
        self.jobs.values().map(view).collect()
    }

    pub(crate) fn accepted(&mut self, now: Millis, stream: StreamId, peer: NodeId) {
        let until = now + PROMPT_TIMEOUT;
        self.silent.insert(stream, Silent { peer, until });
    }

    /// What the peer did wrong, if anything; `None` where the stream is not ours.
    pub(crate) fn frame(
        &mut self,
        env: &mut Env,
        stream: StreamId,
        bytes: &[u8],
        terms: &Terms<'_>,
    ) -> Option<(NodeId, Result<Option<Contribution>, Misbehaviour>)> {
        if let Some(Silent { peer, .. }) = self.silent.remove(&stream) {
            let outcome = self.first_frame(env, stream, peer, bytes, terms);
            if outcome.is_err() {
                env.push(Output::Close(stream));
            }
            return Some((peer, outcome.map(|()| None)));
        }
        let job = self.job_on(stream)?;
        let task = self.jobs.get_mut(&job)?;
        let peer = task.session.peer;
        let heard = match task.session.hear(env, bytes) {
            Ok(TaskBody::Cancel {}) => Ok(()),
            Ok(body) => Err(Misbehaviour::NotDue(name_of(&body))),
            Err(misbehaviour) => Err(misbehaviour),
        };
        let ended = self.drop_job(env, job, true, false);
        env.push(Output::Close(stream));
        Some((peer, heard.map(|()| ended)))
    }

    fn first_frame(
        &mut self,
        env: &mut Env,
        stream: StreamId,
        peer: NodeId,
        bytes: &[u8],
        terms: &Terms<'_>,
    ) -> Result<(), Misbehaviour> {
        let (mut session, body) = Session::answering(env, stream, peer, bytes)?;
        let TaskBody::Prompt(prompt) = body else {
            return Err(Misbehaviour::NotDue(name_of(&body)));
        };
        let holders: Vec<NodeId> = self.jobs.values().map(|task| task.session.peer).collect();
        match self
            .admissions
            .judge(env, &session, &prompt, terms, &holders)
        {
            Ok(accept) => {
                self.start(env, session, prompt, accept);
                Ok(())
            }
            Err(refusal) => {
                let replayed = refusal.code == RefusalCode::Replayed;
                let message = format!("refused a task: {}", refusal.message);
                env.log(LogLevel::Debug, message);
                session.say(env, TaskBody::Refuse(refusal));
                if replayed {
                    return Err(Misbehaviour::Replay);
                }
                env.push(Output::Close(stream));
                Ok(())
            }
        }
    }

    fn start(&mut self, env: &mut Env, mut session: Session, prompt: Prompt, accept: Accept) {
        session.say(env, TaskBody::Accept(accept));
        let job = env.next_job();
        let message = format!("computing a task for peer …{}", session.peer.fmt_short());
        env.log(LogLevel::Info, message);
        let task = Task {
            session,
            deadline: env.now + prompt.deadline_millis,
            heartbeat_at: env.now + HEARTBEAT_PERIOD,
            next_index: u32::try_from(prompt.resumed.len())
                .expect("MAX_RESUMED_TOKENS bounds the resumed tokens"),
            computed: 0,
        };
        self.jobs.insert(job, task);
        env.push(Output::Run {
            job,
            prompt: Box::new(prompt),
            local: false,
        });
        env.changed = true;
    }

    /// Whether the job was ours.
    pub(crate) fn job_tokens(&mut self, env: &mut Env, job: JobId, tokens: &[Token]) -> bool {
        let Some(task) = self.jobs.get_mut(&job) else {
            return false;
        };
        let has_logprobs = tokens.iter().any(|token| token.logprob.is_some());
        let per_frame = match has_logprobs {
            true => MAX_LOGPROB_TOKENS_PER_FRAME,
            false => MAX_TOKENS_PER_FRAME,
        };
        for part in tokens.chunks(per_frame) {
            let first_index = task.next_index;
            let count = u32::try_from(part.len()).expect("a frame's limit bounds the part");
            let tokens = part.to_vec();
            let body = TaskBody::Tokens(Tokens {
                first_index,
                tokens,
            });
            task.session.say(env, body);
            task.next_index += count;
            task.computed += count;
        }
        task.heartbeat_at = env.now + HEARTBEAT_PERIOD;
        env.changed = true;
        true
    }

    pub(crate) fn job_done(
        &mut self,
        env: &mut Env,
        job: JobId,
        end: &JobEnd,
    ) -> Option<Contribution> {
        let task = self.jobs.get_mut(&job)?;
        let done = Done {
            finish_reason: end.finish_reason,
            prompt_tokens: end.prompt_tokens,
            completion_tokens: task.next_index,
            trimmed_bytes: end.trimmed_bytes,
            discarded: end.discarded,
        };
        task.session.say(env, TaskBody::Done(done));
        env.push(Output::Close(task.session.stream));
        self.drop_job(env, job, false, true)
    }

    pub(crate) fn job_failed(
        &mut self,
        env: &mut Env,
        job: JobId,
        invalid_request: bool,
        message: &str,
    ) -> Option<Contribution> {
        let code = if invalid_request {
            RefusalCode::InvalidRequest
        } else {
            RefusalCode::EngineFailed
        };
        self.fail(env, job, code, message, false)
    }

    /// The model is gone and every job with it.
    pub(crate) fn engine_lost(&mut self, env: &mut Env) -> Vec<Contribution> {
        self.fail_all(env, RefusalCode::EngineFailed, "the engine failed", false)
    }

    /// The person paused: nothing more is computed.
    pub(crate) fn stop(&mut self, env: &mut Env) -> Vec<Contribution> {
        self.fail_all(env, RefusalCode::Stopping, "the donor paused", true)
    }

    /// Whether the stream was ours, and the task that ended with it.
    pub(crate) fn closed(
        &mut self,
        env: &mut Env,
        stream: StreamId,
    ) -> Option<Option<Contribution>> {
        if self.silent.remove(&stream).is_some() {
            return Some(None);
        }
        let job = self.job_on(stream)?;
        Some(self.drop_job(env, job, true, false))
    }

    pub(crate) fn disconnected(&mut self, env: &mut Env, peer: NodeId) -> Vec<Contribution> {
        self.silent.retain(|_, silent| silent.peer != peer);
        let jobs = self.jobs.iter();
        let gone: Vec<JobId> = jobs
            .filter(|(_, task)| task.session.peer == peer)
            .map(|(&job, _)| job)
            .collect();
        gone.into_iter()
            .filter_map(|job| self.drop_job(env, job, true, false))
            .collect()
    }

    pub(crate) fn tick(&mut self, env: &mut Env) -> Vec<Contribution> {
        let now = env.now;
        self.silent.retain(|&stream, silent| {
            let waits = now < silent.until;
            if !waits {
                env.push(Output::Close(stream));
            }
            waits
        });
        for task in self.jobs.values_mut() {
            if task.heartbeat_at <= now && now < task.deadline {
                task.session.say(env, TaskBody::Heartbeat {});
                task.heartbeat_at = now + HEARTBEAT_PERIOD;
            }
        }
        let jobs = self.jobs.iter();
        let late: Vec<JobId> = jobs
            .filter(|(_, task)| task.deadline <= now)
            .map(|(&job, _)| job)
            .collect();
        let code = RefusalCode::DeadlinePassed;
        late.into_iter()
            .filter_map(|job| self.fail(env, job, code, "the deadline passed", true))
            .collect()
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        let silent = self.silent.values().map(|silent| Some(silent.until));
        let jobs = self
            .jobs
            .values()
            .map(|task| Some(task.heartbeat_at.min(task.deadline)));
        silent.chain(jobs).fold(None, earlier)
    }

    fn job_on(&self, stream: StreamId) -> Option<JobId> {
        let mut jobs = self.jobs.iter();
        jobs.find(|(_, task)| task.session.stream == stream)
            .map(|(&job, _)| job)
    }

    fn fail_all(
        &mut self,
        env: &mut Env,
        code: RefusalCode,
        message: &str,
        cancel: bool,
    ) -> Vec<Contribution> {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        jobs.into_iter()
            .filter_map(|job| self.fail(env, job, code, message, cancel))
            .collect()
    }

    fn fail(
        &mut self,
        env: &mut Env,
        job: JobId,
        code: RefusalCode,
        message: &str,
        cancel: bool,
    ) -> Option<Contribution> {
        let task = self.jobs.get_mut(&job)?;
        let message = shortened(message);
        task.session
            .say(env, TaskBody::Failed(Refusal { code, message }));
        env.push(Output::Close(task.session.stream));
        self.drop_job(env, job, cancel, false)
    }

    fn drop_job(
        &mut self,
        env: &mut Env,
        job: JobId,
        cancel: bool,
        completed: bool,
    ) -> Option<Contribution> {
        let task = self.jobs.remove(&job)?;
        if cancel {
            env.push(Output::Cancel(job));
        }
        let Session { peer, task: id, .. } = task.session;
        self.admissions.ended(peer);
        env.notify(Event::Contribution {
            task_id: id,
            peer_id: peer,
            tokens: task.computed,
            completed,
        });
        env.changed = true;
        Some(Contribution {
            tokens: task.computed,
            completed,
        })
    }
}

/// The text within what the protocol allows, cut between characters.
fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES);
    text[..end].to_owned()
}
