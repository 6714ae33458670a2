//! Cuts a text into words, within which tokens are merged: what published models do with regular
//! expressions, written out. Each is held against its expression in the tests.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// A way to cut text, by the name that GGUF gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreTokenizer {
    /// `default`: punctuation, then GPT-2's words, then numbers, then digits in threes.
    Default,
    /// `gpt-2`
    Gpt2,
    /// `llama-bpe` and its other names: Llama 3.
    LlamaBpe,
    /// `qwen2`
    Qwen2,
    /// `smollm`: every digit alone, then GPT-2's words.
    SmolLm,
}

/// What a character is to the scanners below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Other,
    Space,
}

impl PreTokenizer {
    /// The one that `tokenizer.ggml.pre` names.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::Default),
            "gpt-2" => Some(Self::Gpt2),
            "llama-bpe" | "llama3" | "llama-v3" => Some(Self::LlamaBpe),
            "qwen2" => Some(Self::Qwen2),
            "smollm" => Some(Self::SmolLm),
            _ => None,
        }
    }

    /// The words of `text`, in order and without gaps.
    pub fn split(self, text: &str) -> Vec<&str> {
        match self {
            Self::Default => cut(text, |rest| run(rest, is_default_punctuation))
                .into_iter()
                .flat_map(|part| scan(part, gpt2_word))
                .flat_map(|part| cut(part, |rest| run(rest, |c| class(c) == Class::Number)))
                .flat_map(|part| cut(part, three_digits))
                .collect(),
            Self::Gpt2 => scan(text, gpt2_word),
            Self::LlamaBpe => scan(text, |rest| cl100k_word(rest, 3)),
            Self::Qwen2 => scan(text, |rest| cl100k_word(rest, 1)),
            Self::SmolLm => cut(text, one_number)
                .into_iter()
                .flat_map(|part| scan(part, gpt2_word))
                .collect(),
        }
    }
}

fn class(c: char) -> Class {
    if c.is_whitespace() {
        return Class::Space;
    }
    match c.general_category_group() {
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        GeneralCategoryGroup::Mark
        | GeneralCategoryGroup::Other
        | GeneralCategoryGroup::Punctuation
        | GeneralCategoryGroup::Separator
        | GeneralCategoryGroup::Symbol => Class::Other,
    }
}

/// `[\p{P}\$\+<=>\^~\|]`
fn is_default_punctuation(c: char) -> bool {
    "$+<=>^~|".contains(c) || c.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// Words from a scanner that finds one at every place; it returns the word's bytes.
fn scan(text: &str, word: impl Fn(&str) -> usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (found, after) = rest.split_at(word(rest));
        words.push(found);
        rest = after;
    }
    words
}

/// Matches of a finder, which returns 0 where there is none, and what lies between them.
fn cut(text: &str, find: impl Fn(&str) -> usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let found = find(&text[at..]);
        if found == 0 {
            at += c.len_utf8();
            continue;
        }
        if start < at {
            parts.push(&text[start..at]);
        }
        parts.push(&text[at..at + found]);
        at += found;
        start = at;
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

/// Bytes at the front whose characters are all `wanted`.
fn run(rest: &str, wanted: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !wanted(c)).unwrap_or(rest.len())
}

/// `\p{N}`
fn one_number(rest: &str) -> usize {
    rest.chars()
        .next()
        .filter(|c| class(*c) == Class::Number)
        .map_or(0, char::len_utf8)
}

