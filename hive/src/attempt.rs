//! One attempt at an ask, at one peer: what is due from the provider, and by when.
//!
//! `Opening → Accepting → Streaming`, and then its end. A provider that says anything that is not
//! due has ended the attempt.

use crate::answer::Answer;
use crate::env::Env;
use crate::io::{Output, StreamId, StreamKind};
use crate::limits::{ACCEPT_TIMEOUT, HEARTBEAT_SLACK, OPEN_TIMEOUT, SILENCE_TIMEOUT};
use crate::misbehaviour::Misbehaviour;
use crate::session::{Session, name_of};
use thrum_protocol::id::{ModelId, NodeId, TaskId};
use thrum_protocol::limits::HEARTBEAT_PERIOD;
use thrum_protocol::task::{Done, FinishReason, Prompt, Refusal, TaskBody, Token, Tokens};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::Path;

/// An attempt under way.
pub(crate) struct Attempt {
    pub(crate) session: Session,
    pub(crate) path: Path,
    pub(crate) model: ModelId,
    /// tokens of the answer when it is full, those of earlier attempts included
    pub(crate) max_new_tokens: u32,
    /// whether each token is to come with its log probability
    wants_logprobs: bool,
    /// what the provider may drop
    truncation: Truncation,
    phase: Phase,
    /// the provider is given up when it says nothing until then
    quiet_until: Millis,
    /// tokens of the answer when it began
    first_index: u32,
}

/// Where and how an attempt is made.
pub(crate) struct Target {
    pub(crate) peer: NodeId,
    pub(crate) path: Path,
    pub(crate) model: ModelId,
    pub(crate) max_new_tokens: u32,
}

#[derive(Clone, Copy)]
enum Phase {
    Opening,
    Accepting,
    Streaming { since: Millis, heartbeats: u64 },
}

/// What a frame of the provider brings.
pub(crate) enum Progress {
    /// nothing to tell
    Alive,
    /// the next text, which may be empty, and its tokens
    Text(String, Vec<Token>),
    /// the provider is done, within what was asked of it
    Done(Done),
    /// the provider takes the task not, or not further
    Refused(Refusal),
}

impl Attempt {
    pub(crate) fn open(
        env: &mut Env,
        target: Target,
        task: TaskId,
        number: u32,
        answer: &Answer,
    ) -> Self {
        let stream = env.open(target.peer, StreamKind::Task);
        Self {
            session: Session::asking(stream, target.peer, task, number),
            path: target.path,
            model: target.model,
            max_new_tokens: target.max_new_tokens,
            wants_logprobs: false,
            truncation: Truncation::Disabled,
            phase: Phase::Opening,
            quiet_until: env.now + OPEN_TIMEOUT,
            first_index: answer.token_count(),
        }
    }

