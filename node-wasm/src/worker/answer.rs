//! A prompt of the wire, as the engine's generation, and its end as the wire says it.

use thrum_engine::chat::{self, ChatContext, ChatError, Message};
use thrum_engine::error::EngineError;
use thrum_engine::generate::{self, Generation, GenerationParams, Step};
use thrum_engine::model::Model;
use thrum_engine::sampler::{DEFAULT_REPETITION_WINDOW, Logprobs, SamplerParams};
use thrum_engine::tokenizer::{EncodeOptions, Tokenizer};
use thrum_protocol::limits::MAX_SAFE_INTEGER;
use thrum_protocol::sampling::{LogitBias, Sampling};
use thrum_protocol::task::{
    Alternative, ChatMessage, FinishReason, Logprob, Prompt, PromptInput, Token,
};

/// The wire speaks of thousandths.
const MILLI: f32 = 1_000.0;

/// And of millionths where logarithms are meant.
const MICRO: f64 = 1e6;

/// What turns text into tokens and back.
pub(super) struct Language {
    pub(super) tokenizer: Tokenizer,
    /// none where the file has none
    pub(super) chat_template: Option<String>,
}

impl Language {
    /// What the model reads of plain text.
    ///
    /// # Errors
    /// As the tokenizer's.
    pub(super) fn tokens_of_text(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let options = EncodeOptions {
            add_bos: true,
            control: false,
        };
        Ok(self.tokenizer.encode(text, options)?)
    }

    /// What the model reads.
    fn tokens(&self, input: &PromptInput) -> Result<Vec<u32>, EngineError> {
        Ok(match input {
            PromptInput::Text(text) => self.tokens_of_text(text)?,
            PromptInput::Chat(messages) => {
                let text = self.render(messages)?;
                self.tokenizer.encode(
                    &text,
                    EncodeOptions {
                        add_bos: true,
                        control: true,
                    },
                )?
            }
        })
    }

    fn render(&self, messages: &[ChatMessage]) -> Result<String, ChatError> {
        let template = self
            .chat_template
            .as_deref()
            .ok_or_else(|| ChatError::BadTemplate {
                reason: "the model file has none; ask with a text instead of messages".to_owned(),
            })?;
        let spelling = |id: Option<u32>| id.map(|id| self.tokenizer.spelling(id));
        let messages: Vec<Message> = messages
            .iter()
            .map(|message| Message {
                role: message.role.as_str().to_owned(),
                content: message.content.clone(),
            })
            .collect();
        let context = ChatContext {
            bos_token: &spelling(self.tokenizer.bos()).unwrap_or_default(),
            eos_token: &spelling(self.tokenizer.eos()).unwrap_or_default(),
            add_generation_prompt: true,
        };
        chat::render(template, &messages, context)
    }
}

/// An answer in the making.
pub(super) struct Answer {
    prompt: Vec<u32>,
    params: GenerationParams,
    generation: Generation,
}

/// What one step did.
pub(super) enum Stepped {
    Ended(End),
    /// a slice of the prompt was read
    Read,
    Token(Token),
}

/// How an answer ended.
pub(super) struct End {
    pub(super) finish_reason: FinishReason,
    pub(super) prompt_tokens: u32,
    pub(super) trimmed_bytes: u32,
}

impl Answer {
    /// # Errors
    /// [`EngineError`] where the prompt is wrong, or does not fit.
    pub(super) fn new(
        model: &Model,
        language: &Language,
        prompt: &Prompt,
    ) -> Result<Self, EngineError> {
        let params = GenerationParams {
            sampling: sampling(&prompt.sampling)?,
            max_tokens: prompt.max_new_tokens as usize,
            stop: prompt.stop.clone(),
            ignore_eos: prompt.sampling.ignore_eos,
            keep: None,
        };
        let tokens = language.tokens(&prompt.input)?;
        let generation = Generation::new(
            model,
            &language.tokenizer,
            &tokens,
            &prompt.resumed,
            params.clone(),
        )?;
        Ok(Self {
            prompt: tokens,
            params,
            generation,
        })
    }

