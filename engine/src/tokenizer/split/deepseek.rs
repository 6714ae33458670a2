//! The words of the DeepSeek models.

use super::class::{
    is_letter, is_letter_or_mark, is_newline, is_punctuation, is_punctuation_or_symbol,
};
use super::each;
use super::scan::{ANY_DIGITS, cut, digits, lines_or_spaces, one, run};

/// Letters with a case as the expression of `deepseek-llm` lists them: first and last of each range.
#[rustfmt::skip]
const CASED_LETTERS: [(char, char); 87] = [
    ('A', 'Z'), ('a', 'z'), ('\u{b5}', '\u{b5}'), ('\u{c0}', '\u{d6}'), ('\u{d8}', '\u{f6}'),
    ('\u{f8}', '\u{1ba}'), ('\u{1bc}', '\u{1bf}'), ('\u{1c4}', '\u{293}'), ('\u{295}', '\u{2af}'),
    ('\u{370}', '\u{373}'), ('\u{376}', '\u{376}'), ('\u{377}', '\u{377}'), ('\u{37b}', '\u{37d}'),
    ('\u{37f}', '\u{37f}'), ('\u{386}', '\u{386}'), ('\u{388}', '\u{38a}'), ('\u{38c}', '\u{38c}'),
    ('\u{38e}', '\u{3a1}'), ('\u{3a3}', '\u{3f5}'), ('\u{3f7}', '\u{481}'), ('\u{48a}', '\u{52f}'),
    ('\u{531}', '\u{556}'), ('\u{10a0}', '\u{10c5}'), ('\u{13a0}', '\u{13f5}'),
    ('\u{13f8}', '\u{13fd}'), ('\u{1c90}', '\u{1cba}'), ('\u{1cbd}', '\u{1cbf}'),
    ('\u{1d00}', '\u{1d2b}'), ('\u{1d6b}', '\u{1d77}'), ('\u{1d79}', '\u{1d9a}'),
    ('\u{1e00}', '\u{1f15}'), ('\u{1f18}', '\u{1f1d}'), ('\u{1f20}', '\u{1f45}'),
    ('\u{1f48}', '\u{1f4d}'), ('\u{1f50}', '\u{1f57}'), ('\u{1f59}', '\u{1f59}'),
    ('\u{1f5b}', '\u{1f5b}'), ('\u{1f5d}', '\u{1f5d}'), ('\u{1f5f}', '\u{1f7d}'),
    ('\u{1f80}', '\u{1fb4}'), ('\u{1fb6}', '\u{1fbc}'), ('\u{1fbe}', '\u{1fbe}'),
    ('\u{1fc2}', '\u{1fc4}'), ('\u{1fc6}', '\u{1fcc}'), ('\u{1fd0}', '\u{1fd3}'),
    ('\u{1fd6}', '\u{1fdb}'), ('\u{1fe0}', '\u{1fec}'), ('\u{1ff2}', '\u{1ff4}'),
    ('\u{1ff6}', '\u{1ffc}'), ('\u{2102}', '\u{2102}'), ('\u{2107}', '\u{2107}'),
    ('\u{210a}', '\u{2113}'), ('\u{2115}', '\u{2115}'), ('\u{2119}', '\u{211d}'),
    ('\u{2124}', '\u{2124}'), ('\u{2126}', '\u{2126}'), ('\u{2128}', '\u{2128}'),
    ('\u{212a}', '\u{212d}'), ('\u{212f}', '\u{2134}'), ('\u{2139}', '\u{2139}'),
    ('\u{213c}', '\u{213f}'), ('\u{2145}', '\u{2149}'), ('\u{214e}', '\u{214e}'),
    ('\u{2183}', '\u{2183}'), ('\u{2184}', '\u{2184}'), ('\u{2c00}', '\u{2c7b}'),
    ('\u{2c7e}', '\u{2ce4}'), ('\u{2ceb}', '\u{2cee}'), ('\u{2cf2}', '\u{2cf2}'),
    ('\u{2cf3}', '\u{2cf3}'), ('\u{a640}', '\u{a66d}'), ('\u{a680}', '\u{a69b}'),
    ('\u{a722}', '\u{a76f}'), ('\u{a771}', '\u{a787}'), ('\u{a78b}', '\u{a78e}'),
    ('\u{ab70}', '\u{abbf}'), ('\u{fb00}', '\u{fb06}'), ('\u{fb13}', '\u{fb17}'),
    ('\u{ff21}', '\u{ff3a}'), ('\u{ff41}', '\u{ff5a}'), ('\u{10400}', '\u{1044f}'),
    ('\u{104b0}', '\u{104d3}'), ('\u{104d8}', '\u{104fb}'), ('\u{10c80}', '\u{10cb2}'),
    ('\u{10cc0}', '\u{10cf2}'), ('\u{118a0}', '\u{118df}'), ('\u{1e900}', '\u{1e943}'),
];

