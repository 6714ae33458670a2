//! Tokenizers from made-up metadata, and text through them and back.

use proptest::prelude::*;

use super::*;
use crate::gguf::Value;
use crate::synthetic::{BOS, EOS, SyntheticModel};

/// Reads a header with nothing behind it; the tokenizer is all that matters.
fn read(spec: &SyntheticModel) -> Tokenizer {
    let mut reader = crate::gguf::GgufReader::new(crate::gguf::ReadOptions {
        file_bytes: None,
        available_bytes: None,
        max_context: 64,
    });
    let mut sink = crate::weights::WeightStore::default();
    reader.push(&spec.gguf(), &mut sink).expect("a good file");
    reader.finish(&mut sink).expect("a whole file").tokenizer
}

fn metadata(pairs: Vec<(&str, Value)>) -> Metadata {
    Metadata::from_pairs(pairs)
}

fn texts(texts: &[&str]) -> Value {
    Value::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

const PLAIN: EncodeOptions = EncodeOptions {
    add_bos: false,
    control: false,
};

/// A vocabulary of the byte alphabet, a few merged words and two control tokens.
fn merged(pre: &str, merges: &[&str]) -> Tokenizer {
    let mut tokens: Vec<String> = bytes::alphabet().map(String::from).to_vec();
    for merge in merges {
        tokens.push(merge.replace(' ', ""));
    }
    let n_text = tokens.len();
    tokens.extend(["<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let vocab_size = tokens.len();
    let kinds: Vec<i64> = (0..vocab_size)
        .map(|id| if id < n_text { 1 } else { 3 })
        .collect();
    let metadata = metadata(vec![
        ("tokenizer.ggml.model", Value::Text("gpt2".to_owned())),
        ("tokenizer.ggml.pre", Value::Text(pre.to_owned())),
        ("tokenizer.ggml.tokens", Value::Texts(tokens)),
        (
            "tokenizer.ggml.token_type",
            Value::Numbers(crate::gguf::Numbers::from_ints(&kinds)),
        ),
        ("tokenizer.ggml.merges", texts(merges)),
    ]);
    Tokenizer::from_metadata(&metadata, vocab_size).expect("a good tokenizer")
}

fn spelled(tokenizer: &Tokenizer, text: &str, options: EncodeOptions) -> Vec<String> {
    let tokens = tokenizer
        .encode(text, options)
        .expect("every byte has a token");
    tokens.iter().map(|id| tokenizer.spelling(*id)).collect()
}

#[test]
fn the_default_vocabulary_is_bytes() {
    let tokenizer = read(&SyntheticModel::SMALL);
    let with_bos = EncodeOptions {
        add_bos: true,
        control: false,
    };
    let expected: Vec<u32> = std::iter::once(BOS)
        .chain("aé ;\n".bytes().map(token_of))
        .collect();
    assert_eq!(tokenizer.encode("aé ;\n", with_bos), Ok(expected));
    assert_eq!(tokenizer.bos(), Some(BOS));
    assert!(tokenizer.is_end(EOS) && !tokenizer.is_end(BOS));
    assert_eq!(tokenizer.piece(EOS), b";");
    assert_eq!(tokenizer.piece(BOS), b"");
    assert_eq!(tokenizer.piece(9_999), b"");
}

/// The synthetic vocabulary has the bytes in their own order.
fn token_of(byte: u8) -> u32 {
    u32::from(byte)
}

#[test]
fn the_byte_alphabet_is_gpt2s() {
    // `bytes_to_unicode` in GPT-2's encoder: space, newline, DEL, NBSP and soft hyphen move.
    let alphabet = bytes::alphabet();
    for (byte, spelled) in [
        (0x20, 'Ġ'),
        (0x0a, 'Ċ'),
        (0x00, 'Ā'),
        (0x7f, 'ġ'),
        (0xa0, 'ł'),
        (0xad, 'Ń'),
    ] {
        assert_eq!(alphabet[byte], spelled);
    }
    for byte in 0..=255_u8 {
        assert_eq!(
            bytes::byte_of(&alphabet, alphabet[usize::from(byte)]),
            Some(byte)
        );
    }
    assert_eq!(bytes::byte_of(&alphabet, '€'), None);
    assert_eq!(bytes::byte_of(&alphabet, ' '), None);
}

#[test]
fn merges_go_by_rank_then_from_the_left() {
    let tokenizer = merged("gpt-2", &["b c", "a b", "a bc", "a a"]);
    assert_eq!(spelled(&tokenizer, "abc", PLAIN), ["abc"]);
    assert_eq!(spelled(&tokenizer, "abab", PLAIN), ["ab", "ab"]);
    assert_eq!(spelled(&tokenizer, "aaa", PLAIN), ["aa", "a"]);
    assert_eq!(spelled(&tokenizer, "aaab", PLAIN), ["aa", "ab"]);
    assert_eq!(spelled(&tokenizer, "b c", PLAIN), ["b", " ", "c"]);
    assert_eq!(spelled(&tokenizer, "", PLAIN), [""; 0]);
}

#[test]
fn a_llama_3_word_that_is_a_token_is_not_merged() {
    let merges = ["b c", "a b", "ab c"];
    assert_eq!(
        spelled(&merged("gpt-2", &merges), "abc", PLAIN),
        ["a", "bc"]
    );
    assert_eq!(
        spelled(&merged("llama-bpe", &merges), "abc", PLAIN),
        ["abc"]
    );
}

#[test]
fn control_tokens_are_read_only_when_asked() {
    let tokenizer = merged("gpt-2", &[]);
    let control = EncodeOptions {
        add_bos: false,
        control: true,
    };
    assert_eq!(
        spelled(&tokenizer, "a<|im_end|>b", control),
        ["a", "<|im_end|>", "b"]
    );
    assert_eq!(spelled(&tokenizer, "<|im_start|>", PLAIN).len(), 12);
    let end = tokenizer.encode("<|im_end|>", control).expect("a token")[0];
    assert!(tokenizer.is_end(end));
}

#[test]
fn sentencepiece_merges_by_score_and_falls_back_to_bytes() {
    let spellings = [
        "<unk>", "<s>", "</s>", "<0xE2>", "<0x82>", "<0xAC>", "▁", "a", "b", "ab", "▁a", "▁ab",
    ];
    let kinds = [2, 3, 3, 6, 6, 6, 1, 1, 1, 1, 1, 1];
    let scores = [
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -9.0, -8.0, -7.0, -3.0, -2.0, -5.0,
    ];
    let metadata = metadata(vec![
        ("tokenizer.ggml.model", Value::Text("llama".to_owned())),
        ("tokenizer.ggml.tokens", texts(&spellings)),
        (
            "tokenizer.ggml.token_type",
            Value::Numbers(crate::gguf::Numbers::from_ints(&kinds)),
        ),
        (
            "tokenizer.ggml.scores",
            Value::Numbers(crate::gguf::Numbers::from_floats(&scores)),
        ),
        ("tokenizer.ggml.bos_token_id", Value::Uint(1)),
        ("tokenizer.ggml.eos_token_id", Value::Uint(2)),
    ]);
    let tokenizer = Tokenizer::from_metadata(&metadata, spellings.len()).expect("good");
    let all = EncodeOptions {
        add_bos: true,
        control: true,
    };
    assert_eq!(spelled(&tokenizer, "ab", all), ["<s>", " ab"]);
    assert_eq!(spelled(&tokenizer, "a b", all), ["<s>", " a", " ", "b"]);
    assert_eq!(tokenizer.encode("a€", all), Ok(vec![1, 10, 3, 4, 5]));
    assert_eq!(tokenizer.decode(&[1, 10, 3, 4, 5]), " a€");
    assert_eq!(
        tokenizer.encode("ü", all),
        Err(TokenizerError::NoToken { byte: 0xc3 })
    );
    assert_eq!(tokenizer.encode("a</s>a", all), Ok(vec![1, 10, 2, 10]));
}

/// The error for a vocabulary of the byte alphabet with one pair changed.
fn refusal(key: &str, value: Value) -> crate::EngineError {
    let tokens = bytes::alphabet().map(String::from).to_vec();
    let mut metadata = metadata(vec![
        ("tokenizer.ggml.model", Value::Text("gpt2".to_owned())),
        ("tokenizer.ggml.tokens", Value::Texts(tokens)),
    ]);
    metadata.set(key, value);
    Tokenizer::from_metadata(&metadata, 256).expect_err("a bad tokenizer")
}

#[test]
fn refuses_what_it_does_not_know_by_name() {
    let text = |text: &str| Value::Text(text.to_owned());
    let unknown = TokenizerError::UnknownModel {
        name: "t5".to_owned(),
    };
    assert_eq!(refusal("tokenizer.ggml.model", text("t5")), unknown.into());
    let unknown = TokenizerError::UnknownPreTokenizer {
        name: "tekken".to_owned(),
    };
    assert_eq!(
        refusal("tokenizer.ggml.pre", text("tekken")),
        unknown.into()
    );
    let bad = TokenizerError::BadMerge {
        index: 0,
        merge: "ab".to_owned(),
    };
    assert_eq!(refusal("tokenizer.ggml.merges", texts(&["ab"])), bad.into());
    let short = TokenizerError::WrongLength {
        key: "tokenizer.ggml.tokens",
        found: 1,
        vocab_size: 256,
    };
    assert_eq!(
        refusal("tokenizer.ggml.tokens", texts(&["a"])),
        short.into()
    );
    let key = "tokenizer.ggml.eos_token_id";
    let outside = TokenizerError::BadSpecialToken {
        key,
        id: 256,
        vocab_size: 256,
    };
    assert_eq!(refusal(key, Value::Uint(256)), outside.into());
    let spaces = vec![" ".to_owned(); 256];
    let spelled = TokenizerError::BadSpelling {
        id: 0,
        spelling: " ".to_owned(),
    };
    assert_eq!(
        refusal("tokenizer.ggml.tokens", Value::Texts(spaces)),
        spelled.into()
    );
}

proptest! {
    #[test]
    fn any_text_comes_back(text in "\\PC{0,64}") {
        for pre in ["default", "gpt-2", "llama-bpe", "qwen2", "smollm"] {
            let tokenizer = merged(pre, &["t h", "th e", "Ġ the", "Ã ©"]);
            let tokens = tokenizer.encode(&text, PLAIN).expect("every byte has a token");
            prop_assert_eq!(tokenizer.decode(&tokens), text.clone());
        }
    }

    /// The queue finds what a plain search for the best pair finds.
    #[test]
    fn merging_is_what_it_says(word in "[abc]{0,24}") {
        let merges = ["a b", "b c", "ab c", "a a", "aa b", "c c", "bc cc"];
        let tokenizer = merged("gpt-2", &merges);
        let mut plain: Vec<String> = word.chars().map(String::from).collect();
        loop {
            let rank = |pair: &[String]| merges.iter().position(|it| *it == pair.join(" "));
            let best = plain.windows(2).enumerate().filter_map(|(at, pair)| Some((rank(pair)?, at))).min();
            let Some((_, at)) = best else { break };
            let right = plain.remove(at + 1);
            plain[at].push_str(&right);
        }
        prop_assert_eq!(spelled(&tokenizer, &word, PLAIN), plain);
    }
}