    /// Computes a slice of the prompt or a token.
    ///
    /// # Errors
    /// As [`Generation::step`].
    pub(super) async fn step(
        &mut self,
        model: &mut Model,
        language: &Language,
    ) -> Result<Stepped, EngineError> {
        match self.generation.step(model, &language.tokenizer).await? {
            Step::Finished(finish) => Ok(Stepped::Ended(End {
                finish_reason: match finish.reason {
                    generate::FinishReason::Stop => FinishReason::Stop,
                    generate::FinishReason::Cancelled | generate::FinishReason::Length => {
                        FinishReason::Length
                    }
                },
                prompt_tokens: u32::try_from(self.prompt.len()).unwrap_or(u32::MAX),
                trimmed_bytes: self.trimmed_bytes(language),
            })),
            Step::Prefill { .. } => Ok(Stepped::Read),
            Step::Token(token) => Ok(Stepped::Token(Token {
                id: token.id,
                piece: token.bytes,
                logprob: token.logprobs.map(|it| Box::new(logprob(language, &it))),
            })),
        }
    }

    /// Gives back what the model keeps of it; a further step reads everything anew.
    pub(super) fn release(&mut self, model: &mut Model) {
        self.generation.release(model);
    }

    /// Bytes from the first stop string to the end of the answer.
    fn trimmed_bytes(&self, language: &Language) -> u32 {
        let pieces = self.generation.answer().iter();
        let bytes: Vec<u8> = pieces
            .flat_map(|id| language.tokenizer.piece(*id))
            .copied()
            .collect();
        let stops = self.params.stop.iter();
        let first = stops
            .filter_map(|stop| position(&bytes, stop.as_bytes()))
            .min();
        first.map_or(0, |at| u32::try_from(bytes.len() - at).unwrap_or(u32::MAX))
    }
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len().max(1))
        .position(|window| window == needle)
}

/// What the engine is asked for.
///
/// # Errors
/// [`EngineError::BadParameter`] for what this engine cannot do.
fn sampling(sampling: &Sampling) -> Result<SamplerParams, EngineError> {
    if let Some(format) = &sampling.format {
        return Err(EngineError::BadParameter {
            name: "response_format",
            value: format!("{format:?}"),
            expected: "absent: this engine cannot hold answers to a format".to_owned(),
        });
    }
    if let Some(genome) = sampling.genomes.first() {
        return Err(EngineError::BadParameter {
            name: "genomes",
            value: genome.id.to_string(),
            expected: "absent: this engine wears none".to_owned(),
        });
    }
    let bias = |it: &LogitBias| (it.id, it.bias.value());
    Ok(SamplerParams {
        temperature: sampling.temperature_milli as f32 / MILLI,
        top_k: sampling.top_k,
        top_p: sampling.top_p_milli as f32 / MILLI,
        min_p: sampling.min_p_milli as f32 / MILLI,
        repetition_penalty: sampling.repetition_penalty_milli as f32 / MILLI,
        repetition_window: DEFAULT_REPETITION_WINDOW,
        frequency_penalty: sampling.frequency_penalty.value(),
        presence_penalty: sampling.presence_penalty.value(),
        logit_bias: sampling.logit_bias.iter().map(bias).collect(),
        seed: sampling.seed,
        // The wire's limit is below 256.
        logprobs: sampling.logprobs.map(|top| top as u8),
    })
}

fn logprob(language: &Language, told: &Logprobs) -> Logprob {
    let top = told.top.iter().map(|(id, logprob)| Alternative {
        id: *id,
        piece: language.tokenizer.piece(*id).to_vec(),
        surprisal_micro: surprisal_micro(*logprob),
    });
    Logprob {
        surprisal_micro: surprisal_micro(told.chosen),
        top: top.collect(),
    }
}

/// Rounding may lift a certain token's logarithm above 0; what cannot be is cut to what JSON holds.
fn surprisal_micro(logprob: f32) -> u64 {
    let micro = (-f64::from(logprob) * MICRO).round().max(0.0);
    (micro as u64).min(MAX_SAFE_INTEGER)
}
