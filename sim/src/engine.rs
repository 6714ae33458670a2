//! An engine whose answers are a function of prompt, seed and position: the undisturbed answer is
//! known, and a resumed one must equal it.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use std::collections::VecDeque;
use thrum_hive::io::JobId;
use thrum_protocol::task::{FinishReason, Prompt, PromptInput, Token};

/// Characters of one to four bytes: the longer ones are split over tokens.
const ALPHABET: [char; 16] = [
    'a', 'b', 'c', 'd', 'e', 'r', 's', 't', ' ', ' ', '.', '\n', 'é', 'ß', '漢', '🐝',
];
/// id of the end token; its piece is empty.
const END_TOKEN: u32 = 0;
/// tokens; the longest answer that ends by itself.
const LONGEST: u64 = 90;

/// What an undisturbed engine makes of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whole {
    /// every token, the end token included
    pub tokens: Vec<Token>,
    /// why it ends
    pub finish_reason: FinishReason,
    /// bytes of a stop string and what follows it in its token
    pub trimmed_bytes: u32,
}

impl Whole {
    /// The answer to `prompt` as if nothing had been resumed.
    ///
    /// # Panics
    /// Never for prompts within the protocol's limits.
    #[must_use]
    pub fn answer(prompt: &Prompt) -> Self {
        let mut draw = ChaCha8Rng::from_seed(digest(prompt));
        let length = 3 + draw.next_u64() % LONGEST;
        let mut tokens = Vec::new();
        let mut bytes = Vec::new();
        for _ in 0..length {
            for piece in pieces(&mut draw) {
                if tokens.len() >= prompt.max_new_tokens as usize {
                    return Self::ended(tokens, FinishReason::Length, 0);
                }
                bytes.extend_from_slice(&piece);
                let id = 1 + (draw.next_u32() % 100_000);
                tokens.push(Token {
                    id,
                    piece,
                    logprob: None,
                });
                if let Some(at) = first_stop(&bytes, &prompt.stop) {
                    let trimmed = u32::try_from(bytes.len() - at).expect("answers are short");
                    return Self::ended(tokens, FinishReason::Stop, trimmed);
                }
            }
        }
        if tokens.len() < prompt.max_new_tokens as usize {
            tokens.push(Token {
                id: END_TOKEN,
                piece: Vec::new(),
                logprob: None,
            });
            return Self::ended(tokens, FinishReason::Stop, 0);
        }
        Self::ended(tokens, FinishReason::Length, 0)
    }

    fn ended(tokens: Vec<Token>, finish_reason: FinishReason, trimmed_bytes: u32) -> Self {
        Self {
            tokens,
            finish_reason,
            trimmed_bytes,
        }
    }

    /// The text a person reads.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.tokens.iter().flat_map(|t| t.piece.clone()).collect();
        let end = bytes.len() - self.trimmed_bytes as usize;
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }
}

/// One job under way.
#[derive(Debug)]
pub struct Job {
    /// its number
    pub job: JobId,
    /// whether the person at the page waits
    pub local: bool,
    rest: VecDeque<Token>,
    whole: Whole,
    prompt_tokens: u32,
}

/// What a step of the engine gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// the next tokens of a job
    Tokens(JobId, Vec<Token>),
    /// a job is done
    Done(JobId, FinishReason, u32, u32),
}

/// Jobs in turn, the person's own first.
#[derive(Debug, Default)]
pub struct Jobs {
    queue: VecDeque<Job>,
}

impl Jobs {
    /// Takes a job up. A prompt resumed with tokens that this engine would not have generated goes
    /// on differently, which shows as a wrong answer.
    pub fn run(&mut self, job: JobId, prompt: &Prompt, local: bool) {
        let whole = Whole::answer(prompt);
        let resumed = prompt.resumed.len().min(whole.tokens.len());
        let right = whole.tokens[..resumed]
            .iter()
            .map(|token| token.id)
            .eq(prompt.resumed.iter().copied());
        let mut rest: VecDeque<Token> = whole.tokens[resumed..].to_vec().into();
        if !right {
            rest.push_front(Token {
                id: END_TOKEN,
                piece: b"<wrongly resumed>".to_vec(),
                logprob: None,
            });
        }
        let prompt_tokens = u32::try_from(prompt.input.text_bytes()).expect("prompts are short");
        self.queue.push_back(Job {
            job,
            local,
            rest,
            whole,
            prompt_tokens,
        });
    }

    /// Forgets a job.
    pub fn cancel(&mut self, job: JobId) {
        self.queue.retain(|other| other.job != job);
    }

    /// Forgets all jobs, as when the device is lost.
    pub fn clear(&mut self) {
        self.queue.clear();
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Jobs under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Up to `count` tokens of the job whose turn it is, or its end.
    pub fn step(&mut self, count: usize) -> Option<Step> {
        let first_local = self.queue.iter().position(|job| job.local).unwrap_or(0);
        let mut job = self.queue.remove(first_local)?;
        if job.rest.is_empty() {
            let Whole {
                finish_reason,
                trimmed_bytes,
                ..
            } = job.whole;
            let prompt_tokens = job.prompt_tokens;
            return Some(Step::Done(
                job.job,
                finish_reason,
                prompt_tokens,
                trimmed_bytes,
            ));
        }
        let count = count.min(job.rest.len());
        let tokens = job.rest.drain(..count).collect();
        let step = Step::Tokens(job.job, tokens);
        self.queue.push_back(job);
        Some(step)
    }
}

/// One character as tokens: whole, or byte by byte.
fn pieces(draw: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
    let character = ALPHABET[(draw.next_u64() % ALPHABET.len() as u64) as usize];
    let bytes = character.to_string().into_bytes();
    if draw.next_u64().is_multiple_of(2) {
        bytes.iter().map(|&byte| vec![byte]).collect()
    } else {
        vec![bytes]
    }
}

fn first_stop(bytes: &[u8], stop: &[String]) -> Option<usize> {
    (0..bytes.len()).find(|&at| {
        let tail = &bytes[at..];
        stop.iter().any(|stop| tail.starts_with(stop.as_bytes()))
    })
}

/// A seed from model, text and sampling. FNV-1a: nobody attacks it here.
fn digest(prompt: &Prompt) -> [u8; 32] {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    mix(&prompt.model.0);
    match &prompt.input {
        PromptInput::Chat(messages) => {
            for message in messages {
                mix(message.role.as_str().as_bytes());
                mix(message.content.as_bytes());
            }
        }
        PromptInput::Text(text) => mix(text.as_bytes()),
    }
    mix(&prompt.sampling.seed.to_le_bytes());
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&hash.to_le_bytes());
    seed
}