/// `[\r\n]`, `\s?[cased letters]+`, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`,
/// `[一-龥ࠀ-一가-퟿]+`, `\p{N}+`, one after another.
pub(super) fn llm(text: &str) -> Vec<&str> {
    let parts = cut(text, |rest| one(rest, is_newline));
    let parts = each(parts, |part| {
        cut(part, |rest| after_space(rest, is_cased_letter))
    });
    let parts = each(parts, |part| {
        cut(part, |rest| after_space(rest, is_llm_punctuation))
    });
    let parts = each(parts, trailing_space);
    let parts = each(parts, |part| cut(part, |rest| run(rest, is_of_the_east)));
    each(parts, |part| cut(part, |rest| digits(rest, ANY_DIGITS)))
}

/// `[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}`, one after another.
pub(super) fn coder(text: &str) -> Vec<&str> {
    let parts = cut(text, |rest| one(rest, is_newline));
    let parts = each(parts, |part| cut(part, |rest| after_space(rest, is_letter)));
    let parts = each(parts, |part| {
        cut(part, |rest| after_space(rest, is_punctuation))
    });
    let parts = each(parts, |part| cut(part, |rest| run(rest, is_of_the_east)));
    each(parts, |part| cut(part, |rest| digits(rest, 1)))
}

/// `\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, then [`v3_word`].
pub(super) fn v3(text: &str) -> Vec<&str> {
    let is_han_or_kana = |c| matches!(c, '\u{4e00}'..='\u{9fa5}' | '\u{3040}'..='\u{30ff}');
    let parts = cut(text, |rest| digits(rest, 3));
    let parts = each(parts, |part| cut(part, |rest| run(rest, is_han_or_kana)));
    each(parts, |part| cut(part, v3_word))
}

/// `[ASCII punctuation][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|`
/// `\s*[\r\n]+|\s+(?!\S)|\s+`
fn v3_word(rest: &str) -> usize {
    let punctuation = one(rest, |c| c.is_ascii_punctuation());
    let ascii = run(&rest[punctuation..], |c| c.is_ascii_alphabetic());
    if punctuation > 0 && ascii > 0 {
        return punctuation + ascii;
    }
    let before = one(rest, |c| {
        !is_newline(c) && !is_letter_or_mark(c) && !is_punctuation_or_symbol(c)
    });
    let letters = run(&rest[before..], is_letter_or_mark);
    if letters > 0 {
        return before + letters;
    }
    let space = usize::from(rest.starts_with(' '));
    let signs = run(&rest[space..], is_punctuation_or_symbol);
    if signs > 0 {
        let end = space + signs;
        return end + run(&rest[end..], is_newline);
    }
    lines_or_spaces(rest)
}

/// `\s?[wanted]+`
fn after_space(rest: &str, wanted: impl Fn(char) -> bool) -> usize {
    let space = one(rest, char::is_whitespace);
    match run(&rest[space..], wanted) {
        0 => 0,
        found => space + found,
    }
}

/// `\s+$`
fn trailing_space(part: &str) -> Vec<&str> {
    let (before, space) = part.split_at(part.trim_end().len());
    [before, space]
        .into_iter()
        .filter(|it| !it.is_empty())
        .collect()
}

fn is_cased_letter(c: char) -> bool {
    let at = CASED_LETTERS.partition_point(|(_, last)| *last < c);
    CASED_LETTERS.get(at).is_some_and(|(first, _)| *first <= c)
}

/// `[!-/:-~！-／：-～‘-‟　-。]`; white space beyond ASCII is a vertical tab to llama.cpp.
fn is_llm_punctuation(c: char) -> bool {
    matches!(
        c,
        '!'..='/' | ':'..='~' | '\u{ff01}'..='\u{ff0f}' | '\u{ff1a}'..='\u{ff5e}'
            | '\u{2018}'..='\u{201f}' | '\u{3001}'..='\u{3002}'
    )
}

/// `[一-龥ࠀ-一가-퟿]`, which is nearly everything from the Indic scripts to Hangul.
fn is_of_the_east(c: char) -> bool {
    let listed = matches!(c, '\u{800}'..='\u{9fa5}' | '\u{ac00}'..='\u{d7ff}');
    listed && !c.is_whitespace()
}
