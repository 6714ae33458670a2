//! The input makes up a vocabulary of one of the three kinds, and a text.
//!
//! Every token is of the vocabulary, and byte-level tokens are the text and nothing else.

use thrum_engine::gguf::metadata_of;
use thrum_engine::synthetic::{GgufWriter, Random, byte_spellings};
use thrum_engine::tokenizer::{EncodeOptions, Tokenizer};

use super::script::Script;

/// Names of every way of cutting text, and one that is none.
const PRE_TOKENIZERS: [&str; 19] = [
    "default",
    "gpt-2",
    "llama-bpe",
    "qwen2",
    "qwen35",
    "smollm",
    "deepseek-coder",
    "deepseek-llm",
    "deepseek-v3",
    "gpt-4o",
    "falcon",
    "tekken",
    "viking",
    "bloom",
    "bailingmoe",
    "seed-coder",
    "minicpm5",
    "ufakzeka",
    "no such",
];

/// Builds a tokenizer of `data` and uses it; true when it has tokens for the text.
pub fn run(data: &[u8]) -> bool {
    let mut script = Script(data);
    let bytes_first = script.below(2) == 0;
    let (file, n_tokens) = vocabulary(&mut script, bytes_first);
    let metadata = metadata_of(&file).expect("the writer writes whole headers");
    let Ok(tokenizer) = Tokenizer::from_metadata(&metadata, n_tokens) else {
        return false;
    };
    let options = EncodeOptions {
        add_bos: script.below(2) == 0,
        control: script.below(2) == 0,
    };
    let text = script.rest_as_text();
    let Ok(tokens) = tokenizer.encode(&text, options) else {
        return false;
    };
    for id in &tokens {
        assert!(
            (*id as usize) < n_tokens,
            "every token is of the vocabulary"
        );
        tokenizer.piece(*id);
        tokenizer.spelling(*id);
        tokenizer.is_end(*id);
    }
    tokenizer.decode(&tokens);
    let framed = tokenizer.encode_framed(&text, options.control);
    assert!(framed.is_ok(), "the same text, framed");
    !tokens.is_empty()
}

/// A header with the metadata of a tokenizer.
fn vocabulary(script: &mut Script<'_>, bytes_first: bool) -> (Vec<u8>, usize) {
    let kind = ["gpt2", "llama", "bert"][script.below(3)];
    let mut writer = GgufWriter::default();
    writer.text("tokenizer.ggml.model", kind);
    let pre = PRE_TOKENIZERS[script.below(PRE_TOKENIZERS.len())];
    writer.text("tokenizer.ggml.pre", pre);
    let mut tokens: Vec<String> = Vec::new();
    let mut kinds: Vec<i32> = Vec::new();
    if bytes_first {
        (tokens, kinds) = alphabet(kind);
    }
    for _ in 0..script.below(24) {
        tokens.push(script.text(12));
        kinds.push(i32::from(script.byte() % 8));
    }
    let merges: Vec<String> = (0..script.below(12)).map(|_| script.text(16)).collect();
    let mut random = Random(script.byte().into());
    let scores: Vec<f32> = tokens.iter().map(|_| -10.0 * random.symmetric()).collect();
    writer
        .texts("tokenizer.ggml.tokens", &tokens)
        .ints("tokenizer.ggml.token_type", &kinds)
        .floats("tokenizer.ggml.scores", &scores)
        .texts("tokenizer.ggml.merges", &merges);
    let flags = script.byte();
    for (bit, key) in [
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_eos_token",
        "tokenizer.ggml.add_space_prefix",
        "tokenizer.ggml.remove_extra_whitespaces",
    ]
    .into_iter()
    .enumerate()
    {
        if flags >> (2 * bit) & 1 == 1 {
            writer.bool(key, flags >> (2 * bit + 1) & 1 == 1);
        }
    }
    for key in [
        "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.unknown_token_id",
        "tokenizer.ggml.seperator_token_id",
    ] {
        match script.byte() {
            0 => {}
            id => {
                writer.uint(key, u32::from(id) - 1);
            }
        }
    }
    (writer.finish(), tokens.len())
}

/// Tokens that spell every byte, as each kind of vocabulary has them.
fn alphabet(kind: &str) -> (Vec<String>, Vec<i32>) {
    match kind {
        "gpt2" => {
            let tokens = byte_spellings().to_vec();
            (tokens, vec![1; 256])
        }
        "llama" => {
            let bytes = (0..=255_u8).map(|byte| format!("<0x{byte:02X}>"));
            let tokens: Vec<String> = std::iter::once("<unk>".to_owned()).chain(bytes).collect();
            let kinds = std::iter::once(2).chain([6; 256]).collect();
            (tokens, kinds)
        }
        _ => {
            let letters = ('a'..='z').flat_map(|it| [format!("\u{2581}{it}"), it.to_string()]);
            let tokens: Vec<String> = std::iter::once("[UNK]".to_owned()).chain(letters).collect();
            let kinds = vec![1; tokens.len()];
            (tokens, kinds)
        }
    }
}
