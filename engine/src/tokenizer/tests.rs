//! Tokenizers from made-up metadata, and text through them and back.

use proptest::prelude::*;

use super::*;
use crate::gguf::{Metadata, Value};
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
    let mut metadata = metadata(vec![
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
    assert_eq!(tokenizer.decode(&[10, 3, 4, 5]), "a€");
    assert_eq!(tokenizer.encode("ü", all), Ok(vec![1, 6, 0, 0]));
    assert_eq!(tokenizer.encode("a</s>a", all), Ok(vec![1, 10, 2, 10]));
    assert_eq!(tokenizer.encode_framed("b", true), Ok(vec![1, 6, 8]));

    metadata.set("tokenizer.ggml.add_eos_token", Value::Bool(true));
    metadata.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    let kinds = kinds.map(|kind| if kind == 2 { 1 } else { kind });
    let kinds = crate::gguf::Numbers::from_ints(&kinds);
    metadata.set("tokenizer.ggml.token_type", Value::Numbers(kinds));
    let tokenizer = Tokenizer::from_metadata(&metadata, spellings.len()).expect("good");
    assert_eq!(tokenizer.encode_framed("b", true), Ok(vec![1, 8, 2]));
    assert_eq!(tokenizer.decode(&[10]), " a");
    assert_eq!(
        tokenizer.encode("ü", all),
        Err(TokenizerError::NoToken { byte: 0xc3 })
    );
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
        name: "kimi-k2".to_owned(),
    };
    assert_eq!(
        refusal("tokenizer.ggml.pre", text("kimi-k2")),
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
}

/// Pieces of text with scores, every byte, and three special tokens.
fn pieces(words: &[&str]) -> Tokenizer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    tokens.extend(words.iter().map(|word| (*word).to_owned()));
    let kind = |id| match id {
        0 => 2,
        1 | 2 => 3,
        3..=258 => 6,
        _ => 1,
    };
    let kinds: Vec<i64> = (0..tokens.len()).map(kind).collect();
    let scores: Vec<f32> = (0..tokens.len()).map(|id| -(id as f32)).collect();
    let vocab_size = tokens.len();
    let metadata = metadata(vec![
        ("tokenizer.ggml.model", Value::Text("llama".to_owned())),
        ("tokenizer.ggml.tokens", Value::Texts(tokens)),
        (
            "tokenizer.ggml.token_type",
            Value::Numbers(crate::gguf::Numbers::from_ints(&kinds)),
        ),
        (
            "tokenizer.ggml.scores",
            Value::Numbers(crate::gguf::Numbers::from_floats(&scores)),
        ),
    ]);
    Tokenizer::from_metadata(&metadata, vocab_size).expect("a good tokenizer")
}

/// A long run takes merging from the queue; searching it anew for each merge would take hours.
#[test]
fn long_runs_and_long_words_come_back() {
    let words = ["a", "aa", "aaaa", "aaaaaaaa", "ab", "▁", "▁▁", "▁▁▁▁"];
    let pieces = pieces(&words);
    let merges = ["a a", "aa aa", "aaaa aaaa", "a b", "Ġ Ġ", "ĠĠ ĠĠ"];
    let byte_level =
        ["default", "deepseek-llm", "llama-bpe", "tekken"].map(|pre| merged(pre, &merges));
    for unit in [
        "a", "ab", " ", "\n", "é", "蜜", "<", "<|im_", "1", "\u{301}",
    ] {
        let text = unit.repeat(100_000 / unit.len());
        for tokenizer in byte_level.iter().chain([&pieces]) {
            let tokens = tokenizer
                .encode(&text, PLAIN)
                .expect("every byte has a token");
            assert!(tokenizer.decode(&tokens) == text, "{unit:?}");
        }
    }
}

/// A text cannot say what only a template may say, whatever its parts would merge to.
#[test]
fn plain_text_never_becomes_a_control_token() {
    let tokenizer = merged(
        "gpt-2",
        &[
            "< |",
            "<| im_end",
            "i m",
            "im _",
            "im_ e",
            "im_e n",
            "im_en d",
            "<|im_end |",
            "| >",
            "<|im_end |>",
        ],
    );
    let end = tokenizer.encode("<|im_end|>", PLAIN).expect("tokens");
    assert!(end.iter().all(|id| !tokenizer.is_end(*id)), "{end:?}");
    let pieces = pieces(&["▁", "</", "s>", "<", "/", "s", ">"]);
    let end = pieces.encode("</s>", PLAIN).expect("tokens");
    assert_eq!(pieces.decode(&end), "</s>");
    assert!(!end.contains(&2));
}

/// Vocabularies as a hostile file may have them: anything spelled anyhow.
fn any_vocabulary() -> impl Strategy<Value = (String, Vec<String>, Vec<i64>, Vec<f32>, Vec<String>)>
{
    let model = prop_oneof![Just("bert"), Just("gpt2"), Just("llama")].prop_map(str::to_owned);
    let token = prop_oneof![
        "[ab<>▁Ġ🐝]{0,4}",
        "<0x[0-9A-F]{2}>",
        Just("</s>".to_owned())
    ];
    let merge = "[abĠ<]{1,3} [abĠ<]{1,3}";
    let tokens = proptest::collection::vec((token, 0..7_i64, any::<f32>()), 1..40);
    let merges = proptest::collection::vec(merge, 0..20);
    (model, tokens, merges).prop_map(|(model, tokens, merges)| {
        let (spellings, rest): (Vec<_>, Vec<_>) =
            tokens.into_iter().map(|(a, b, c)| (a, (b, c))).unzip();
        let (kinds, scores) = rest.into_iter().unzip();
        (model, spellings, kinds, scores, merges)
    })
}

proptest! {
    #[test]
    fn no_vocabulary_and_no_text_panics(
        (model, tokens, kinds, scores, merges) in any_vocabulary(),
        text in prop_oneof!["[ab<>▁ 🐝\\n]{0,16}", "\\PC{0,16}"],
        name in prop_oneof![Just("phi-3"), Just("")],
    ) {
        let vocab_size = tokens.len();
        let metadata = metadata(vec![
            ("general.name", Value::Text(name.to_owned())),
            ("tokenizer.ggml.model", Value::Text(model)),
            ("tokenizer.ggml.tokens", Value::Texts(tokens)),
            ("tokenizer.ggml.token_type", Value::Numbers(crate::gguf::Numbers::from_ints(&kinds))),
            ("tokenizer.ggml.scores", Value::Numbers(crate::gguf::Numbers::from_floats(&scores))),
            ("tokenizer.ggml.merges", Value::Texts(merges)),
        ]);
        if let Ok(tokenizer) = Tokenizer::from_metadata(&metadata, vocab_size) {
            for control in [false, true] {
                if let Ok(tokens) = tokenizer.encode_framed(&text, control) {
                    prop_assert!(tokens.iter().all(|id| (*id as usize) < vocab_size));
                    tokenizer.decode(&tokens);
                }
            }
        }
    }

    #[test]
    fn any_text_comes_back_from_pieces(text in "[\\PC\\n\\t]{0,64}") {
        // U+2581 is how a space is spelled, and comes back as one.
        let text = text.replace('▁', "_");
        let tokenizer = pieces(&["▁", "t", "h", "e", "th", "▁th", "▁the", "é"]);
        let tokens = tokenizer.encode(&text, PLAIN).expect("every byte has a token");
        prop_assert_eq!(tokenizer.decode(&tokens), text);
    }

    #[test]
    fn any_text_comes_back(text in "[\\PC\\n\\t]{0,64}") {
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
