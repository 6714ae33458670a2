//! All asks under way: each is handed what concerns it, and routed on whenever it stands.
//!
//! Every ask ends in exactly one `Done` or `Failed`, at its deadline at the latest.

use crate::ask::{Ask, Ending, Stage};
use crate::attempt::{Attempt, Progress, Target};
use crate::engine::Engine;
use crate::env::{Env, earlier};
use crate::io::{JobId, Output, StreamId};
use crate::limits::{AVOID_TIME, INVALID_VERDICTS, MAX_ASKS, ROUTE_PERIOD};
use crate::misbehaviour::Misbehaviour;
use crate::provider::JobEnd;
use crate::roster::Roster;
use crate::route::{Map, Step, next_step};
use std::collections::BTreeMap;
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::task::{Done, FinishReason, Refusal, RefusalCode, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskErrorCode, AskRequest, AskUpdate, LogLevel, Route};

/// The asks, by the asker's own number. No more than [`MAX_ASKS`].
#[derive(Default)]
pub(crate) struct Asker {
    asks: BTreeMap<u64, Ask>,
}

/// What came of handing something to an ask.
enum Outcome {
    GoesOn,
    Ended,
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

fn advance(
    env: &mut Env,
    roster: &mut Roster,
    engine: &mut Engine,
    ask: &mut Ask,
    expecting: bool,
) -> Outcome {
    if ask.deadline() <= env.now {
        let tokens = ask.answer.token_count();
        let message = format!("the deadline passed after {tokens} tokens");
        ask.fail(env, AskErrorCode::DeadlinePassed, message);
        return Outcome::Ended;
    }
    if let Stage::Remote(attempt) = &mut ask.stage
        && let Some(reason) = attempt.silence(env.now)
    {
        attempt.cancel(env);
        give_up(env, roster, ask, reason);
    }
    let Stage::Routing { since, .. } = ask.stage else {
        return Outcome::GoesOn;
    };
    if let Some(model) = ask.pinned.filter(|_| ask.is_full()) {
        return finish_unsaid(env, ask, model);
    }
    let map = Map {
        roster: &*roster,
        engine: &*engine,
        expecting,
    };
    match next_step(env, ask, &map, since) {
        Step::Peer(target) => start_remote(env, ask, target),
        Step::Here { model } => start_local(env, ask, model),
        Step::Load => {
            engine.want(env);
            look_again(env.now, ask);
        }
        Step::Wait => {
            if let Route::PeerId(peer) = ask.request.route {
                roster.hurry(env, peer);
            }
            look_again(env.now, ask);
        }
        Step::Fail(code, message) => {
            ask.fail(env, code, message);
            return Outcome::Ended;
        }
    }
    Outcome::GoesOn
}

fn look_again(now: Millis, ask: &mut Ask) {
    if let Stage::Routing { look_at, .. } = &mut ask.stage {
        *look_at = now + ROUTE_PERIOD;
    }
}

fn start_remote(env: &mut Env, ask: &mut Ask, target: Target) {
    let number = ask.next_attempt();
    env.update(
        ask.request.ask,
        AskUpdate::Routed {
            provider: target.peer,
            path: Some(target.path),
            attempt: number,
        },
    );
    let first_index = ask.answer.token_count();
    ask.contributed.entry(target.peer).or_insert(first_index);
    let attempt = Attempt::open(env, target, ask.task(), number, &ask.answer);
    ask.stage = Stage::Remote(Box::new(attempt));
    env.changed = true;
}

fn start_local(env: &mut Env, ask: &mut Ask, model: ModelId) {
    let attempt = ask.next_attempt();
    let provider = env.me;
    env.update(
        ask.request.ask,
        AskUpdate::Routed {
            provider,
            path: None,
            attempt,
        },
    );
    let job = env.next_job();
    let prompt = Box::new(ask.prompt(env.now, model, ask.request.max_new_tokens));
    env.push(Output::Run {
        job,
        prompt,
        local: true,
    });
    ask.stage = Stage::Local { job, model };
    env.changed = true;
}

fn on_local_tokens(env: &mut Env, ask: &mut Ask, job: JobId, tokens: &[Token]) -> Outcome {
    let Stage::Local { model, .. } = ask.stage else {
        return Outcome::GoesOn;
    };
    match ask.answer.extend(tokens) {
        Ok(_) if ask.answer.contradicted() => return contradict(env, ask),
        Ok(text) => ask.text(env, model, text),
        Err(too_long) => {
            env.push(Output::Cancel(job));
            local_fault(env, ask, &too_long.to_string());
        }
    }
    Outcome::GoesOn
}

fn on_frame(env: &mut Env, roster: &mut Roster, ask: &mut Ask, bytes: &[u8]) -> Outcome {
    let Stage::Remote(attempt) = &mut ask.stage else {
        return Outcome::GoesOn;
    };
    let peer = attempt.session.peer;
    let model = attempt.model;
    match attempt.frame(env, &mut ask.answer, bytes) {
        Ok(Progress::Alive) => Outcome::GoesOn,
        Ok(Progress::Text(_)) if ask.answer.contradicted() => contradict(env, ask),
        Ok(Progress::Text(text)) => {
            ask.text(env, model, text);
            Outcome::GoesOn
        }
        Ok(Progress::Done(done)) => on_done(env, roster, ask, done),
        Ok(Progress::Refused(refusal)) => on_refused(env, roster, ask, refusal),
        Err(misbehaviour) => {
            on_lie(env, roster, ask, peer, &misbehaviour);
            Outcome::GoesOn
        }
    }
}

fn on_done(env: &mut Env, roster: &mut Roster, ask: &mut Ask, done: Done) -> Outcome {
    let Stage::Remote(attempt) = &ask.stage else {
        return Outcome::GoesOn;
    };
    let provider = attempt.session.peer;
    let measured = attempt.measured(env.now, &ask.answer);
    roster.served(env, provider, measured);
    let full = ask.answer.token_count() >= attempt.max_new_tokens;
    let part = done.finish_reason == FinishReason::Length && full && !ask.is_full();
    let ending = Ending {
        finish_reason: done.finish_reason,
        prompt_tokens: done.prompt_tokens,
        trimmed_bytes: done.trimmed_bytes,
        provider,
        path: Some(attempt.path),
        model: attempt.model,
    };
    close_attempt(env, ask);
    ask.reroute(env.now);
    if part {
        return Outcome::GoesOn;
    }
    end_with(env, ask, ending)
}

fn end_with(env: &mut Env, ask: &mut Ask, ending: Ending) -> Outcome {
    if ask.answer.ends_too_early(ending.trimmed_bytes) {
        return contradict(env, ask);
    }
    ask.done(env, ending);
    Outcome::Ended
}

/// A provider was caught lying, and what it had sent before, and was shown, is wrong as well.
fn contradict(env: &mut Env, ask: &mut Ask) -> Outcome {
    let message = "a peer sent a wrong beginning of the answer and was caught later";
    ask.fail(env, AskErrorCode::ProvidersFailed, message.to_owned());
    Outcome::Ended
}

/// The next step depends on the code alone.
fn on_refused(env: &mut Env, roster: &mut Roster, ask: &mut Ask, refusal: Refusal) -> Outcome {
    let Stage::Remote(attempt) = &ask.stage else {
        return Outcome::GoesOn;
    };
    let peer = attempt.session.peer;
    close_attempt(env, ask);
    let until = env.now + AVOID_TIME;
    let reason = refusal.message;
    match refusal.code {
        RefusalCode::Busy
        | RefusalCode::ModelUnavailable
        | RefusalCode::NotDonating
        | RefusalCode::Stopping => ask.refused(env, peer, until, reason),
        RefusalCode::InvalidRequest => {
            ask.invalid.insert(peer, reason.clone());
            if ask.invalid.len() >= INVALID_VERDICTS {
                ask.reroute(env.now);
                ask.fail(env, AskErrorCode::InvalidRequest, reason);
                return Outcome::Ended;
            }
            ask.failed(env, peer, ask.deadline(), reason);
        }
        RefusalCode::DeadlinePassed | RefusalCode::EngineFailed | RefusalCode::Replayed => {
            roster.faulted(env, peer);
            ask.failed(env, peer, until, reason);
        }
        // `RefusalCode` is non-exhaustive: a reason of a later version.
        _ => ask.failed(env, peer, until, reason),
    }
    Outcome::GoesOn
}

fn on_lie(env: &mut Env, roster: &mut Roster, ask: &mut Ask, peer: NodeId, what: &Misbehaviour) {
    close_attempt(env, ask);
    let until = ask.deadline();
    ask.doubt(peer);
    ask.failed(env, peer, until, what.to_string());
    roster.lied(env, peer, what);
}

/// The provider of the attempt is gone, as happens to the honest.
fn give_up(env: &mut Env, roster: &mut Roster, ask: &mut Ask, reason: String) {
    let Stage::Remote(attempt) = &ask.stage else {
        return;
    };
    let peer = attempt.session.peer;
    let until = env.now + AVOID_TIME;
    let message = format!("peer …{} gave no answer: {reason}", peer.fmt_short());
    env.log(LogLevel::Warn, message);
    // A stream that never opened cost little: it does not use an attempt up.
    if attempt.is_opening() {
        ask.refused(env, peer, until, reason);
    } else {
        ask.failed(env, peer, until, reason);
    }
    roster.faulted(env, peer);
}

fn close_attempt(env: &mut Env, ask: &mut Ask) {
    if let Stage::Remote(attempt) = &ask.stage {
        env.push(Output::Close(attempt.stream()));
    }
}

fn local_fault(env: &mut Env, ask: &mut Ask, reason: &str) {
    ask.local_failures += 1;
    ask.last_fault = Some(format!("here: {reason}"));
    ask.reroute(env.now);
    let provider = env.me;
    let reason = reason.to_owned();
    env.update(ask.request.ask, AskUpdate::Retrying { provider, reason });
}

/// All tokens came, and then the provider vanished without its last word.
fn finish_unsaid(env: &mut Env, ask: &mut Ask, model: ModelId) -> Outcome {
    let trimmed_bytes = ask.answer.stop_bytes();
    let finish_reason = if trimmed_bytes > 0 {
        FinishReason::Stop
    } else {
        FinishReason::Length
    };
    let (provider, path) = ask.last_provider.unwrap_or((env.me, None));
    let ending = Ending {
        finish_reason,
        prompt_tokens: 0,
        trimmed_bytes,
        provider,
        path,
        model,
    };
    end_with(env, ask, ending)
}
