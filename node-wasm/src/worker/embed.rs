//! Texts as vectors, one text at a time between the slices of answers: this is the person's own
//! work, and goes first.

use super::answer::Language;
use super::messages::{Embeddings, EngineEvent, LossCause, Trouble};
use std::collections::VecDeque;
use thrum_engine::error::EngineError;
use thrum_engine::model::Model;

/// The requests that wait, the next in front.
#[derive(Default)]
pub(super) struct Embedding {
    waiting: VecDeque<Request>,
}

struct Request {
    embedding: u64,
    /// the next in front
    texts: VecDeque<String>,
    done: Embeddings,
}

impl Embedding {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn add(&mut self, embedding: u64, model: &str, texts: Vec<String>) {
        self.waiting.push_back(Request {
            embedding,
            texts: texts.into(),
            done: Embeddings {
                model: model.to_owned(),
                ..Embeddings::default()
            },
        });
    }

    pub(super) fn stop(&mut self, embedding: u64) {
        self.waiting
            .retain(|request| request.embedding != embedding);
    }

    /// Fails every request.
    pub(super) fn end(&mut self, why: &str, tell: &dyn Fn(EngineEvent)) {
        for request in self.waiting.drain(..) {
            tell(EngineEvent::Embedded {
                embedding: request.embedding,
                result: Err(Trouble {
                    cause: LossCause::EngineFailed,
                    reason: why.to_owned(),
                }),
            });
        }
    }

    /// Computes one vector.
    pub(super) async fn step(
        &mut self,
        model: &mut Model,
        language: &Language,
        tell: &dyn Fn(EngineEvent),
    ) {
        let Some(mut request) = self.waiting.pop_front() else {
            return;
        };
        let embedding = request.embedding;
        let result = match request.texts.pop_front() {
            Some(text) => embed(model, language, &text, &mut request.done).await,
            None => Ok(()),
        };
        let result = match result {
            Ok(()) if !request.texts.is_empty() => return self.waiting.push_front(request),
            Ok(()) => Ok(request.done),
            Err(error) => Err(Trouble {
                cause: cause(&error),
                reason: error.to_string(),
            }),
        };
        tell(EngineEvent::Embedded { embedding, result });
    }
}

async fn embed(
    model: &mut Model,
    language: &Language,
    text: &str,
    done: &mut Embeddings,
) -> Result<(), EngineError> {
    let tokens = language.tokens_to_embed(text)?;
    done.vectors.push(model.embed(&tokens).await?);
    let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    done.prompt_tokens = done.prompt_tokens.saturating_add(count);
    Ok(())
}

/// The device's and the allocator's failures are the engine's; all else is the request's.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the engine's errors may grow; most are about what was asked"
)]
fn cause(error: &EngineError) -> LossCause {
    match error {
        EngineError::GpuLost { .. }
        | EngineError::GpuUnavailable { .. }
        | EngineError::MemberLost { .. } => LossCause::EngineFailed,
        EngineError::OutOfMemory { .. } => LossCause::OutOfMemory,
        _ => LossCause::InvalidRequest,
    }
}
