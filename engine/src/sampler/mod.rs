//! Chooses the next token from logits: the likeliest, or a seeded draw.
//!
//! Logits pass through these steps, in the order of llama.cpp's default chain:
//!
//! 1. log probabilities, where asked for: of the model's own logits at temperature 1, before
//!    anything changes them, as the OpenAI interface defines them;
//! 2. logit bias, repetition penalty, frequency and presence penalties;
//! 3. tokens that a [`TokenMask`] forbids are out;
//! 4. top-k; top-p of what is left; min-p;
//! 5. temperature; and a draw in proportion to the weights, walking the tokens by ascending id.
//!
//! The draw for the answer's token `i` is a pure function of the seed, `i`, the logits and the
//! tokens before it: whoever continues an answer from its token `i`, on whatever machine, draws
//! the same number. Exponentials are the same bits everywhere.
//!
//! A GPU makes the same choices of a [`Recipe`], so that the logits stay there.

mod cut;
mod draw;
mod mask;
mod params;
mod penalties;
mod recipe;
mod weights;

pub use draw::choice_seed;
pub use mask::TokenMask;
pub use params::{
    DEFAULT_REPETITION_WINDOW, MAX_LOGIT_BIAS, MAX_LOGIT_BIASES, MAX_OPENAI_PENALTY,
    MAX_REPETITION_PENALTY, MAX_REPETITION_WINDOW, MAX_TEMPERATURE, MAX_TOP_LOGPROBS,
    SamplerParams,
};
pub use recipe::{Adjustment, MAX_ADJUSTMENTS, Recipe};

use crate::error::EngineError;
use cut::{KEEP_ALL, Limits};

/// A token that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Its id.
    pub id: u32,
    /// What the model thought of it; where [`SamplerParams::logprobs`] asks.
    pub logprobs: Option<Logprobs>,
}

/// Natural logarithms of the probabilities that the model's own logits stand for.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// Of the token that was chosen.
    pub chosen: f32,
    /// Of the likeliest tokens, likeliest first; the chosen one need not be among them.
    pub top: Vec<(u32, f32)>,
}

/// Parameters that have been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampler {
    params: SamplerParams,
}

impl Sampler {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`EngineError::BadParameter`] for one that is out of range or not a number.
    pub fn new(params: SamplerParams) -> Result<Self, EngineError> {
        params.check()?;
        Ok(Self { params })
    }

    /// Refuses a bias for a token that a vocabulary of `vocab_size` does not have.
    ///
    /// # Errors
    /// [`EngineError::UnknownToken`].
    pub fn check_vocabulary(&self, vocab_size: usize) -> Result<(), EngineError> {
        let mut biased = self.params.logit_bias.iter().map(|(id, _)| *id);
        match biased.find(|id| *id as usize >= vocab_size) {
            Some(token) => Err(EngineError::UnknownToken { token, vocab_size }),
            None => Ok(()),
        }
    }

    /// The answer's token number `index`, given the logits that follow what came before it, which
    /// are used up. `history` is the prompt and the answer so far, `index` tokens of answer;
    /// `allowed` are the tokens that may come next, all where there is none. Equal logits go to
    /// the lower id.
    ///
    /// # Errors
    /// [`EngineError::LogitsNotFinite`] when there are none or one is infinite or not a number;
    /// [`EngineError::NothingAllowed`] when `allowed` has none of the tokens.
    pub fn choose(
        &self,
        logits: &mut [f32], /* (vocab_size) */
        history: &[u32],
        index: usize,
        allowed: Option<&TokenMask>,
    ) -> Result<Choice, EngineError> {
        check_finite(logits, index)?;
        let told = self.params.logprobs.map(|top| LogSoftmax::new(logits, top));
        let own = told.is_some().then(|| logits.to_vec());
        penalties::apply(&self.params, logits, history, index);
        if let Some(allowed) = allowed {
            allowed.exclude(logits);
        }
        let id = self.pick(logits, index)?;
        let logprobs = told.zip(own).map(|(told, own)| Logprobs {
            chosen: own[id as usize] - told.log_sum,
            top: told.top,
        });
        Ok(Choice { id, logprobs })
    }

    /// What another machine needs to make the choices that [`Sampler::choose`] would make for the
    /// answer's tokens from number `index` on, `steps` of them; every one after the first as if the
    /// history had not grown, which is right where [`SamplerParams::looks_back`] is false. None
    /// where the logits have to be seen: log probabilities are asked for, or more than
    /// [`MAX_ADJUSTMENTS`] logits are to be changed.
    pub fn recipe(
        &self,
        history: &[u32],
        index: usize,
        steps: usize,
        allowed: Option<&TokenMask>,
    ) -> Option<Recipe> {
        if self.params.logprobs.is_some() {
            return None;
        }
        let uniforms = (index..index + steps).map(|at| draw::uniform(self.params.seed, at as u64));
        Some(Recipe {
            adjustments: penalties::adjustments(&self.params, history, index)?,
            allowed: allowed.cloned(),
            limits: self.limits(),
            temperature: self.params.temperature,
            uniforms: uniforms.collect(),
        })
    }

    fn pick(&self, scores: &mut [f32], index: usize) -> Result<u32, EngineError> {
        let uniform = draw::uniform(self.params.seed, index as u64);
        pick(scores, self.limits(), self.params.temperature, uniform)
            .ok_or(EngineError::NothingAllowed { index })
    }

    fn limits(&self) -> Limits {
        Limits {
            top_k: self.params.top_k,
            top_p: self.params.top_p,
            min_p: self.params.min_p,
        }
    }
}

