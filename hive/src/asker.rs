//! All asks under way: each is handed what concerns it, and routed on whenever it stands.
//!
//! Every ask ends in exactly one `Done` or `Failed`, at its deadline at the latest.

use crate::ask::{Ask, Ending, Stage};
use crate::course::{Outcome, advance, end_with, give_up, local_fault, on_frame, on_local_tokens};
use crate::engine::Engine;
use crate::env::{Env, earlier};
use crate::io::{JobId, StreamId};
use crate::limits::MAX_ASKS;
use crate::provider::JobEnd;
use crate::roster::Roster;
use std::collections::BTreeMap;
use thrum_protocol::id::NodeId;
use thrum_protocol::task::Token;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskErrorCode, AskRequest, AskUpdate, LogLevel, Route};

/// The asks, by the asker's own number. No more than [`MAX_ASKS`].
#[derive(Default)]
pub(crate) struct Asker {
    asks: BTreeMap<u64, Ask>,
}

impl Asker {
    /// Whether the ask was taken; a `Failed` was sent otherwise. A number that is under way is
    /// left alone.
    pub(crate) fn ask(&mut self, env: &mut Env, request: AskRequest) -> bool {
        let ask = request.ask;
        let refusal = if self.asks.contains_key(&ask) {
            let message = format!("ask {ask} is under way already and goes on");
            env.log(LogLevel::Warn, message);
            return false;
        } else if self.asks.len() >= MAX_ASKS {
            let message = format!("{MAX_ASKS} answers are under way already");
            Err((AskErrorCode::Busy, message))
        } else {
            Ask::check(&request).map_err(|message| (AskErrorCode::InvalidRequest, message))
        };
        if let Err((code, message)) = refusal {
            env.update(ask, AskUpdate::Failed { code, message });
            return false;
        }
        self.asks.insert(ask, Ask::new(env, request));
        env.changed = true;
        true
    }

    pub(crate) fn cancel(&mut self, env: &mut Env, ask: u64) {
        if let Some(mut ask) = self.asks.remove(&ask) {
            ask.fail(env, AskErrorCode::Cancelled, "cancelled".to_owned());
        }
    }

    pub(crate) fn working(&self) -> bool {
        let routed = |ask: &Ask| !matches!(ask.stage, Stage::Routing { .. });
        self.asks.values().any(routed)
    }

    pub(crate) fn waiting(&self) -> bool {
        !self.asks.is_empty() && !self.working()
    }

    /// Asks that wait for somebody who answers with their model, by number.
    pub(crate) fn sought(&self) -> impl Iterator<Item = (u64, &Ask)> {
        let asks = self.asks.iter().map(|(&number, ask)| (number, ask));
        asks.filter(|(_, ask)| ask.seeks())
    }

    /// Whether the ask of this number is among them.
    pub(crate) fn is_sought(&self, number: u64) -> bool {
        self.asks.get(&number).is_some_and(Ask::seeks)
    }

    pub(crate) fn is_answered_by(&self, peer: NodeId) -> bool {
        let by = |ask: &Ask| matches!(&ask.stage, Stage::Remote(a) if a.session.peer == peer);
        self.asks.values().any(by)
    }

    /// Whether an ask waits for our own model.
    pub(crate) fn wants_engine(&self) -> bool {
        let wants = |ask: &Ask| {
            let here = matches!(ask.request.route, Route::Auto | Route::Local);
            here && matches!(ask.stage, Stage::Routing { .. })
        };
        self.asks.values().any(wants)
    }

    /// Whether the stream was ours.
    pub(crate) fn opened(&mut self, env: &mut Env, stream: StreamId) -> bool {
        let Some(ask) = self
            .on_stream(stream)
            .and_then(|ask| self.asks.get_mut(&ask))
        else {
            return false;
        };
        let Stage::Remote(attempt) = &ask.stage else {
            return false;
        };
        let prompt = ask.prompt(env.now, attempt.model, attempt.max_new_tokens);
        if let Stage::Remote(attempt) = &mut ask.stage {
            attempt.opened(env, prompt);
        }
        true
    }

    /// Whether the stream was ours.
    pub(crate) fn frame(
        &mut self,
        env: &mut Env,
        roster: &mut Roster,
        stream: StreamId,
        bytes: &[u8],
    ) -> bool {
        let Some(number) = self.on_stream(stream) else {
            return false;
        };
        if let Some(ask) = self.asks.get_mut(&number)
            && let Outcome::Ended = on_frame(env, roster, ask, bytes)
        {
            self.asks.remove(&number);
        }
        true
    }

