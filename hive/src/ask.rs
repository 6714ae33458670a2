//! One prompt from the asking to the answer: what came so far, who failed at it, and what it is
//! doing.
//!
//! `Routing → Remote | Local → Routing → …` until [`Ask::end`]. What an attempt generated stays:
//! the next one goes on after the last token.

use crate::answer::Answer;
use crate::attempt::Attempt;
use crate::env::{Env, earlier};
use crate::io::{JobId, Output};
use crate::limits::{MAX_ATTEMPTS, MAX_LOCAL_FAILURES, MAX_REFUSALS};
use std::collections::BTreeMap;
use thrum_protocol::id::{ModelId, NodeId, TaskId};
use thrum_protocol::limits::MAX_SAFE_INTEGER;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::task::{FinishReason, Prompt, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{AskErrorCode, AskRequest, AskUpdate, Path, Route};

/// One ask.
pub(crate) struct Ask {
    pub(crate) request: AskRequest,
    pub(crate) stage: Stage,
    pub(crate) answer: Answer,
    /// the model that generated the first token; no other may go on
    pub(crate) pinned: Option<ModelId>,
    /// peers that are not to be asked, and until when; one per failure or refusal
    pub(crate) avoid: BTreeMap<NodeId, Millis>,
    /// peers that call the request invalid, and why
    pub(crate) invalid: BTreeMap<NodeId, String>,
    /// where the first tokens of each peer begin
    pub(crate) contributed: BTreeMap<NodeId, u32>,
    /// why the last attempt failed
    pub(crate) last_fault: Option<String>,
    /// whose tokens came last, and the way they came
    pub(crate) last_provider: Option<(NodeId, Option<Path>)>,
    pub(crate) local_failures: u32,
    failures: u32,
    refusals: u32,
    attempts: u32,
    task: TaskId,
    started: Millis,
    first_token: Option<Millis>,
}

/// What it is doing.
pub(crate) enum Stage {
    /// looking for somebody, or waiting for our own model
    Routing {
        since: Millis,
        /// when it looks again, if nothing happens before
        look_at: Millis,
    },
    Remote(Box<Attempt>),
    Local {
        job: JobId,
        model: ModelId,
    },
}

/// The end of an answer, wherever it was computed.
pub(crate) struct Ending {
    pub(crate) finish_reason: FinishReason,
    pub(crate) prompt_tokens: u32,
    pub(crate) trimmed_bytes: u32,
    pub(crate) discarded: Discarded,
    pub(crate) provider: NodeId,
    pub(crate) path: Option<Path>,
    pub(crate) model: ModelId,
}

impl Ask {
    pub(crate) fn new(env: &mut Env, request: AskRequest) -> Self {
        Self {
            stage: routing(env.now),
            answer: Answer::new(request.stop.clone()),
            pinned: None,
            avoid: BTreeMap::new(),
            invalid: BTreeMap::new(),
            contributed: BTreeMap::new(),
            last_fault: None,
            last_provider: None,
            local_failures: 0,
            failures: 0,
            refusals: 0,
            attempts: 0,
            task: env.draw_task_id(),
            started: env.now,
            first_token: None,
            request,
        }
    }

    /// Whether the request could be answered by anybody; why not, otherwise.
    pub(crate) fn check(request: &AskRequest) -> Result<(), String> {
        if request.max_new_tokens == 0 {
            return Err("no tokens are asked for".to_owned());
        }
        if request.deadline_millis == Millis(0) {
            return Err("the deadline is now".to_owned());
        }
        if request.stop.iter().any(String::is_empty) {
            return Err("a stop string is empty".to_owned());
        }
        if request.sampling.seed > MAX_SAFE_INTEGER {
            return Err(format!("the seed is above {MAX_SAFE_INTEGER}"));
        }
        if !request.sampling.genomes.is_empty() && request.route != Route::Local {
            return Err("genomes are worn by answers of this tab only".to_owned());
        }
        let prompt = Prompt {
            model: ModelId([0; 32]),
            input: request.input.clone(),
            resumed: Vec::new(),
            max_new_tokens: request.max_new_tokens,
            sampling: request.sampling.clone(),
            stop: request.stop.clone(),
            deadline_millis: request.deadline_millis,
            truncation: request.truncation,
        };
        prompt.check_limits().map_err(|error| error.to_string())
    }

    pub(crate) fn deadline(&self) -> Millis {
        self.started + self.request.deadline_millis
    }

    pub(crate) fn task(&self) -> TaskId {
        self.task
    }

    /// The number of the next attempt, from 1.
    pub(crate) fn next_attempt(&mut self) -> u32 {
        self.attempts += 1;
        self.attempts
    }

    /// Whether the answer may come from this model.
    /// Whether it waits for a peer, whichever.
    pub(crate) fn seeks(&self) -> bool {
        let anybody = matches!(self.request.route, Route::Auto | Route::Peer);
        anybody && matches!(self.stage, Stage::Routing { .. }) && !self.peers_exhausted()
    }

    /// The model it has to be, where that is known by more than its name.
    pub(crate) fn model_id(&self) -> Option<ModelId> {
        let named = || self.request.model.as_ref()?.parse().ok();
        self.pinned.or_else(named)
    }

    pub(crate) fn accepts(&self, model: &ModelOffer) -> bool {
        if let Some(pinned) = self.pinned {
            return model.id == pinned;
        }
        let named = |wanted: &String| *wanted == model.name || *wanted == model.id.to_string();
        self.request.model.as_ref().is_none_or(named)
    }

    pub(crate) fn prompt(&self, now: Millis, model: ModelId, max_new_tokens: u32) -> Prompt {
        Prompt {
            model,
            input: self.request.input.clone(),
            resumed: self.answer.ids().to_vec(),
            max_new_tokens,
            sampling: self.request.sampling.clone(),
            stop: self.request.stop.clone(),
            deadline_millis: self.deadline().since(now),
            truncation: self.request.truncation,
        }
    }

    /// Gives text out; the first tokens pin the model.
    pub(crate) fn text(&mut self, env: &mut Env, model: ModelId, text: String, tokens: &[Token]) {
        let Some(index) = self.answer.token_count().checked_sub(1) else {
            return;
        };
        self.first_token.get_or_insert(env.now);
        self.pinned = Some(model);
        self.last_provider = match &self.stage {
            Stage::Remote(attempt) => Some((attempt.session.peer, Some(attempt.path))),
            Stage::Local { .. } => Some((env.me, None)),
            Stage::Routing { .. } => self.last_provider,
        };
        let ask = self.request.ask;
        if !self.answer.repeats() {
            let wanted = self.request.sampling.logprobs.is_some();
            let tokens = if wanted { tokens.to_vec() } else { Vec::new() };
            env.update(
                ask,
                AskUpdate::Delta {
                    index,
                    text,
                    tokens,
                },
            );
        }
    }

    /// Nothing that the liar sent is believed any more.
    pub(crate) fn doubt(&mut self, liar: NodeId) {
        if let Some(first_index) = self.contributed.remove(&liar) {
            self.answer.doubt(first_index);
            self.contributed.retain(|_, index| *index < first_index);
        }
    }

    /// Back to looking for somebody.
    pub(crate) fn reroute(&mut self, now: Millis) {
        self.stage = routing(now);
    }

    /// An attempt failed. `until`: when the peer may be asked again.
    pub(crate) fn failed(&mut self, env: &mut Env, peer: NodeId, until: Millis, reason: String) {
        self.failures += 1;
        self.note(env, peer, until, reason);
    }

    /// A peer did not take it: no fault of anybody.
    pub(crate) fn refused(&mut self, env: &mut Env, peer: NodeId, until: Millis, reason: String) {
        self.refusals += 1;
        self.note(env, peer, until, reason);
    }

    fn note(&mut self, env: &mut Env, provider: NodeId, until: Millis, reason: String) {
        self.avoid.insert(provider, until);
        self.last_fault = Some(format!("peer …{}: {reason}", provider.fmt_short()));
        self.reroute(env.now);
        if !self.peers_exhausted() {
            env.update(self.request.ask, AskUpdate::Retrying { provider, reason });
        }
    }

    pub(crate) fn peers_exhausted(&self) -> bool {
        self.failures >= MAX_ATTEMPTS || self.refusals >= MAX_REFUSALS
    }

    pub(crate) fn local_exhausted(&self) -> bool {
        self.local_failures >= MAX_LOCAL_FAILURES
    }

    /// All tokens are there, though nobody said `done`.
    pub(crate) fn is_full(&self) -> bool {
        self.answer.token_count() >= self.request.max_new_tokens
    }

    pub(crate) fn next_wake(&self) -> Millis {
        let stage = match &self.stage {
            Stage::Routing { look_at, .. } => Some(*look_at),
            Stage::Remote(attempt) => Some(attempt.next_wake()),
            Stage::Local { .. } => None,
        };
        earlier(stage, Some(self.deadline())).unwrap_or(self.deadline())
    }

    pub(crate) fn done(&mut self, env: &mut Env, ending: Ending) {
        let (rest, text) = self.answer.finish(ending.trimmed_bytes);
        let now = env.now;
        let first_token = *self.first_token.get_or_insert(now);
        let completion_tokens = self.answer.token_count();
        let ask = self.request.ask;
        if !rest.is_empty() {
            let index = completion_tokens.saturating_sub(1);
            env.update(
                ask,
                AskUpdate::Delta {
                    index,
                    text: rest,
                    tokens: Vec::new(),
                },
            );
        }
        env.update(
            ask,
            AskUpdate::Done {
                finish_reason: ending.finish_reason,
                text,
                prompt_tokens: ending.prompt_tokens,
                completion_tokens,
                discarded: ending.discarded,
                provider: ending.provider,
                path: ending.path,
                model: ending.model,
                attempts: self.attempts,
                first_token_millis: first_token.since(self.started),
                total_millis: now.since(self.started),
            },
        );
        env.changed = true;
    }

    /// Stops whatever is under way and says why there will be no answer.
    pub(crate) fn fail(&mut self, env: &mut Env, code: AskErrorCode, message: String) {
        self.stop(env);
        env.update(self.request.ask, AskUpdate::Failed { code, message });
        env.changed = true;
    }

    fn stop(&mut self, env: &mut Env) {
        match &mut self.stage {
            Stage::Remote(attempt) => attempt.cancel(env),
            Stage::Local { job, .. } => env.push(Output::Cancel(*job)),
            Stage::Routing { .. } => {}
        }
        self.reroute(env.now);
    }
}

fn routing(now: Millis) -> Stage {
    Stage::Routing {
        since: now,
        look_at: now,
    }
}
