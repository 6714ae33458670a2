//! The words of GPT-2, of GPT-4 and of those that followed it.

use super::class::{Class, is_letter, is_letter_or_mark, is_newline, is_number};

/// characters; for numbers that are not cut however long they are.
pub(super) const ANY_DIGITS: usize = usize::MAX;

/// Words from a scanner that finds one at every place; it returns the word's bytes.
pub(super) fn scan(text: &str, word: impl Fn(&str) -> usize) -> Vec<&str> {
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
pub(super) fn cut(text: &str, find: impl Fn(&str) -> usize) -> Vec<&str> {
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
pub(super) fn run(rest: &str, wanted: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !wanted(c)).unwrap_or(rest.len())
}

/// Bytes of the first character if it is `wanted`, else 0.
pub(super) fn one(rest: &str, wanted: impl Fn(char) -> bool) -> usize {
    let first = rest.chars().next().filter(|c| wanted(*c));
    first.map_or(0, char::len_utf8)
}

/// `\p{N}{1,most}`
pub(super) fn digits(rest: &str, most: usize) -> usize {
    let digits = rest.chars().take(most).take_while(|c| is_number(*c));
    digits.map(char::len_utf8).sum()
}

/// `[0-9][0-9][0-9]`
pub(super) fn three_ascii_digits(rest: &str) -> usize {
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
pub(super) fn spaces(rest: &str) -> usize {
    let all = run(rest, char::is_whitespace);
    let last = rest[..all].chars().next_back().map_or(0, char::len_utf8);
    if all == rest.len() || all == last {
        all
    } else {
        all - last
    }
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+`
pub(super) fn lines_or_spaces(rest: &str) -> usize {
    let all = run(rest, char::is_whitespace);
    match rest[..all].rfind(is_newline) {
        Some(last) => last + 1,
        None => spaces(rest),
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
pub(super) fn gpt2_word(rest: &str) -> usize {
    let contraction = contraction(rest, false);
    if contraction > 0 {
        return contraction;
    }
    let space = usize::from(rest.starts_with(' '));
    let word = &rest[space..];
    match word.chars().next().map(Class::of) {
        None | Some(Class::Space) => spaces(rest),
        Some(Class::Letter) => space + run(word, is_letter),
        Some(Class::Number) => space + run(word, is_number),
        Some(
            Class::Control | Class::Mark | Class::Punctuation | Class::Symbol | Class::Unassigned,
        ) => space + run(word, is_other),
    }
}

/// `[^\s\p{L}\p{N}]`
fn is_other(c: char) -> bool {
    !matches!(Class::of(c), Class::Letter | Class::Number | Class::Space)
}

/// ` ?[^(\s|.,!?…。，、।۔،)]+`
pub(super) fn bloom_word(rest: &str) -> usize {
    let space = usize::from(rest.starts_with(' '));
    let is_word = |c: char| !c.is_whitespace() && !"(|.,!?…。，、।۔،)".contains(c);
    match run(&rest[space..], is_word) {
        0 => 0,
        word => space + word,
    }
}

/// What goes for a word's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letters {
    /// `\p{L}+`
    Plain,
    /// `[\p{L}\p{M}]+`
    WithMarks,
    /// Capitals, then small letters.
    Cased,
}

/// Words after GPT-4's expression:
/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}|`
/// ` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    /// Whether contractions are cut off: before a word (`Some(false)`) or as its end.
    contractions: Contractions,
    letters: Letters,
    digits: usize,
    /// What punctuation takes with it.
    tail: &'static [char],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contractions {
    Apart,
    Attached,
    None,
}

const NEWLINES: &[char] = &['\r', '\n'];
const NEWLINES_AND_SLASH: &[char] = &['\r', '\n', '/'];

impl Words {
    pub(super) const LLAMA3: Self = Self {
        contractions: Contractions::Apart,
        letters: Letters::Plain,
        digits: 3,
        tail: NEWLINES,
    };
    pub(super) const QWEN2: Self = Self {
        digits: 1,
        ..Self::LLAMA3
    };
    pub(super) const QWEN35: Self = Self {
        letters: Letters::WithMarks,
        ..Self::QWEN2
    };
    pub(super) const UFAKZEKA: Self = Self {
        contractions: Contractions::None,
        ..Self::QWEN2
    };
    pub(super) const SEED_CODER: Self = Self {
        tail: &[],
        ..Self::QWEN2
    };
    pub(super) const MINICPM5: Self = Self {
        digits: ANY_DIGITS,
        ..Self::LLAMA3
    };
    pub(super) const TEKKEN: Self = Self {
        contractions: Contractions::None,
        letters: Letters::Cased,
        digits: 1,
        tail: NEWLINES_AND_SLASH,
    };
    pub(super) const GPT4O: Self = Self {
        contractions: Contractions::Attached,
        digits: 3,
        ..Self::TEKKEN
    };

    /// Bytes of the word at the front of a text that is not empty.
    pub(super) fn word(&self, rest: &str) -> usize {
        if self.contractions == Contractions::Apart {
            let contraction = contraction(rest, true);
            if contraction > 0 {
                return contraction;
            }
        }
        let letters = self.letters(rest);
        if letters > 0 {
            return letters;
        }
        let digits = digits(rest, self.digits);
        if digits > 0 {
            return digits;
        }
        let space = usize::from(rest.starts_with(' '));
        let with_marks = self.letters == Letters::WithMarks;
        let others = run(&rest[space..], |c| {
            is_other(c) && !(with_marks && is_letter_or_mark(c))
        });
        if others > 0 {
            let end = space + others;
            return end + run(&rest[end..], |c| self.tail.contains(&c));
        }
        lines_or_spaces(rest)
    }

    /// Letters, with one other character before them that is no digit and no newline.
    fn letters(&self, rest: &str) -> usize {
        let is_letter = match self.letters {
            Letters::Plain | Letters::Cased => is_letter,
            Letters::WithMarks => is_letter_or_mark,
        };
        let before = one(rest, |c| !is_letter(c) && !is_number(c) && !is_newline(c));
        if one(&rest[before..], is_letter) == 0 {
            return 0;
        }
        let letters = &rest[before..];
        let end = match self.letters {
            Letters::Plain | Letters::WithMarks => run(letters, is_letter),
            Letters::Cased => cased(letters),
        };
        let word = before + end;
        match self.contractions {
            Contractions::Apart | Contractions::None => word,
            Contractions::Attached => word + contraction(&rest[word..], true),
        }
    }
}

/// Letters that are no ASCII small ones, then letters that are no ASCII capitals; at least one of
/// the latter if there is a way, else only the former.
fn cased(letters: &str) -> usize {
    let capitals = run(letters, |c| is_letter(c) && !c.is_ascii_lowercase());
    let is_small = |c: char| is_letter(c) && !c.is_ascii_uppercase();
    let small = run(&letters[capitals..], is_small);
    if small > 0 {
        return capitals + small;
    }
    let last_of_both = letters[..capitals].rfind(|c: char| !c.is_ascii());
    last_of_both.map_or(capitals, |at| at + one(&letters[at..], is_letter))
}
