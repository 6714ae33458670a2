//! A prompt of the wire, as the engine's generation, and its end as the wire says it.

use std::cell::OnceCell;
use thrum_engine::chat::{self, ChatContext, ChatError, Message};
use thrum_engine::constraint::{Constraint, TokenTable};
use thrum_engine::error::EngineError;
use thrum_engine::generate::{self, Finish, Generation, GenerationParams, TokenEvent};
use thrum_engine::model::Model;
use thrum_engine::sampler::{DEFAULT_REPETITION_WINDOW, Logprobs, SamplerParams};
use thrum_engine::tokenizer::{EncodeOptions, Tokenizer};
use thrum_engine::truncation::{Fitted, fit_chat, fit_text};
use thrum_protocol::limits::MAX_SAFE_INTEGER;
use thrum_protocol::sampling::{AnswerFormat, LogitBias, Sampling};
use thrum_protocol::task::{
    Alternative, ChatMessage, FinishReason, Logprob, Prompt, PromptInput, Token,
};
use thrum_protocol::truncation::{Discarded, Truncation};

/// The wire speaks of thousandths.
const MILLI: f32 = 1_000.0;

/// And of millionths where logarithms are meant.
const MICRO: f64 = 1e6;

/// What turns text into tokens and back.
pub(super) struct Language {
    pub(super) tokenizer: Tokenizer,
    /// none where the file has none
    pub(super) chat_template: Option<String>,
    /// made when the first answer has to keep to a format
    table: OnceCell<TokenTable>,
}

impl Language {
    pub(super) fn new(tokenizer: Tokenizer, chat_template: Option<String>) -> Self {
        Self {
            tokenizer,
            chat_template,
            table: OnceCell::new(),
        }
    }

    /// What an answer in `format` may say.
    ///
    /// # Errors
    /// [`EngineError::Constraint`] for a schema that is refused.
    fn constraint(&self, format: &AnswerFormat) -> Result<Constraint, EngineError> {
        let table = match self.table.get() {
            Some(table) => table,
            None => {
                let made = TokenTable::new(&self.tokenizer)?;
                self.table.get_or_init(|| made)
            }
        };
        Ok(match format {
            AnswerFormat::JsonObject => Constraint::json_object(table)?,
            AnswerFormat::JsonSchema(schema) => Constraint::json_schema_text(schema, table)?,
        })
    }

    /// What the model reads of plain text.
    ///
    /// # Errors
    /// As the tokenizer's.
    fn tokens_of_text(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        let options = EncodeOptions {
            add_bos: true,
            control: false,
        };
        Ok(self.tokenizer.encode(text, options)?)
    }

    /// What an encoder reads of a whole text, between what opens and what closes it.
    ///
    /// # Errors
    /// As the tokenizer's.
    pub(super) fn tokens_to_embed(&self, text: &str) -> Result<Vec<u32>, EngineError> {
        Ok(self.tokenizer.encode_framed(text, false)?)
    }

    /// What the model reads, of which only so much as its context holds where `truncation` lets the
    /// rest go.
    fn read(
        &self,
        input: &PromptInput,
        truncation: Truncation,
        context_len: usize,
    ) -> Result<Fitted, EngineError> {
        let whole = |tokens| Fitted {
            tokens,
            ..Fitted::default()
        };
        match input {
            PromptInput::Text(text) => {
                let tokens = self.tokens_of_text(text)?;
                Ok(match truncation {
                    Truncation::Auto => fit_text(tokens, self.tokenizer.bos(), context_len),
                    Truncation::Disabled => whole(tokens),
                })
            }
            PromptInput::Chat(messages) => {
                let messages: Vec<Message> = messages.iter().map(message).collect();
                let tokens_of = |messages: &[Message]| self.tokens_of_chat(messages);
                match truncation {
                    Truncation::Auto => fit_chat(&messages, context_len, tokens_of),
                    Truncation::Disabled => tokens_of(&messages).map(whole),
                }
            }
        }
    }

    fn tokens_of_chat(&self, messages: &[Message]) -> Result<Vec<u32>, EngineError> {
        let options = EncodeOptions {
            add_bos: true,
            control: true,
        };
        Ok(self.tokenizer.encode(&self.render(messages)?, options)?)
    }

