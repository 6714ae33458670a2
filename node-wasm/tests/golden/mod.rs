//! What llama.cpp says of the demonstrator, made by `models/golden.mjs`.

use sha2::{Digest as _, Sha256};
use thrum_protocol::id::ModelId;

/// The demonstrator.
pub(crate) static MODEL: &[u8] = include_bytes!("../../../models/thrum-demo.q8_0.gguf");

static TEXT: &str = include_str!("../../../models/golden/q8_0.json");

/// logits; llama.cpp rounds activations to 8 bits before it multiplies them with Q8_0 weights and
/// we do not: its logits differ by up to a tenth, so of two near-equal ones it may take the other.
const NEAR_TIE: f32 = 0.25;

#[derive(serde::Deserialize)]
pub(crate) struct Golden {
    sha256: String,
    pub(crate) cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Case {
    pub(crate) text: String,
    /// the prompt's
    pub(crate) tokens: Vec<u32>,
    /// 64 greedy tokens, end tokens ignored
    pub(crate) continuation: Vec<u32>,
    /// between the two largest logits, at each of them
    gaps: Vec<f32>,
}

impl Golden {
    pub(crate) fn read() -> Self {
        let golden: Self = serde_json::from_str(TEXT).expect("the golden file is JSON");
        let digest = ModelId(Sha256::digest(MODEL).into());
        assert_eq!(
            golden.sha256,
            digest.to_string(),
            "the golden values are of this model"
        );
        assert!(golden.cases.len() >= 20);
        assert!(
            golden
                .cases
                .iter()
                .all(|case| case.continuation.len() >= 64)
        );
        golden
    }
}

impl Case {
    /// `answer` is llama.cpp's, as far as it goes or to the first near tie.
    pub(crate) fn check(&self, answer: &[u32]) {
        let agreed = answer
            .iter()
            .zip(&self.continuation)
            .take_while(|(a, b)| a == b)
            .count();
        assert!(
            agreed == answer.len() || self.gaps[agreed] < NEAR_TIE,
            "{:?} differs at token {agreed}: {answer:?} and {:?}",
            self.text,
            self.continuation
        );
    }
}
