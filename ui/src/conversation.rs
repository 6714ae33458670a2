//! What was asked and what came back, turn by turn.

use std::collections::VecDeque;
use std::rc::Rc;
use thrum_protocol::id::NodeId;
use thrum_protocol::task::{ChatMessage, FinishReason, Role};
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{AskErrorCode, AskUpdate, Path};

/// turns; the page forgets older ones. An afternoon of questions.
pub const MAX_TURNS: usize = 200;

/// bytes; more text of one answer is not kept: sixteen times the longest sensible answer.
const MAX_ANSWER_BYTES: usize = 512 * 1024;

/// count; failed attempts that are named under an answer.
const MAX_RETRIES: usize = 8;

/// Turns, oldest first. Each is shared, so that one new token redraws one turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    turns: VecDeque<Rc<Turn>>,
}

/// A prompt and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// the number the node knows it by
    pub ask: u64,
    /// what was typed
    pub prompt: String,
    /// what came back so far
    pub text: String,
    /// tokens so far
    pub tokens: u32,
    /// who computes or computed the last part
    pub provider: Option<NodeId>,
    /// how bytes get there; `None` where it is this node
    pub path: Option<Path>,
    /// attempts so far
    pub attempts: u32,
    /// attempts that failed
    pub retries: Vec<Retry>,
    /// how far it is
    pub phase: Phase,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// who failed
    pub provider: NodeId,
    /// why
    pub reason: String,
}

/// How far an answer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// complete
    Done(Measured),
    /// there will be none
    Failed {
        /// stable
        code: AskErrorCode,
        /// for people
        message: String,
    },
    /// the person stopped it
    Stopped,
    /// no token yet
    Waiting,
    /// tokens arrive
    Writing,
}

/// What was measured about a complete answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// why it ended
    pub finish_reason: FinishReason,
    /// tokens of the prompt
    pub prompt_tokens: u32,
    /// tokens of the answer
    pub completion_tokens: u32,
    /// what the context had no room for
    pub discarded: Discarded,
    /// from asking to the first token
    pub first_token: Millis,
    /// from asking to the end
    pub total: Millis,
}

impl Turn {
    /// Whether more may come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.phase {
            Phase::Waiting | Phase::Writing => true,
            Phase::Done(_) | Phase::Failed { .. } | Phase::Stopped => false,
        }
    }

    fn apply(&mut self, update: AskUpdate) {
        match update {
            AskUpdate::Delta { index, text, .. } => {
                if self.text.len() + text.len() <= MAX_ANSWER_BYTES {
                    self.text.push_str(&text);
                }
                self.tokens = index.saturating_add(1);
                self.phase = Phase::Writing;
            }
            AskUpdate::Done {
                finish_reason,
                mut text,
                prompt_tokens,
                completion_tokens,
                discarded,
                provider,
                path,
                model: _,
                attempts,
                first_token_millis,
                total_millis,
            } => {
                text.truncate(text.floor_char_boundary(MAX_ANSWER_BYTES));
                self.text = text;
                self.tokens = completion_tokens;
                self.provider = Some(provider);
                self.path = path;
                self.attempts = attempts;
                self.phase = Phase::Done(Measured {
                    finish_reason,
                    prompt_tokens,
                    completion_tokens,
                    discarded,
                    first_token: first_token_millis,
                    total: total_millis,
                });
            }
            AskUpdate::Failed {
                code: AskErrorCode::Cancelled,
                ..
            } => self.phase = Phase::Stopped,
            AskUpdate::Failed { code, message } => self.phase = Phase::Failed { code, message },
            AskUpdate::Retrying { provider, reason } => {
                if self.retries.len() < MAX_RETRIES {
                    self.retries.push(Retry { provider, reason });
                }
            }
            AskUpdate::Routed {
                provider,
                path,
                attempt,
            } => {
                self.provider = Some(provider);
                self.path = path;
                self.attempts = attempt;
            }
        }
    }
}

impl Conversation {
    /// The turns, oldest first.
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = &Rc<Turn>> {
        self.turns.iter()
    }

    /// Whether nothing was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// The answer that is under way.
    #[must_use]
    pub fn open_ask(&self) -> Option<u64> {
        self.turns
            .iter()
            .rev()
            .find(|turn| turn.is_open())
            .map(|turn| turn.ask)
    }

    /// A prompt was sent.
    pub fn ask(&mut self, ask: u64, prompt: String) {
        if self.turns.len() == MAX_TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(Rc::new(Turn {
            ask,
            prompt,
            text: String::new(),
            tokens: 0,
            provider: None,
            path: None,
            attempts: 0,
            retries: Vec::new(),
            phase: Phase::Waiting,
        }));
    }

    /// Something happened to an answer. Updates of answers that are not open here (stopped ones,
    /// those of another tab) change nothing.
    pub fn update(&mut self, ask: u64, update: AskUpdate) {
        if let Some(turn) = self.open_turn(ask) {
            turn.apply(update);
        }
    }

    /// The person stopped an answer: nothing more of it is shown.
    pub fn stop(&mut self, ask: u64) {
        if let Some(turn) = self.open_turn(ask) {
            turn.phase = Phase::Stopped;
        }
    }

    /// The node that would have answered is gone.
    pub fn fail_open(&mut self, code: AskErrorCode, message: &str) {
        for turn in self.turns.iter_mut().filter(|turn| turn.is_open()) {
            Rc::make_mut(turn).phase = Phase::Failed {
                code,
                message: message.to_owned(),
            };
        }
    }

    /// Complete turns as chat messages, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<ChatMessage> {
        let message = |role, content: &str| ChatMessage {
            role,
            content: content.to_owned(),
        };
        self.turns
            .iter()
            .filter(|turn| matches!(turn.phase, Phase::Done(_)))
            .flat_map(|turn| {
                [
                    message(Role::User, &turn.prompt),
                    message(Role::Assistant, &turn.text),
                ]
            })
            .collect()
    }

    fn open_turn(&mut self, ask: u64) -> Option<&mut Turn> {
        self.turns
            .iter_mut()
            .rev()
            .find(|turn| turn.ask == ask && turn.is_open())
            .map(Rc::make_mut)
    }
}

#[cfg(test)]
mod tests;
