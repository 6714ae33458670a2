//! What is added to and taken off logits before anything is cut or drawn.

use std::collections::BTreeMap;

use super::SamplerParams;
use super::recipe::{Adjustment, MAX_ADJUSTMENTS};

/// Adds the biases, then applies the penalties to the tokens that occur in `history`, whose last
/// `answer_len` tokens are the answer's.
pub(super) fn apply(
    params: &SamplerParams,
    logits: &mut [f32],
    history: &[u32],
    answer_len: usize,
) {
    for (id, bias) in &params.logit_bias {
        change(logits, *id, |logit| logit + bias);
    }
    if params.repetition_penalty != 1.0 {
        let penalty = params.repetition_penalty;
        for (id, _) in counts(window(params, history)) {
            change(logits, id, |logit| repeated(logit, penalty));
        }
    }
    if params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 {
        for (id, times) in counts(answer(history, answer_len)) {
            change(logits, id, |logit| logit - often(params, times));
        }
    }
}

/// What [`apply`] would do, token by token, ascending; none where that is more than
/// [`MAX_ADJUSTMENTS`].
pub(super) fn adjustments(
    params: &SamplerParams,
    history: &[u32],
    answer_len: usize,
) -> Option<Vec<Adjustment>> {
    let mut by_id: BTreeMap<u32, Adjustment> = BTreeMap::new();
    fn of(by_id: &mut BTreeMap<u32, Adjustment>, id: u32) -> &mut Adjustment {
        by_id.entry(id).or_insert_with(|| Adjustment::none(id))
    }
    for (id, bias) in &params.logit_bias {
        of(&mut by_id, *id).bias += bias;
    }
    if params.repetition_penalty != 1.0 {
        for (id, _) in counts(window(params, history)) {
            of(&mut by_id, id).repetition = params.repetition_penalty;
        }
    }
    if params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 {
        for (id, times) in counts(answer(history, answer_len)) {
            of(&mut by_id, id).penalty = often(params, times);
        }
    }
    (by_id.len() <= MAX_ADJUSTMENTS).then(|| by_id.into_values().collect())
}

/// What the repetition penalty looks back over.
fn window<'a>(params: &SamplerParams, history: &'a [u32]) -> &'a [u32] {
    &history[history
        .len()
        .saturating_sub(params.repetition_window as usize)..]
}

fn answer(history: &[u32], answer_len: usize) -> &[u32] {
    &history[history.len().saturating_sub(answer_len)..]
}

/// The frequency and presence penalties of a token that is there so many times.
fn often(params: &SamplerParams, times: usize) -> f32 {
    params.frequency_penalty * times as f32 + params.presence_penalty
}

/// What one adjustment makes of a logit.
pub(super) fn adjust(logits: &mut [f32], adjustment: &Adjustment) {
    let Adjustment {
        id,
        bias,
        repetition,
        penalty,
    } = *adjustment;
    change(logits, id, |logit| logit + bias);
    if repetition != 1.0 {
        change(logits, id, |logit| repeated(logit, repetition));
    }
    change(logits, id, |logit| logit - penalty);
}

fn repeated(logit: f32, penalty: f32) -> f32 {
    if logit > 0.0 {
        logit / penalty
    } else {
        logit * penalty
    }
}

/// Ids the model does not have are passed over; what would be infinite stays finite, because
/// infinity means that a token is out.
fn change(logits: &mut [f32], id: u32, f: impl FnOnce(f32) -> f32) {
    if let Some(logit) = logits.get_mut(id as usize) {
        *logit = f(*logit).clamp(f32::MIN, f32::MAX);
    }
}

/// Every id in `tokens` with how often it is there, ascending.
fn counts(tokens: &[u32]) -> Vec<(u32, usize)> {
    let mut sorted = tokens.to_vec();
    sorted.sort_unstable();
    sorted
        .chunk_by(|a, b| a == b)
        .map(|run| (run[0], run.len()))
        .collect()
}
