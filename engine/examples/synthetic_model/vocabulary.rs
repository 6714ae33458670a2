//! A byte-level BPE vocabulary of a given size: the bytes, syllables of letters that merges make of
//! them, and the tokens that end a text.

use std::collections::BTreeSet;

use thrum_engine::synthetic::{GgufWriter, Random};

use crate::shapes::Shape;

/// Control tokens, the last of the vocabulary; the second and third are what ChatML wraps turns in.
const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// letters; as long as a word that is one token usually gets.
const MAX_LETTERS: usize = 12;

/// How a space is spelled.
const SPACE: char = '\u{120}';

/// GGUF's kinds of tokens.
const NORMAL: i32 = 1;
const CONTROL_KIND: i32 = 3;

pub(crate) fn add(writer: &mut GgufWriter, shape: &Shape, seed: u64) {
    let n_text = shape.vocab_size - CONTROL.len();
    let (mut tokens, merges) = text_tokens(n_text, seed);
    tokens.extend(CONTROL.map(str::to_owned));
    let mut kinds = vec![NORMAL; n_text];
    kinds.resize(shape.vocab_size, CONTROL_KIND);
    writer
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", shape.pre_tokenizer)
        .texts("tokenizer.ggml.tokens", &tokens)
        .ints("tokenizer.ggml.token_type", &kinds)
        .texts("tokenizer.ggml.merges", &merges)
        .uint("tokenizer.ggml.bos_token_id", n_text as u32)
        .uint("tokenizer.ggml.eos_token_id", n_text as u32 + 2)
        .uint("tokenizer.ggml.padding_token_id", n_text as u32)
        .bool("tokenizer.ggml.add_bos_token", false);
}

/// `n` spellings, the bytes first, and the merges that make the others.
fn text_tokens(n: usize, seed: u64) -> (Vec<String>, Vec<String>) {
    let mut tokens: Vec<String> = byte_alphabet().map(String::from).collect();
    let mut merges = Vec::with_capacity(n - tokens.len());
    let mut known: BTreeSet<String> = tokens.iter().cloned().collect();
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let space = SPACE.to_string();
    let mut merge = |left: &str, right: &str, tokens: &mut Vec<String>| {
        let whole = format!("{left}{right}");
        if tokens.len() < n && whole.chars().count() <= MAX_LETTERS && known.insert(whole.clone()) {
            merges.push(format!("{left} {right}"));
            tokens.push(whole);
        }
    };
    // What every vocabulary has: a word's first letter with its space, and all pairs of letters.
    for letter in &letters {
        merge(&space, letter, &mut tokens);
    }
    for left in &letters {
        for right in &letters {
            merge(left, right, &mut tokens);
        }
    }
    let first_text = 256;
    let mut random = Random(seed | 1);
    while tokens.len() < n {
        // Only a space may stand before letters, so the right half never begins with one.
        let left = tokens[pick(&mut random, first_text, tokens.len())].clone();
        let right = tokens[pick(&mut random, first_text + letters.len(), tokens.len())].clone();
        if !right.starts_with(SPACE) {
            merge(&left, &right, &mut tokens);
        }
    }
    (tokens, merges)
}

/// A number from `first` to before `end`, small ones likelier.
fn pick(random: &mut Random, first: usize, end: usize) -> usize {
    let unit = f64::from(random.bits()) / f64::from(u32::MAX);
    first + ((end - first - 1) as f64 * unit * unit) as usize
}

/// The characters that stand for the bytes 0 to 255 in GPT-2's spelling: themselves where they are
/// printable, the next from U+0100 where not.
fn byte_alphabet() -> impl Iterator<Item = char> {
    let mut next = 0x100;
    (0..=255_u8).map(move |byte| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
        0..=b' ' | 0x7f..=0xa0 | 0xad => {
            let character = char::from_u32(next).unwrap_or(char::REPLACEMENT_CHARACTER);
            next += 1;
            character
        }
    })
}
