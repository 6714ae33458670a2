//! How the next token of an answer is chosen, and what the answer must look like.
//!
//! Signed messages hold integers from 0 up only: fractions are thousandths, and what may go either
//! way is a [`Shift`]. A member that has its neutral value is not on the wire.

use crate::id::ModelId;
use crate::limits::{
    MAX_GENOME_SCALE_MILLI, MAX_GENOMES, MAX_LOGIT_BIAS_MILLI, MAX_LOGIT_BIASES, MAX_PENALTY_MILLI,
    MAX_REPETITION_PENALTY_MILLI, MAX_SCHEMA_BYTES, MAX_TOP_LOGPROBS,
};
use crate::signed::{OpenError, within};
use serde::{Deserialize, Serialize};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy; 1000 samples from the model's own distribution
    pub temperature_milli: u32,
    /// only the k likeliest tokens; 0 is all
    pub top_k: u32,
    /// only the likeliest tokens that together reach this probability; 1000 is all
    pub top_p_milli: u32,
    /// the draw for position i depends on the seed and i alone, so another peer draws the same
    pub seed: u64,
    /// whether the answer goes on after the model's end token: for measuring and comparing
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_eos: bool,
    /// only tokens at least this likely, relative to the likeliest; 0 is all
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_p_milli: u32,
    /// divides the logits of tokens that prompt or answer has (multiplies negative ones); 1000 is none
    #[serde(default = "neutral", skip_serializing_if = "is_neutral")]
    pub repetition_penalty_milli: u32,
    /// taken from a token's logit for each time the answer has it
    #[serde(default, skip_serializing_if = "Shift::is_none")]
    pub frequency_penalty: Shift,
    /// taken from a token's logit once the answer has it
    #[serde(default, skip_serializing_if = "Shift::is_none")]
    pub presence_penalty: Shift,
    /// added to the logits of single tokens
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logit_bias: Vec<LogitBias>,
    /// each token comes with its log probability and those of this many likeliest tokens
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<u32>,
    /// what the whole answer must be; any text where there is none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<AnswerFormat>,
    /// adapters that the model wears, one on top of the other
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub genomes: Vec<GenomeUse>,
}

/// An adapter that a model wears for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenomeUse {
    /// SHA-256 of its files
    pub id: ModelId,
    /// how much of it
    pub scale: Shift,
}

/// An amount that may go either way, in thousandths. `{"more":500}` is +0.5, `{"less":500}` -0.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shift {
    /// below zero
    Less(u32),
    /// from zero up
    More(u32),
}

/// A shift of one token's logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogitBias {
    /// id in the vocabulary
    pub id: u32,
    /// what is added
    pub bias: Shift,
}

/// What an answer must be, enforced token by token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerFormat {
    /// a JSON object
    JsonObject,
    /// JSON that this JSON Schema, as text, admits
    JsonSchema(String),
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self {
        temperature_milli: 0,
        top_k: 0,
        top_p_milli: 1_000,
        seed: 0,
        ignore_eos: false,
        min_p_milli: 0,
        repetition_penalty_milli: 1_000,
        frequency_penalty: Shift::NONE,
        presence_penalty: Shift::NONE,
        logit_bias: Vec::new(),
        logprobs: None,
        format: None,
        genomes: Vec::new(),
    };

    /// Whether every field is within its limit.
    ///
    /// # Errors
    /// [`OpenError::OverLimit`] naming the first field that is not.
    pub(crate) fn check_limits(&self) -> Result<(), OpenError> {
        let small = |field, got: u32, max: u32| within(field, got as usize, max as usize);
        small("top_p_milli", self.top_p_milli, 1_000)?;
        small("temperature_milli", self.temperature_milli, 100_000)?;
        small("min_p_milli", self.min_p_milli, 1_000)?;
        small(
            "repetition_penalty_milli",
            self.repetition_penalty_milli,
            MAX_REPETITION_PENALTY_MILLI,
        )?;
        small(
            "frequency_penalty",
            self.frequency_penalty.size(),
            MAX_PENALTY_MILLI,
        )?;
        small(
            "presence_penalty",
            self.presence_penalty.size(),
            MAX_PENALTY_MILLI,
        )?;
        within("logit_bias", self.logit_bias.len(), MAX_LOGIT_BIASES)?;
        for LogitBias { bias, .. } in &self.logit_bias {
            small("logit_bias", bias.size(), MAX_LOGIT_BIAS_MILLI)?;
        }
        small("logprobs", self.logprobs.unwrap_or(0), MAX_TOP_LOGPROBS)?;
        within("genomes", self.genomes.len(), MAX_GENOMES)?;
        for GenomeUse { scale, .. } in &self.genomes {
            small("genomes", scale.size(), MAX_GENOME_SCALE_MILLI)?;
        }
        match &self.format {
            Some(AnswerFormat::JsonSchema(schema)) => {
                within("format", schema.len(), MAX_SCHEMA_BYTES)
            }
            Some(AnswerFormat::JsonObject) | None => Ok(()),
        }
    }
}

impl Shift {
    /// No shift at all.
    pub const NONE: Self = Self::More(0);

    /// The same as a number.
    #[must_use]
    pub fn value(self) -> f32 {
        let thousandths = self.size() as f32 / 1_000.0;
        match self {
            Self::Less(_) => -thousandths,
            Self::More(_) => thousandths,
        }
    }

    /// How far, in thousandths, whichever way.
    #[must_use]
    pub fn size(self) -> u32 {
        match self {
            Self::Less(milli) | Self::More(milli) => milli,
        }
    }

    fn is_none(&self) -> bool {
        self.size() == 0
    }
}

impl Default for Shift {
    fn default() -> Self {
        Self::NONE
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// thousandths; a repetition penalty that changes nothing.
const NEUTRAL_MILLI: u32 = 1_000;

fn neutral() -> u32 {
    NEUTRAL_MILLI
}

fn is_neutral(value: &u32) -> bool {
    *value == NEUTRAL_MILLI
}
