//! What a person may ask of the choice of tokens, and the bounds of each wish.

use crate::error::EngineError;

/// The largest temperature accepted; the OpenAI interface's bound.
pub const MAX_TEMPERATURE: f32 = 2.0;

/// The largest repetition penalty accepted. Beyond it every token of the window is out anyway.
pub const MAX_REPETITION_PENALTY: f32 = 10.0;

/// Tokens that the repetition penalty looks back over where nobody says; llama.cpp's default.
pub const DEFAULT_REPETITION_WINDOW: u32 = 64;

/// Tokens that the repetition penalty may look back over: sorted for every token chosen.
pub const MAX_REPETITION_WINDOW: u32 = 4_096;

/// Bound on either side of 0 for frequency and presence penalties; the OpenAI interface's.
pub const MAX_OPENAI_PENALTY: f32 = 2.0;

/// Bound on either side of 0 for a logit bias; the OpenAI interface's.
pub const MAX_LOGIT_BIAS: f32 = 100.0;

/// Tokens with a logit bias; the OpenAI interface's bound.
pub const MAX_LOGIT_BIASES: usize = 300;

/// Likeliest tokens told with each choice; the OpenAI interface's bound.
pub const MAX_TOP_LOGPROBS: u8 = 20;

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerParams {
    /// 0 takes the likeliest token; up to [`MAX_TEMPERATURE`].
    pub temperature: f32,
    /// Draw among this many likeliest tokens; 0 is no limit.
    pub top_k: u32,
    /// Draw among the fewest likeliest tokens that together have this probability; 1 is no limit.
    pub top_p: f32,
    /// Draw among the tokens that are at least this fraction as likely as the likeliest; 0 is no
    /// limit.
    pub min_p: f32,
    /// Divides the positive logits and multiplies the negative ones of tokens that occur among
    /// the last `repetition_window` tokens of prompt and answer; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Tokens that the repetition penalty looks back over, up to [`MAX_REPETITION_WINDOW`].
    pub repetition_window: u32,
    /// Taken off a token's logit once for every time that the answer, without the prompt, has it.
    pub frequency_penalty: f32,
    /// Taken off a token's logit once where the answer, without the prompt, has it at all.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens; several for one token add up.
    pub logit_bias: Vec<(u32, f32)>,
    /// Two generations with one seed draw the same numbers.
    pub seed: u64,
    /// Tell the log probability of the choice, and of this many likeliest tokens, up to
    /// [`MAX_TOP_LOGPROBS`].
    pub logprobs: Option<u8>,
}

impl SamplerParams {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        repetition_window: DEFAULT_REPETITION_WINDOW,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        logit_bias: Vec::new(),
        seed: 0,
        logprobs: None,
    };

    /// Whether the choice is the likeliest token as the model has it, and nothing is told of it.
    pub fn takes_likeliest(&self) -> bool {
        self.temperature == 0.0
            && self.repetition_penalty == 1.0
            && self.frequency_penalty == 0.0
            && self.presence_penalty == 0.0
            && self.logit_bias.is_empty()
            && self.logprobs.is_none()
    }

    /// Whether a choice depends on the tokens before it in any way but through the logits.
    pub fn looks_back(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.frequency_penalty != 0.0
            || self.presence_penalty != 0.0
    }

    /// Refuses the first parameter that is out of range or not a number.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        within("temperature", self.temperature, 0.0, MAX_TEMPERATURE)?;
        within("top_p", self.top_p, 0.0, 1.0)?;
        within("min_p", self.min_p, 0.0, 1.0)?;
        if self.repetition_penalty <= 0.0 {
            return Err(bad(
                "repetition_penalty",
                self.repetition_penalty.to_string(),
                format!("above 0 and at most {MAX_REPETITION_PENALTY}"),
            ));
        }
        let penalty = self.repetition_penalty;
        within("repetition_penalty", penalty, 0.0, MAX_REPETITION_PENALTY)?;
        if self.repetition_window > MAX_REPETITION_WINDOW {
            return Err(bad(
                "repetition_window",
                self.repetition_window.to_string(),
                format!("at most {MAX_REPETITION_WINDOW}"),
            ));
        }
        let either_side = MAX_OPENAI_PENALTY;
        let frequency = self.frequency_penalty;
        within("frequency_penalty", frequency, -either_side, either_side)?;
        let presence = self.presence_penalty;
        within("presence_penalty", presence, -either_side, either_side)?;
        if self.logit_bias.len() > MAX_LOGIT_BIASES {
            return Err(bad(
                "logit_bias",
                format!("{} tokens", self.logit_bias.len()),
                format!("at most {MAX_LOGIT_BIASES}"),
            ));
        }
        for (_, bias) in &self.logit_bias {
            within("logit_bias", *bias, -MAX_LOGIT_BIAS, MAX_LOGIT_BIAS)?;
        }
        if let Some(top) = self.logprobs
            && top > MAX_TOP_LOGPROBS
        {
            return Err(bad(
                "logprobs",
                top.to_string(),
                format!("at most {MAX_TOP_LOGPROBS}"),
            ));
        }
        Ok(())
    }
}

fn within(name: &'static str, value: f32, min: f32, max: f32) -> Result<(), EngineError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(bad(
        name,
        value.to_string(),
        format!("between {min} and {max}"),
    ))
}

fn bad(name: &'static str, value: String, expected: String) -> EngineError {
    EngineError::BadParameter {
        name,
        value,
        expected,
    }
}
