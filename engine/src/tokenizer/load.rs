//! Reads a tokenizer from the metadata of a model file.

use super::bpe::{self, Bpe};
use super::split::Family;
use super::spm::{self, Spm};
use super::vocab::{self, Vocab};
use super::wpm::Wpm;
use super::{Scheme, TokenKind, Tokenizer, TokenizerError};
use crate::EngineError;
use crate::gguf::{GgufError, Metadata};

/// Which way of cutting text `tokenizer.ggml.model` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Model {
    Bert,
    Gpt2,
    Llama,
}

impl Model {
    fn from_name(name: &str) -> Result<Self, TokenizerError> {
        match name {
            "bert" => Ok(Self::Bert),
            "gpt2" => Ok(Self::Gpt2),
            "llama" => Ok(Self::Llama),
            name => Err(TokenizerError::UnknownModel {
                name: name.to_owned(),
            }),
        }
    }

    /// Ids that a file need not state: the beginning, the end, the unknown, the separator.
    fn usual_ids(self) -> [Option<u32>; 4] {
        match self {
            Self::Bert => [Some(101), None, Some(100), Some(102)],
            Self::Gpt2 => [None; 4],
            Self::Llama => [Some(1), Some(2), Some(0), None],
        }
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a model with `vocab_size` token ids.
    ///
    /// # Errors
    /// [`TokenizerError`] or [`GgufError`] for what is missing, wrong or not implemented.
    pub fn from_metadata(metadata: &Metadata, vocab_size: usize) -> Result<Self, EngineError> {
        let model = Model::from_name(metadata.text("tokenizer.ggml.model")?)?;
        let spellings = metadata
            .optional_texts("tokenizer.ggml.tokens")?
            .ok_or_else(|| GgufError::MissingKey {
                key: "tokenizer.ggml.tokens".to_owned(),
            })?;
        let kinds = vocab::kinds(metadata, spellings, vocab_size)?;
        let [bos, eos, unknown, separator] = model.usual_ids();
        let usual = |id: Option<u32>| id.filter(|id| (*id as usize) < vocab_size);
        let special = |key| special_token(metadata, key, vocab_size);
        let bos = special("tokenizer.ggml.bos_token_id")?
            .or(special("tokenizer.ggml.cls_token_id")?)
            .or(usual(bos));
        let eos = special("tokenizer.ggml.eos_token_id")?.or(usual(eos));
        // A file that has a token for the unknown says so by its kind at least.
        let is_unknown =
            |id: &u32| model == Model::Bert || kinds[*id as usize] == TokenKind::Unknown;
        let unknown =
            special("tokenizer.ggml.unknown_token_id")?.or(usual(unknown).filter(is_unknown));
        let separator = special("tokenizer.ggml.seperator_token_id")?.or(usual(separator));
        let flag = |key| metadata.optional_bool(key);
        let add_bos = flag("tokenizer.ggml.add_bos_token")?;
        let add_eos = flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false);

        let (scheme, vocab, usually_bos) = match model {
            Model::Bert => {
                let wpm = Wpm::from_metadata(metadata, spellings, &kinds, unknown)?;
                let pieces = spm::pieces(spellings, &kinds);
                (
                    Scheme::Wpm(wpm),
                    Vocab::new(pieces, kinds, Vec::new()),
                    true,
                )
            }
            Model::Gpt2 => {
                let family = family(metadata)?;
                let pieces = bpe::pieces(spellings, &kinds);
                let vocab = Vocab::new(pieces, kinds, Vec::new());
                let merges = metadata.optional_texts("tokenizer.ggml.merges")?;
                let merges = merges.unwrap_or_default();
                let bpe = Bpe::new(family, spellings, merges, &vocab)?;
                (Scheme::Bpe(bpe), vocab, family.add_bos)
            }
            Model::Llama => {
                let spm = Spm::from_metadata(metadata, spellings, &kinds, unknown)?;
                let pieces = spm::pieces(spellings, &kinds);
                let swallow = swallow_space(metadata, spellings, &kinds)?;
                (Scheme::Spm(spm), Vocab::new(pieces, kinds, swallow), true)
            }
        };
        let stated_ends = [
            eos,
            special("tokenizer.ggml.eot_token_id")?,
            special("tokenizer.ggml.eom_token_id")?,
        ];
        let stated_ends = stated_ends.into_iter().flatten();
        let mut ends: Vec<u32> = stated_ends.chain(vocab.usual_ends()).collect();
        ends.sort_unstable();
        ends.dedup();
        Ok(Self {
            vocab,
            scheme,
            bos,
            eos,
            // BERT's text always stands between the two.
            add_bos: model == Model::Bert || add_bos.unwrap_or(usually_bos),
            closing: match model {
                Model::Bert => separator,
                Model::Gpt2 | Model::Llama => eos.filter(|_| add_eos),
            },
            ends,
        })
    }
}

fn family(metadata: &Metadata) -> Result<Family, EngineError> {
    let name = metadata.optional_text("tokenizer.ggml.pre")?;
    let name = name.unwrap_or("default");
    Family::from_name(name).ok_or_else(|| {
        TokenizerError::UnknownPreTokenizer {
            name: name.to_owned(),
        }
        .into()
    })
}

/// Tokens that swallow the white space behind them: those of Phi-3, which no key of the file
/// names, so that its name has to do.
fn swallow_space(
    metadata: &Metadata,
    spellings: &[String],
    kinds: &[TokenKind],
) -> Result<Vec<u32>, EngineError> {
    let name = metadata.optional_text("general.name")?.unwrap_or_default();
    let name = name.to_ascii_lowercase();
    if !name.contains("phi-3") && !name.contains("phi3") {
        return Ok(Vec::new());
    }
    let swallows = |(_, (spelling, kind)): &(usize, (&String, &TokenKind))| {
        let special = match kind {
            TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown => true,
            TokenKind::Byte | TokenKind::Normal | TokenKind::Unused => false,
        };
        special && !matches!(spelling.as_str(), "<unk>" | "<s>" | "<|endoftext|>")
    };
    let tokens = spellings.iter().zip(kinds).enumerate().filter(swallows);
    Ok(tokens.map(|(id, _)| id as u32).collect())
}

fn special_token(
    metadata: &Metadata,
    key: &'static str,
    vocab_size: usize,
) -> Result<Option<u32>, EngineError> {
    match metadata.optional_uint(key)? {
        None => Ok(None),
        Some(id) if id < vocab_size as u64 => Ok(Some(id as u32)),
        Some(id) => Err(TokenizerError::BadSpecialToken {
            key,
            id,
            vocab_size,
        }
        .into()),
    }
}
