//! Texts as vectors, one text at a time between the slices of answers: this is the person's own
//! work, and goes first.

use super::answer::Language;
use super::jobs::Lost;
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
    ///
    /// # Errors
    /// [`Lost`] when the device is gone; everything waits then as it did.
    pub(super) async fn step(
        &mut self,
        model: &mut Model,
        language: &Language,
        tell: &dyn Fn(EngineEvent),
    ) -> Result<(), Lost> {
        let Some(mut request) = self.waiting.pop_front() else {
            return Ok(());
        };
        let embedding = request.embedding;
        let result = match request.texts.front() {
            Some(text) => embed(model, language, text, &mut request.done).await,
            None => Ok(()),
        };
        if let Some(lost) = result.as_ref().err().and_then(Lost::of) {
            self.waiting.push_front(request);
            return Err(lost);
        }
        request.texts.pop_front();
        let result = match result {
            Ok(()) if !request.texts.is_empty() => {
                self.waiting.push_front(request);
                return Ok(());
            }
            Ok(()) => Ok(request.done),
            Err(error) => Err(Trouble {
                cause: cause(&error),
                reason: error.to_string(),
            }),
        };
        tell(EngineEvent::Embedded { embedding, result });
        Ok(())
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

/// The allocator's failures are the engine's; all else is the request's.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the engine's errors may grow; most are about what was asked"
)]
fn cause(error: &EngineError) -> LossCause {
    match error {
        EngineError::OutOfMemory { .. } => LossCause::OutOfMemory,
        _ => LossCause::InvalidRequest,
    }
}
