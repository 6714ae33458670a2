//! What is added to and taken off logits before anything is cut or drawn.

use super::SamplerParams;

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
        let window = history.len().min(params.repetition_window as usize);
        let penalty = params.repetition_penalty;
        for (id, _) in counts(&history[history.len() - window..]) {
            change(logits, id, |logit| {
                if logit > 0.0 {
                    logit / penalty
                } else {
                    logit * penalty
                }
            });
        }
    }
    if params.frequency_penalty != 0.0 || params.presence_penalty != 0.0 {
        let answer = &history[history.len() - answer_len.min(history.len())..];
        for (id, times) in counts(answer) {
            let penalty = params.frequency_penalty * times as f32 + params.presence_penalty;
            change(logits, id, |logit| logit - penalty);
        }
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