    /// Whether the stream was ours.
    pub(crate) fn closed(
        &mut self,
        env: &mut Env,
        roster: &mut Roster,
        stream: StreamId,
        reason: &str,
    ) -> bool {
        let Some(ask) = self
            .on_stream(stream)
            .and_then(|ask| self.asks.get_mut(&ask))
        else {
            return false;
        };
        give_up(env, roster, ask, format!("the stream ended: {reason}"));
        true
    }

    pub(crate) fn disconnected(&mut self, env: &mut Env, roster: &mut Roster, peer: NodeId) {
        for ask in self.asks.values_mut() {
            if matches!(&ask.stage, Stage::Remote(attempt) if attempt.session.peer == peer) {
                give_up(env, roster, ask, "the connection ended".to_owned());
            }
        }
    }

    /// Whether the job was ours.
    pub(crate) fn job_tokens(&mut self, env: &mut Env, job: JobId, tokens: &[Token]) -> bool {
        let Some(number) = self.on_job(job) else {
            return false;
        };
        if let Some(ask) = self.asks.get_mut(&number)
            && let Outcome::Ended = on_local_tokens(env, ask, job, tokens)
        {
            self.asks.remove(&number);
        }
        true
    }

    /// Whether the job was ours.
    pub(crate) fn job_done(&mut self, env: &mut Env, job: JobId, end: &JobEnd) -> bool {
        let Some(mut ask) = self.on_job(job).and_then(|ask| self.asks.remove(&ask)) else {
            return false;
        };
        if let Stage::Local { model, .. } = ask.stage {
            ask.reroute(env.now);
            let provider = env.me;
            let ending = Ending {
                finish_reason: end.finish_reason,
                prompt_tokens: end.prompt_tokens,
                trimmed_bytes: end.trimmed_bytes,
                discarded: end.discarded,
                provider,
                path: None,
                model,
            };
            end_with(env, &mut ask, ending);
        }
        true
    }

    /// Whether the job was ours.
    pub(crate) fn job_failed(
        &mut self,
        env: &mut Env,
        job: JobId,
        invalid_request: bool,
        message: &str,
    ) -> bool {
        let Some(number) = self.on_job(job) else {
            return false;
        };
        let Some(ask) = self.asks.get_mut(&number) else {
            return false;
        };
        if invalid_request {
            ask.reroute(env.now);
            ask.fail(env, AskErrorCode::InvalidRequest, message.to_owned());
            self.asks.remove(&number);
        } else {
            local_fault(env, ask, message);
        }
        true
    }

    /// Answers that were computed here go on after the model is loaded again, or elsewhere.
    pub(crate) fn engine_lost(&mut self, env: &mut Env, reason: &str) {
        for ask in self.asks.values_mut() {
            if matches!(ask.stage, Stage::Local { .. }) {
                local_fault(env, ask, reason);
            }
        }
    }

    /// Ends what is overdue and routes what stands.
    pub(crate) fn tick(
        &mut self,
        env: &mut Env,
        roster: &mut Roster,
        engine: &mut Engine,
        expecting: bool,
    ) {
        let mut ended = Vec::new();
        for (&number, ask) in &mut self.asks {
            if let Outcome::Ended = advance(env, roster, engine, ask, expecting) {
                ended.push(number);
            }
        }
        for number in ended {
            self.asks.remove(&number);
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        let wakes = self.asks.values().map(|ask| Some(ask.next_wake()));
        wakes.fold(None, earlier)
    }

    fn on_stream(&self, stream: StreamId) -> Option<u64> {
        let on = |ask: &Ask| matches!(&ask.stage, Stage::Remote(a) if a.stream() == stream);
        let mut asks = self.asks.iter();
        asks.find(|(_, ask)| on(ask)).map(|(&number, _)| number)
    }

    fn on_job(&self, job: JobId) -> Option<u64> {
        let on = |ask: &Ask| matches!(ask.stage, Stage::Local { job: own, .. } if own == job);
        let mut asks = self.asks.iter();
        asks.find(|(_, ask)| on(ask)).map(|(&number, _)| number)
    }
}
