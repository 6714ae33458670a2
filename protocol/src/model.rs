//! What peers say about models: which, how fast, with what.

use crate::id::ModelId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// WebAssembly, on one thread or several.
    Cpu,
    /// WGSL compute shaders.
    Webgpu,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Webgpu => "webgpu",
        })
    }
}

/// A model that a peer has loaded and answers with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelOffer {
    /// SHA-256 of the file: equal ids give equal answers.
    pub id: ModelId,
    /// the catalogue's or the file's name, for people
    pub name: String,
    /// tokens that fit, prompt and answer together
    pub context_tokens: u32,
}
