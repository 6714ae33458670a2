//! Cuts special tokens that are spelled out in a text from the text between them.

use std::collections::BTreeMap;

use super::TokenKind;
use super::prefixes::Prefixes;

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Special(u32),
    Text(&'a str),
}

/// Tokens that are found before anything else, and what they do to their surroundings.
#[derive(Debug, Clone)]
pub(super) struct Specials {
    prefixes: Prefixes,
    /// Tokens that swallow the ASCII white space behind them, ascending.
    swallows_space: Vec<u32>,
}

impl Specials {
    pub(super) fn new(
        pieces: &[Vec<u8>],
        kinds: &[TokenKind],
        mut swallows_space: Vec<u32>,
    ) -> Self {
        let is_special = |id: &u32| match kinds[*id as usize] {
            TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown => true,
            TokenKind::Byte | TokenKind::Normal | TokenKind::Unused => false,
        };
        swallows_space.sort_unstable();
        Self {
            prefixes: Prefixes::new((0..kinds.len() as u32).filter(is_special).collect(), pieces),
            swallows_space,
        }
    }

    /// The parts of `text`: longer tokens are cut out before shorter ones wherever they stand.
    /// Tokens that are no text are found only if `control`.
    pub(super) fn cut<'a>(
        &self,
        pieces: &[Vec<u8>],
        kinds: &[TokenKind],
        text: &'a str,
        control: bool,
    ) -> Vec<Part<'a>> {
        let allowed = |id: &u32| control || kinds[*id as usize] == TokenKind::UserDefined;
        let mut found: Vec<(usize, u32)> = Vec::new();
        for at in 0..text.len() {
            let here = self.prefixes.at_front(pieces, &text.as_bytes()[at..]);
            found.extend(here.filter(allowed).map(|id| (at, id)));
        }
        let len = |id: u32| pieces[id as usize].len();
        found.sort_by_key(|(at, id)| (std::cmp::Reverse(len(*id)), *id, *at));
        let mut taken = Taken::default();
        for (at, id) in found {
            if taken.take(at, at + len(id), Some(id))
                && self.swallows_space.binary_search(&id).is_ok()
            {
                let start = at + len(id);
                let end = start + leading_space(&text[start..taken.free_until(start, text.len())]);
                taken.take(start, end, None);
            }
        }
        taken.parts(text)
    }
}

/// Bytes of ASCII white space at the front.
fn leading_space(text: &str) -> usize {
    let is_space = |c| matches!(c, '\t'..='\r' | ' ');
    text.len() - text.trim_start_matches(is_space).len()
}

/// Stretches of a text that are no longer text: by their start, their end and what they became.
#[derive(Default)]
struct Taken {
    stretches: BTreeMap<usize, (usize, Option<u32>)>,
}

impl Taken {
    /// Takes a stretch unless a part of it is taken, or it is empty.
    fn take(&mut self, start: usize, end: usize, by: Option<u32>) -> bool {
        let before = self.stretches.range(..=start).next_back();
        let free = before.is_none_or(|(_, (before_end, _))| *before_end <= start)
            && self.free_until(start, end) == end
            && start < end;
        if free {
            self.stretches.insert(start, (end, by));
        }
        free
    }

    /// Where the first stretch from `start` on begins, at most `end`.
    fn free_until(&self, start: usize, end: usize) -> usize {
        let next = self.stretches.range(start..).next();
        next.map_or(end, |(next_start, _)| end.min(*next_start))
    }

    fn parts(self, text: &str) -> Vec<Part<'_>> {
        let mut parts = Vec::new();
        let mut at = 0;
        for (start, (end, by)) in self.stretches {
            if at < start {
                parts.push(Part::Text(&text[at..start]));
            }
            parts.extend(by.map(Part::Special));
            at = end;
        }
        if at < text.len() {
            parts.push(Part::Text(&text[at..]));
        }
        parts
    }
}
