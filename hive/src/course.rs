//! The course of one ask: what each thing that happens makes of it, and where it goes next.

use crate::ask::{Ask, Ending, Stage};
use crate::attempt::{Attempt, Progress, Target};
use crate::engine::Engine;
use crate::env::Env;
use crate::io::{JobId, Output};
use crate::limits::{AVOID_TIME, INVALID_VERDICTS, ROUTE_PERIOD};
use crate::misbehaviour::Misbehaviour;
use crate::roster::Roster;
use crate::route::{Map, Step, next_step};
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::task::{Done, FinishReason, Refusal, RefusalCode, Token};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{AskErrorCode, AskUpdate, LogLevel, Route};

/// Whether the ask is under way still.
pub(crate) enum Outcome {
    GoesOn,
    Ended,
}

/// Ends what is overdue, gives up who is silent, and finds the next step where there is none.
pub(crate) fn advance(
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

pub(crate) fn on_local_tokens(
    env: &mut Env,
    ask: &mut Ask,
    job: JobId,
    tokens: &[Token],
) -> Outcome {
    let Stage::Local { model, .. } = ask.stage else {
        return Outcome::GoesOn;
    };
    match ask.answer.extend(tokens) {
        Ok(_) if ask.answer.contradicted() => return contradict(env, ask),
        Ok(text) => ask.text(env, model, text, tokens),
        Err(too_long) => {
            env.push(Output::Cancel(job));
            local_fault(env, ask, &too_long.to_string());
        }
    }
    Outcome::GoesOn
}

pub(crate) fn on_frame(env: &mut Env, roster: &mut Roster, ask: &mut Ask, bytes: &[u8]) -> Outcome {
    let Stage::Remote(attempt) = &mut ask.stage else {
        return Outcome::GoesOn;
    };
    let peer = attempt.session.peer;
    let model = attempt.model;
    match attempt.frame(env, &mut ask.answer, bytes) {
        Ok(Progress::Alive) => Outcome::GoesOn,
        Ok(Progress::Text(..)) if ask.answer.contradicted() => contradict(env, ask),
        Ok(Progress::Text(text, tokens)) => {
            ask.text(env, model, text, &tokens);
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
        discarded: done.discarded,
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

pub(crate) fn end_with(env: &mut Env, ask: &mut Ask, ending: Ending) -> Outcome {
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
pub(crate) fn give_up(env: &mut Env, roster: &mut Roster, ask: &mut Ask, reason: String) {
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

pub(crate) fn local_fault(env: &mut Env, ask: &mut Ask, reason: &str) {
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
        discarded: Discarded::default(),
        provider,
        path,
        model,
    };
    end_with(env, ask, ending)
}
