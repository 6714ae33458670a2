//! Every text of `tests/tokenizers/torture.txt` against the tokens that llama.cpp makes of it (and,
//! by a file's word, BERT's own tokenizer), with vocabularies trained for that; the scripts beside
//! the texts say how.

use std::path::Path;

use serde_json::Value as Json;

use super::Tokenizer;
use crate::gguf::{Metadata, Numbers, Value};

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tokenizers");
    std::fs::read_to_string(folder.join(name)).expect("a committed file")
}

fn parse(line: &str) -> Json {
    serde_json::from_str(line).expect("a line of JSON")
}

/// The texts, and all of them as one.
fn cases() -> Vec<String> {
    let texts = read("torture.txt");
    let text = |line| parse(line).as_str().expect("a string").to_owned();
    let mut cases: Vec<String> = texts.lines().map(text).collect();
    cases.push(cases.join("\n"));
    cases
}

fn texts(json: &Json) -> Value {
    let text = |it: &Json| it.as_str().expect("a string").to_owned();
    Value::Texts(
        json.as_array()
            .expect("an array")
            .iter()
            .map(text)
            .collect(),
    )
}

/// The tokenizer of a vocabulary file with what a variant says on top.
fn tokenizer(vocabulary: &Json, variant: &Json) -> Tokenizer {
    let model = vocabulary["model"].as_str().expect("a name");
    let numbers = |key: &str| vocabulary[key].as_array();
    let kinds = numbers("types").expect("kinds").iter();
    let kinds: Vec<i64> = kinds.map(|it| it.as_i64().expect("a number")).collect();
    let mut pairs = vec![
        ("tokenizer.ggml.model", Value::Text(model.to_owned())),
        ("tokenizer.ggml.tokens", texts(&vocabulary["tokens"])),
        (
            "tokenizer.ggml.token_type",
            Value::Numbers(Numbers::from_ints(&kinds)),
        ),
    ];
    if let Some(scores) = numbers("scores") {
        let scores: Vec<f32> = (scores.iter())
            .map(|it| it.as_f64().expect("a number") as f32)
            .collect();
        let scores = Value::Numbers(Numbers::from_floats(&scores));
        pairs.push(("tokenizer.ggml.scores", scores));
    }
    if vocabulary.get("merges").is_some() {
        pairs.push(("tokenizer.ggml.merges", texts(&vocabulary["merges"])));
    }
    for (key, name) in [
        ("tokenizer.ggml.bos_token_id", "bos"),
        ("tokenizer.ggml.eos_token_id", "eos"),
        ("tokenizer.ggml.seperator_token_id", "sep"),
        ("tokenizer.ggml.unknown_token_id", "unk"),
    ] {
        pairs.extend(vocabulary[name].as_u64().map(|id| (key, Value::Uint(id))));
    }
    for (key, name) in [
        ("tokenizer.ggml.pre", "pre"),
        ("general.name", "name"),
        ("thrum.tokenizer.normalizer", "normalizer"),
    ] {
        let text = variant[name].as_str().map(str::to_owned);
        pairs.extend(text.map(|text| (key, Value::Text(text))));
    }
    for (key, name) in [
        ("tokenizer.ggml.add_space_prefix", "add_space_prefix"),
        ("tokenizer.ggml.add_eos_token", "add_eos"),
        ("tokenizer.ggml.normalizer.lowercase", "lowercase"),
        ("tokenizer.ggml.normalizer.strip_accents", "strip_accents"),
    ] {
        pairs.extend(variant[name].as_bool().map(|flag| (key, Value::Bool(flag))));
    }
    Tokenizer::from_metadata(&Metadata::from_pairs(pairs), kinds.len()).expect("good")
}

fn hash(bytes: impl IntoIterator<Item = u8>) -> String {
    let mix = |value: u64, byte| (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let value = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325_u64, mix);
    format!("#{value:016x}")
}