    fn render(&self, messages: &[Message]) -> Result<String, ChatError> {
        let template = self
            .chat_template
            .as_deref()
            .ok_or_else(|| ChatError::BadTemplate {
                reason: "the model file has none; ask with a text instead of messages".to_owned(),
            })?;
        let spelling = |id: Option<u32>| id.map(|id| self.tokenizer.spelling(id));
        let context = ChatContext {
            bos_token: &spelling(self.tokenizer.bos()).unwrap_or_default(),
            eos_token: &spelling(self.tokenizer.eos()).unwrap_or_default(),
            add_generation_prompt: true,
        };
        chat::render(template, messages, context)
    }
}

/// An answer in the making, as the page knows it; the scheduler has the rest.
pub(super) struct Answer {
    prompt_tokens: u32,
    /// before the answer began
    discarded: Discarded,
    stop: Vec<String>,
    /// of the answer so far, what was resumed included
    bytes: Vec<u8>,
}

/// How an answer ended.
pub(super) struct End {
    pub(super) finish_reason: FinishReason,
    pub(super) prompt_tokens: u32,
    pub(super) trimmed_bytes: u32,
    pub(super) discarded: Discarded,
}

impl Answer {
    /// # Errors
    /// [`EngineError`] where the prompt is wrong, or does not fit.
    pub(super) fn new(
        model: &Model,
        language: &Language,
        prompt: &Prompt,
    ) -> Result<(Self, Generation), EngineError> {
        let context_len = model.config().context_len;
        let read = language.read(&prompt.input, prompt.truncation, context_len)?;
        let params = GenerationParams {
            sampling: sampling(&prompt.sampling),
            max_tokens: prompt.max_new_tokens as usize,
            stop: prompt.stop.clone(),
            ignore_eos: prompt.sampling.ignore_eos,
            keep: match prompt.truncation {
                Truncation::Auto => Some(read.keep),
                Truncation::Disabled => None,
            },
        };
        let tokenizer = &language.tokenizer;
        let generation = Generation::new(model, tokenizer, &read.tokens, &prompt.resumed, params)?;
        let generation = match &prompt.sampling.format {
            None => generation,
            Some(format) => generation.constrained(language.constraint(format)?)?,
        };
        let pieces = prompt.resumed.iter();
        let answer = Self {
            prompt_tokens: count(read.tokens.len()),
            discarded: Discarded {
                messages: count(read.dropped_messages),
                prompt_tokens: count(read.dropped_tokens),
                context_tokens: 0,
            },
            stop: prompt.stop.clone(),
            bytes: pieces
                .flat_map(|id| tokenizer.piece(*id))
                .copied()
                .collect(),
        };
        Ok((answer, generation))
    }

    /// A further token, as the wire says it.
    pub(super) fn token(&mut self, language: &Language, token: TokenEvent) -> Token {
        self.bytes.extend_from_slice(&token.bytes);
        Token {
            id: token.id,
            piece: token.bytes,
            logprob: token.logprobs.map(|it| Box::new(logprob(language, &it))),
        }
    }

    /// Its end.
    pub(super) fn end(&self, finish: &Finish) -> End {
        End {
            finish_reason: match finish.reason {
                generate::FinishReason::Stop => FinishReason::Stop,
                generate::FinishReason::Cancelled | generate::FinishReason::Length => {
                    FinishReason::Length
                }
            },
            prompt_tokens: self.prompt_tokens,
            trimmed_bytes: self.trimmed_bytes(),
            discarded: Discarded {
                context_tokens: count(finish.discarded),
                ..self.discarded
            },
        }
    }

    /// Bytes from the first stop string to the end of the answer.
    fn trimmed_bytes(&self) -> u32 {
        let stops = self.stop.iter();
        let first = stops
            .filter_map(|stop| position(&self.bytes, stop.as_bytes()))
            .min();
        count(first.map_or(0, |at| self.bytes.len() - at))
    }
}

fn message(of: &ChatMessage) -> Message {
    Message {
        role: of.role.as_str().to_owned(),
        content: of.content.clone(),
    }
}

/// As the wire counts; nothing here comes near its limit.
fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len().max(1))
        .position(|window| window == needle)
}

/// What the engine is asked for, but for the genomes, which are not the sampler's.
fn sampling(sampling: &Sampling) -> SamplerParams {
    let bias = |it: &LogitBias| (it.id, it.bias.value());
    SamplerParams {
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
    }
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
