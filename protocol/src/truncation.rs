//! What a task may drop where its text outgrows the model's context, and what was dropped.

use serde::{Deserialize, Serialize};

/// What happens where prompt and answer together outgrow the model's context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// What is oldest goes: messages after the system messages, the beginning of a text, and while
    /// the answer is given the older half of what is not the system messages'.
    Auto,
    /// A prompt that is too long is refused, and the answer ends where the context does.
    #[default]
    Disabled,
}

impl Truncation {
    pub(crate) fn is_disabled(&self) -> bool {
        match self {
            Self::Auto => false,
            Self::Disabled => true,
        }
    }
}

/// What the answer was given without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// messages of the conversation that the model did not read
    pub messages: u32,
    /// tokens by which the prompt became shorter
    pub prompt_tokens: u32,
    /// tokens of prompt and answer that the model read and lost while it answered
    pub context_tokens: u32,
}

impl Discarded {
    /// Whether everything was there to the end.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