/// `[0-9][0-9][0-9]`
fn three_digits(rest: &str) -> usize {
    match rest.as_bytes() {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', ..] => 3,
        _ => 0,
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d`, in any case if `any_case`.
fn contraction(rest: &str, any_case: bool) -> usize {
    let matches = |ending: &&str| {
        rest.as_bytes()
            .get(1..=ending.len())
            .is_some_and(|found| match any_case {
                true => found.eq_ignore_ascii_case(ending.as_bytes()),
                false => found == ending.as_bytes(),
            })
    };
    if !rest.starts_with('\'') {
        return 0;
    }
    ["s", "t", "re", "ve", "m", "ll", "d"]
        .iter()
        .find(|it| matches(it))
        .map_or(0, |it| 1 + it.len())
}

/// `\s+(?!\S)|\s+`: a run of spaces leaves its last one to the word that follows.
fn spaces(rest: &str) -> usize {
    let all = run(rest, char::is_whitespace);
    let last = rest[..all].chars().next_back().map_or(0, char::len_utf8);
    if all == rest.len() || all == last {
        all
    } else {
        all - last
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
fn gpt2_word(rest: &str) -> usize {
    let contraction = contraction(rest, false);
    if contraction > 0 {
        return contraction;
    }
    let space = usize::from(rest.starts_with(' '));
    match rest[space..].chars().next().map(class) {
        None | Some(Class::Space) => spaces(rest),
        Some(wanted) => space + run(&rest[space..], |c| class(c) == wanted),
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}|`
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn cl100k_word(rest: &str, n_digits: usize) -> usize {
    let contraction = contraction(rest, true);
    if contraction > 0 {
        return contraction;
    }
    let mut chars = rest.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else {
        return 0;
    };
    let is_letter = |c: char| class(c) == Class::Letter;
    let before_letters = match class(first) {
        Class::Letter => Some(0),
        Class::Number => None,
        Class::Other | Class::Space => {
            let joins = !matches!(first, '\r' | '\n') && second.is_some_and(is_letter);
            joins.then_some(first.len_utf8())
        }
    };
    if let Some(before) = before_letters {
        return before + run(&rest[before..], is_letter);
    }
    if class(first) == Class::Number {
        let digits = rest
            .chars()
            .take(n_digits)
            .take_while(|c| class(*c) == Class::Number);
        return digits.map(char::len_utf8).sum();
    }
    let space = usize::from(first == ' ');
    let others = run(&rest[space..], |c| class(c) == Class::Other);
    if others > 0 {
        let end = space + others;
        return end + run(&rest[end..], |c| matches!(c, '\r' | '\n'));
    }
    let all = run(rest, char::is_whitespace);
    match rest[..all].rfind(['\r', '\n']) {
        Some(last) => last + 1,
        None => spaces(rest),
    }
}

#[cfg(test)]
mod tests {
    use fancy_regex::Regex;
    use proptest::prelude::*;

    use super::*;

    const GPT2: &str =
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

    fn cl100k(n_digits: usize) -> String {
        let contractions = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]";
        format!(
            r"{contractions}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,{n_digits}}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    }

    /// Applies expressions one after another, each within the parts that the one before left.
    fn by_expressions(expressions: &[&str], text: &str) -> Vec<String> {
        let mut parts = vec![text.to_owned()];
        for expression in expressions {
            let expression = Regex::new(expression).expect("a valid expression");
            parts = parts
                .iter()
                .flat_map(|part| matches_and_gaps(&expression, part))
                .collect();
        }
        parts
    }

    fn matches_and_gaps(expression: &Regex, text: &str) -> Vec<String> {
        let mut parts = Vec::new();
        let mut end = 0;
        for found in expression.find_iter(text) {
            let found = found.expect("no backtracking limit is reached");
            parts.push(text[end..found.start()].to_owned());
            parts.push(found.as_str().to_owned());
            end = found.end();
        }
        parts.push(text[end..].to_owned());
        parts.retain(|part| !part.is_empty());
        parts
    }

    fn check(pre: PreTokenizer, text: &str) {
        let expressions: &[&str] = match pre {
            PreTokenizer::Default => &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
            PreTokenizer::Gpt2 => &[GPT2],
            PreTokenizer::LlamaBpe => &[&cl100k(3)],
            PreTokenizer::Qwen2 => &[&cl100k(1)],
            PreTokenizer::SmolLm => &[r"\p{N}", GPT2],
        };
        assert_eq!(
            pre.split(text),
            by_expressions(expressions, text),
            "{pre:?} on {text:?}"
        );
    }

    const ALL: [PreTokenizer; 5] = [
        PreTokenizer::Default,
        PreTokenizer::Gpt2,
        PreTokenizer::LlamaBpe,
        PreTokenizer::Qwen2,
        PreTokenizer::SmolLm,
    ];

    #[test]
    fn cuts_as_the_expressions_do() {
        let texts = [
            "",
            "Hello, world! It's 12345 o'clock.",
            "  two  spaces   end  ",
            "tabs\t\tand\r\n\r\n newlines \n x",
            "it's IT'S we'Re 'twas ''s",
            "größer 東京 naïve résumé Ⅻ ½ ٣٤٥ à",
            "a+b=c; x<y>z | $5 ~ ^",
            "🐝🐝 bee\u{a0}nbsp\u{3000}wide",
            "1234567 12 1",
            "\n\n\n",
            " \n \n ",
            "  \u{0301}x",
        ];
        for pre in ALL {
            for text in texts {
                check(pre, text);
            }
        }
    }

    proptest! {
        #[test]
        fn cuts_random_texts_as_the_expressions_do(
            text in "[ \t\r\n'a-eA-ESTLMRVD0-9.,!$+<|_\u{a0}\u{301}éßñ東京Ⅻ½٣🐝ⓐाक]{0,24}"
        ) {
            for pre in ALL {
                check(pre, &text);
            }
        }
    }
}
