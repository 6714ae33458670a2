//! What a page asks of a node.

use crate::id::NodeId;
use crate::sampling::Sampling;
use crate::task::PromptInput;
use crate::time::Millis;
use crate::truncation::Truncation;
use serde::{Deserialize, Serialize};

/// What a person or a program wants of the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "camelCase")]
pub enum Command {
    /// answer a prompt
    Ask(AskRequest),
    /// forget an answer that is under way
    CancelAsk {
        /// the asker's own number
        ask: u64,
    },
    /// take work from others
    Donate(DonateLimits),
    /// finish what is taken, then stop donating
    Finish,
    /// stop computing for others at once, until `Donate`
    Pause,
}

/// What a donor gives at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DonateLimits {
    /// tasks at once
    pub slots: u32,
    /// tokens for one task
    pub max_new_tokens: u32,
    /// percent of the time that the engine computes for others while it has work of theirs
    pub share_percent: u32,
}

impl Default for DonateLimits {
    /// Two tasks of 512 tokens at full speed: a tab that stays responsive.
    fn default() -> Self {
        Self {
            slots: 2,
            max_new_tokens: 512,
            share_percent: 100,
        }
    }
}

/// A prompt and where to answer it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskRequest {
    /// the asker's own number; updates carry it
    pub ask: u64,
    /// the model's name or id; `None` is the loaded one, else any that a peer offers
    pub model: Option<String>,
    /// what is asked
    pub input: PromptInput,
    /// tokens at most
    pub max_new_tokens: u32,
    /// how tokens are chosen
    pub sampling: Sampling,
    /// texts that end the answer
    pub stop: Vec<String>,
    /// from asking to the last token
    pub deadline_millis: Millis,
    /// what happens where the context is full
    #[serde(default)]
    pub truncation: Truncation,
    /// where to compute
    pub route: Route,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Route {
    /// the peer that promises the most, else here
    Auto,
    /// here, never elsewhere
    Local,
    /// any peer, never here
    Peer,
    /// this peer and no other
    PeerId(NodeId),
}

/// What happened to a genome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GenomeChange {
    /// answers can wear it
    Loaded,
    /// it is gone
    Removed,
}