    pub(crate) fn stream(&self) -> StreamId {
        self.session.stream
    }

    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Opening)
    }

    pub(crate) fn opened(&mut self, env: &mut Env, prompt: Prompt) {
        if matches!(self.phase, Phase::Opening) {
            self.wants_logprobs = prompt.sampling.logprobs.is_some();
            self.truncation = prompt.truncation;
            self.session.say(env, TaskBody::Prompt(prompt));
            self.phase = Phase::Accepting;
            self.quiet_until = env.now + ACCEPT_TIMEOUT;
        }
    }

    pub(crate) fn frame(
        &mut self,
        env: &mut Env,
        answer: &mut Answer,
        bytes: &[u8],
    ) -> Result<Progress, Misbehaviour> {
        let body = self.session.hear(env, bytes)?;
        let progress = match (self.phase, body) {
            (Phase::Accepting, TaskBody::Accept(_)) => {
                let since = env.now;
                self.phase = Phase::Streaming {
                    since,
                    heartbeats: 0,
                };
                Progress::Alive
            }
            (Phase::Accepting, TaskBody::Refuse(refusal))
            | (Phase::Streaming { .. }, TaskBody::Failed(refusal)) => Progress::Refused(refusal),
            (Phase::Streaming { since, heartbeats }, TaskBody::Heartbeat {}) => {
                let periods = env.now.since(since).0 / HEARTBEAT_PERIOD.0;
                if heartbeats > periods + HEARTBEAT_SLACK {
                    return Err(Misbehaviour::HeartbeatFlood);
                }
                self.phase = Phase::Streaming {
                    since,
                    heartbeats: heartbeats + 1,
                };
                Progress::Alive
            }
            (Phase::Streaming { .. }, TaskBody::Tokens(tokens)) => {
                let text = self.tokens(answer, &tokens)?;
                Progress::Text(text, tokens.tokens)
            }
            (Phase::Streaming { .. }, TaskBody::Done(done)) => {
                Progress::Done(self.check_done(answer, done)?)
            }
            (_, body) => return Err(Misbehaviour::NotDue(name_of(&body))),
        };
        self.quiet_until = env.now + SILENCE_TIMEOUT;
        Ok(progress)
    }

    fn tokens(&self, answer: &mut Answer, tokens: &Tokens) -> Result<String, Misbehaviour> {
        let expected = answer.token_count();
        let got = tokens.first_index;
        if got < expected {
            return Err(Misbehaviour::RepeatedTokens { expected, got });
        }
        if got > expected {
            return Err(Misbehaviour::MissingTokens { expected, got });
        }
        if tokens.tokens.is_empty() {
            return Err(Misbehaviour::NoTokens);
        }
        if self.wants_logprobs && tokens.tokens.iter().any(|token| token.logprob.is_none()) {
            return Err(Misbehaviour::NoLogprobs);
        }
        if expected as usize + tokens.tokens.len() > self.max_new_tokens as usize {
            let max = self.max_new_tokens;
            return Err(Misbehaviour::TooManyTokens { max });
        }
        answer.extend(&tokens.tokens)
    }

    /// Thousandths of a token per second since it was accepted.
    pub(crate) fn measured(&self, now: Millis, answer: &Answer) -> Option<u64> {
        let Phase::Streaming { since, .. } = self.phase else {
            return None;
        };
        let tokens = u64::from(answer.token_count() - self.first_index);
        let speed = tokens * 1_000_000 / now.since(since).0.max(1);
        (tokens > 0).then_some(speed)
    }

    /// Why the provider is given up, once it was silent too long.
    pub(crate) fn silence(&self, now: Millis) -> Option<String> {
        if now < self.quiet_until {
            return None;
        }
        Some(match self.phase {
            Phase::Opening => format!("no stream within {} s", OPEN_TIMEOUT.0 / 1_000),
            Phase::Accepting => format!("no answer within {} s", ACCEPT_TIMEOUT.0 / 1_000),
            Phase::Streaming { .. } => format!("silent for {} s", SILENCE_TIMEOUT.0 / 1_000),
        })
    }

    pub(crate) fn next_wake(&self) -> Millis {
        self.quiet_until
    }

    /// Tells the provider that nobody reads on.
    pub(crate) fn cancel(&mut self, env: &mut Env) {
        if !matches!(self.phase, Phase::Opening) {
            self.session.say(env, TaskBody::Cancel {});
        }
        env.push(Output::Close(self.session.stream));
    }

    /// The end token may be counted without having been sent.
    fn check_done(&self, answer: &Answer, done: Done) -> Result<Done, Misbehaviour> {
        let received = answer.token_count();
        let claimed = done.completion_tokens;
        let end_token = u32::from(done.finish_reason == FinishReason::Stop);
        if claimed < received || claimed > received + end_token {
            return Err(Misbehaviour::WrongCount { claimed, received });
        }
        let bytes = done.trimmed_bytes;
        if !answer.may_trim(bytes) {
            return Err(Misbehaviour::WrongTrim { bytes });
        }
        match self.truncation {
            Truncation::Disabled if !done.discarded.is_nothing() => {
                Err(Misbehaviour::ForbiddenTruncation)
            }
            Truncation::Auto | Truncation::Disabled => Ok(done),
        }
    }
}