fn check_finite(logits: &[f32], index: usize) -> Result<(), EngineError> {
    let all_finite = logits
        .iter()
        .fold(true, |finite, logit| finite & logit.is_finite());
    match all_finite && !logits.is_empty() {
        true => Ok(()),
        false => Err(EngineError::LogitsNotFinite { index }),
    }
}

/// The token at which `uniform` of what the tokens within `limits` weigh is reached; the likeliest
/// where `temperature` is 0; none where no score is finite.
fn pick(scores: &mut [f32], limits: Limits, temperature: f32, uniform: f64) -> Option<u32> {
    let max = weights::max(scores);
    if max == f32::NEG_INFINITY {
        return None;
    }
    if temperature == 0.0 {
        let likeliest = scores.iter().position(|score| *score == max);
        return likeliest.map(|id| id as u32);
    }
    let cut = limits.cut(scores, max);
    if cut == KEEP_ALL {
        weights::to_weights(scores, max, temperature);
        return Some(draw_among(scores, uniform) as u32);
    }
    let (ids, mut kept): (Vec<u32>, Vec<f32>) = (0_u32..)
        .zip(scores.iter())
        .filter(|(id, score)| cut.keeps(**score, *id))
        .unzip();
    weights::to_weights(&mut kept, max, temperature);
    Some(ids[draw_among(&kept, uniform)])
}

/// The place where `uniform`, in `[0, 1)`, of the sum of `weights` is reached.
fn draw_among(weights: &[f32], uniform: f64) -> usize {
    let mut left = uniform * weights::sum(weights);
    for (place, weight) in weights.iter().enumerate() {
        let weight = f64::from(*weight);
        if left < weight {
            return place;
        }
        left -= weight;
    }
    // Rounding can leave a crumb beyond the last weight.
    let last = weights.iter().rposition(|weight| *weight > 0.0);
    last.expect("the likeliest is kept and weighs 1")
}

/// What log probabilities are made of.
struct LogSoftmax {
    /// the logarithm of the sum of the exponentials of all logits
    log_sum: f32,
    top: Vec<(u32, f32)>,
}

impl LogSoftmax {
    fn new(logits: &[f32], top: u8) -> Self {
        let max = weights::max(logits);
        let sum = weights::sum_of_weights(logits, max);
        let log_sum = (f64::from(max) + libm::log(sum)) as f32;
        let top = cut::likeliest(logits, usize::from(top))
            .into_iter()
            .map(|(logit, id)| (id, logit - log_sum))
            .collect();
        Self { log_sum, top }
    }
}

#[cfg(test)]
mod tests;