fn check_variant(tokenizer: &Tokenizer, variant: &Json, expected: &[&str], first: &[&str]) {
    let control = variant["control"].as_bool().expect("a flag");
    let framed = variant["framed"].as_bool().unwrap_or(false);
    for (at, case) in cases().iter().enumerate() {
        let options = super::EncodeOptions {
            add_bos: false,
            control,
        };
        let found = match framed {
            true => tokenizer.encode_framed(case, control),
            false => tokenizer.encode(case, options),
        };
        let found = found.expect("every byte has a token");
        let expected = if expected[at] == "=" {
            first[at]
        } else {
            expected[at]
        };
        let line = if expected.starts_with('#') {
            hash(found.iter().flat_map(|id| id.to_le_bytes()))
        } else {
            (found.iter().map(u32::to_string).collect::<Vec<_>>()).join(" ")
        };
        if expected == "-" {
            continue;
        }
        assert_eq!(
            line, expected,
            "{variant} on text {at}: {case:?}, found {found:?}"
        );
    }
}

/// Checks the variants that `lines` begin with; gives how many lines they are.
fn check_variants(vocabulary: &Json, lines: &[&str], least: usize) -> usize {
    let n_cases = cases().len();
    let first = &lines[1..=n_cases];
    let blocks = lines.chunks(n_cases + 1);
    let mut n_variants = 0;
    for block in blocks.filter(|block| block[0].contains("control")) {
        let variant = parse(block[0]);
        check_variant(
            &tokenizer(vocabulary, &variant),
            &variant,
            &block[1..],
            first,
        );
        n_variants += 1;
    }
    assert!(
        n_variants >= least && n_cases > 300,
        "{n_variants} variants, {n_cases} texts"
    );
    n_variants * (n_cases + 1)
}

fn check(name: &str) {
    let vocabulary = parse(&read(&format!("{name}.json")));
    let golden = read(&format!("{name}.golden"));
    let lines: Vec<&str> = golden.lines().collect();
    let rest = &lines[check_variants(&vocabulary, &lines, 4)..];
    let tokenizer = tokenizer(&vocabulary, &parse(lines[0]));
    let ids = 0..tokenizer.vocab_size() as u32;
    let ends: Vec<u32> = ids.clone().filter(|id| tokenizer.is_end(*id)).collect();
    assert_eq!(parse(rest[0])["ends"], serde_json::json!(ends));
    let pieces: Vec<&[u8]> = ids.map(|id| tokenizer.piece(id)).collect();
    let hashes: Vec<String> = pieces.chunks(32).map(|it| hash(it.join(&0))).collect();
    assert_eq!(rest[1..], hashes, "pieces of 32 tokens each");
}

#[test]
fn byte_level_pairs_are_llama_cpps() {
    check("bytes");
}

#[test]
fn sentence_pieces_are_llama_cpps() {
    check("pieces");
}

#[test]
fn word_pieces_are_llama_cpps() {
    check("words");
}

#[test]
fn word_pieces_are_berts_where_the_file_says_so() {
    let vocabulary = parse(&read("words.json"));
    let golden = read("bert.golden");
    let lines: Vec<&str> = golden.lines().collect();
    assert_eq!(check_variants(&vocabulary, &lines, 3), lines.len());
}

#[test]
fn another_plain_form_is_refused_by_name() {
    let vocabulary = parse(&read("words.json"));
    let pairs = vec![
        ("tokenizer.ggml.model", Value::Text("bert".to_owned())),
        ("tokenizer.ggml.tokens", texts(&vocabulary["tokens"])),
        ("thrum.tokenizer.normalizer", Value::Text("nfkc".to_owned())),
    ];
    let n_tokens = vocabulary["tokens"].as_array().expect("an array").len();
    let error = Tokenizer::from_metadata(&Metadata::from_pairs(pairs), n_tokens)
        .expect_err("there is only one other");
    assert!(error.to_string().contains("nfkc"), "{error}");
}
