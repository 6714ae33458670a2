//! Cuts a text into words, within which tokens are merged: what published models do with regular
//! expressions, written out. Each is held against its expression in the tests, and the tokens that
//! come of it against llama.cpp's.

mod class;
mod deepseek;
mod scan;

pub(super) use class::Class;

use class::is_default_punctuation;
use scan::{ANY_DIGITS, Words, bloom_word, cut, digits, gpt2_word, run, scan, three_ascii_digits};

/// A way to cut text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreTokenizer {
    /// `bailingmoe`: Qwen 2's words, but a newline takes no other with it.
    BailingMoe,
    /// `bloom`: what is neither white space nor punctuation that ends sentences.
    Bloom,
    /// `deepseek-coder`
    DeepseekCoder,
    /// `deepseek-llm`
    DeepseekLlm,
    /// `deepseek-v3`
    DeepseekV3,
    /// `default`: punctuation, then GPT-2's words, then numbers, then digits in threes.
    Default,
    /// `falcon`: punctuation, then GPT-2's words, then digits in threes.
    Falcon,
    /// `gpt-2`
    Gpt2,
    /// `gpt-4o`: words begin with capitals.
    Gpt4o,
    /// `llama-bpe`: Llama 3.
    LlamaBpe,
    /// `minicpm5`
    MiniCpm5,
    /// `qwen2`: Qwen 2, 2.5 and 3.
    Qwen2,
    /// `qwen35`: Qwen 2's words, with marks among the letters.
    Qwen35,
    /// `seed-coder`
    SeedCoder,
    /// `smollm`: every digit alone, then GPT-2's words.
    SmolLm,
    /// `tekken`: words begin with capitals.
    Tekken,
    /// `ufakzeka`: Qwen 2's words without English contractions.
    Ufakzeka,
    /// `viking`: Bloom's words, then every digit alone.
    Viking,
}

/// What a file means by naming a pre-tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) pre: PreTokenizer,
    /// A word that is a token is not merged from its parts.
    pub(super) whole_words: bool,
    /// Whether texts begin with a token of their own when the file does not say.
    pub(super) add_bos: bool,
}

impl Family {
    /// The one that `tokenizer.ggml.pre` names.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let pre = PreTokenizer::from_name(name)?;
        let is_llama_3 = pre == PreTokenizer::LlamaBpe
            && !matches!(name, "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe");
        let is_tekken = pre == PreTokenizer::Tekken;
        Some(Self {
            pre,
            whole_words: is_llama_3 || is_tekken || pre == PreTokenizer::MiniCpm5,
            add_bos: is_llama_3 || is_tekken,
        })
    }
}

impl PreTokenizer {
    /// The one that `tokenizer.ggml.pre` names.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "bailingmoe" | "bailingmoe2" | "llada-moe" => Some(Self::BailingMoe),
            "bloom" | "gpt3-finnish" | "poro-chat" => Some(Self::Bloom),
            "deepseek-coder" => Some(Self::DeepseekCoder),
            "deepseek-llm" => Some(Self::DeepseekLlm),
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" => Some(Self::DeepseekV3),
            "default" => Some(Self::Default),
            "falcon" => Some(Self::Falcon),
            "a.x-4.0" | "exaone4" | "gigachat" | "gpt-2" | "granite-docling" | "jais"
            | "mellum" | "mpt" | "olmo" | "phi-2" | "roberta-bpe" | "trillion" => Some(Self::Gpt2),
            "gpt-4o" | "kanana2" | "llama4" | "minimax-m2" => Some(Self::Gpt4o),
            "chatglm-bpe" | "dbrx" | "falcon-h1" | "falcon3" | "glm4" | "lfm2" | "llama-bpe"
            | "llama-v3" | "llama3" | "midm-2.0" | "pixtral" | "smaug-bpe" => Some(Self::LlamaBpe),
            "minicpm5" => Some(Self::MiniCpm5),
            "deepseek-r1-qwen" | "f2llmv2" | "grok-2" | "hunyuan" | "kormo" | "megrez"
            | "qwen2" | "solar-open" | "stablelm2" => Some(Self::Qwen2),
            "qwen35" => Some(Self::Qwen35),
            "seed-coder" => Some(Self::SeedCoder),
            "codeshell" | "command-r" | "exaone" | "mellum2" | "minerva-7b" | "refact"
            | "smollm" | "starcoder" => Some(Self::SmolLm),
            "tekken" => Some(Self::Tekken),
            "ufakzeka" => Some(Self::Ufakzeka),
            "viking" => Some(Self::Viking),
            _ => None,
        }
    }

    /// The words of `text`, in order and without gaps.
    pub fn split(self, text: &str) -> Vec<&str> {
        let words = |text, words: Words| scan(text, move |rest| words.word(rest));
        match self {
            Self::BailingMoe | Self::Qwen2 => words(text, Words::QWEN2),
            Self::Bloom => cut(text, bloom_word),
            Self::DeepseekCoder => deepseek::coder(text),
            Self::DeepseekLlm => deepseek::llm(text),
            Self::DeepseekV3 => deepseek::v3(text),
            Self::Default => each(
                cut(text, |rest| run(rest, is_default_punctuation)),
                |part| {
                    let numbers = |part| cut(part, |rest| digits(rest, ANY_DIGITS));
                    each(each(scan(part, gpt2_word), numbers), three_digits)
                },
            ),
            Self::Falcon => {
                let is_punctuation = |c| c == '`' || is_default_punctuation(c);
                let parts = cut(text, |rest| run(rest, is_punctuation));
                each(parts, |part| each(scan(part, gpt2_word), three_digits))
            }
            Self::Gpt2 => scan(text, gpt2_word),
            Self::Gpt4o => words(text, Words::GPT4O),
            Self::LlamaBpe => words(text, Words::LLAMA3),
            Self::MiniCpm5 => each(cut(text, |rest| digits(rest, 3)), |part| {
                words(part, Words::MINICPM5)
            }),
            Self::Qwen35 => words(text, Words::QWEN35),
            Self::SeedCoder => words(text, Words::SEED_CODER),
            Self::SmolLm => each(cut(text, |rest| digits(rest, 1)), |part| {
                scan(part, gpt2_word)
            }),
            Self::Tekken => words(text, Words::TEKKEN),
            Self::Ufakzeka => words(text, Words::UFAKZEKA),
            Self::Viking => each(cut(text, bloom_word), |part| {
                cut(part, |rest| digits(rest, 1))
            }),
        }
    }
}

/// Cuts each part further.
fn each<'a>(parts: Vec<&'a str>, cut: impl Fn(&'a str) -> Vec<&'a str>) -> Vec<&'a str> {
    parts.into_iter().flat_map(cut).collect()
}

fn three_digits(part: &str) -> Vec<&str> {
    cut(part, three_ascii_digits)
}

#[cfg(test)]
mod tests;
