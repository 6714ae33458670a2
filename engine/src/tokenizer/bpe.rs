//! Byte-pair encoding over the byte alphabet: GPT-2's and its descendants'.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::bytes::{alphabet, byte_of};
use super::{PreTokenizer, TokenKind, TokenizerError};

/// Merge rules between token ids.
#[derive(Debug, Clone)]
pub(super) struct Bpe {
    pre: PreTokenizer,
    /// The token of each single byte.
    byte_tokens: Box<[Option<u32>; 256]>,
    /// By the two tokens merged: rank, and the token they become.
    merges: BTreeMap<(u32, u32), (u32, u32)>,
    /// Whole words, for pre-tokenizers that look them up before merging; otherwise empty.
    words: BTreeMap<Vec<u8>, u32>,
}

/// What tokens stand for: their spelling in the byte alphabet, or the spelling itself for tokens
/// that are no text.
pub(super) fn pieces(
    spellings: &[String],
    kinds: &[TokenKind],
) -> Result<Vec<Vec<u8>>, TokenizerError> {
    let alphabet = alphabet();
    let piece = |(id, (spelling, kind)): (usize, (&String, &TokenKind))| match kind {
        TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown | TokenKind::Unused => {
            Ok(spelling.clone().into_bytes())
        }
        TokenKind::Normal | TokenKind::Byte => spelling
            .chars()
            .map(|spelled| byte_of(&alphabet, spelled))
            .collect::<Option<Vec<u8>>>()
            .ok_or_else(|| TokenizerError::BadSpelling {
                id,
                spelling: spelling.clone(),
            }),
    };
    spellings.iter().zip(kinds).enumerate().map(piece).collect()
}

impl Bpe {
    pub(super) fn new(
        pre: PreTokenizer,
        spellings: &[String],
        merges: &[String],
    ) -> Result<Self, TokenizerError> {
        let ids: BTreeMap<&str, u32> = spellings
            .iter()
            .enumerate()
            .map(|(id, it)| (it.as_str(), id as u32))
            .collect();
        let alphabet = alphabet();
        let byte_token = |byte: usize| {
            ids.get(alphabet[byte].encode_utf8(&mut [0; 4]) as &str)
                .copied()
        };
        let mut rules = BTreeMap::new();
        for (index, merge) in merges.iter().enumerate() {
            let Some((left, right)) = merge.split_once(' ') else {
                return Err(TokenizerError::BadMerge {
                    index,
                    merge: merge.clone(),
                });
            };
            // A rule whose result is no token can never show in the output.
            let merged = [left, right].concat();
            if let (Some(left), Some(right), Some(merged)) =
                (ids.get(left), ids.get(right), ids.get(merged.as_str()))
            {
                rules
                    .entry((*left, *right))
                    .or_insert((index as u32, *merged));
            }
        }
        let whole_words = pre == PreTokenizer::LlamaBpe;
        let words = spellings
            .iter()
            .enumerate()
            .filter(|_| whole_words)
            .filter_map(|(id, spelling)| {
                let bytes: Option<Vec<u8>> =
                    spelling.chars().map(|it| byte_of(&alphabet, it)).collect();
                Some((bytes?, id as u32))
            });
        Ok(Self {
            pre,
            byte_tokens: Box::new(std::array::from_fn(byte_token)),
            merges: rules,
            words: words.collect(),
        })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        for word in self.pre.split(text) {
            match self.words.get(word.as_bytes()) {
                Some(id) => tokens.push(*id),
                None => self.encode_word(word.as_bytes(), tokens)?,
            }
        }
        Ok(())
    }

    /// Merges the lowest-ranked pair, leftmost first, until none is left.
    fn encode_word(&self, word: &[u8], tokens: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let token = |byte: &u8| {
            self.byte_tokens[usize::from(*byte)].ok_or(TokenizerError::NoToken { byte: *byte })
        };
        let symbols: Vec<u32> = word.iter().map(token).collect::<Result<_, _>>()?;
        let mut chain = Chain::new(symbols);
        let mut queue = BinaryHeap::new();
        for left in 0..word.len().saturating_sub(1) {
            self.offer(&chain, left, &mut queue);
        }
        while let Some(Reverse((rank, left))) = queue.pop() {
            // Entries are not taken back when a neighbour merges: stale ones are passed over.
            let Some((right, merged)) = self.merge_at(&chain, left, rank) else {
                continue;
            };
            chain.merge(left, right, merged);
            self.offer(&chain, left, &mut queue);
            if let Some(before) = chain.before(left) {
                self.offer(&chain, before, &mut queue);
            }
        }
        tokens.extend(chain.symbols());
        Ok(())
    }

    fn offer(&self, chain: &Chain, left: usize, queue: &mut BinaryHeap<Reverse<(u32, usize)>>) {
        if let Some(right) = chain.after(left)
            && let Some((rank, _)) = self.merges.get(&(chain.ids[left], chain.ids[right]))
        {
            queue.push(Reverse((*rank, left)));
        }
    }

    /// The right neighbour and the merged token, if the pair at `left` is still the one of `rank`.
    fn merge_at(&self, chain: &Chain, left: usize, rank: u32) -> Option<(usize, u32)> {
        let right = chain.after(left)?;
        let (found, merged) = self.merges.get(&(chain.ids[left], chain.ids[right]))?;
        (*found == rank && chain.alive[left]).then_some((right, *merged))
    }
}

/// A word's symbols, linked so that merging two takes no moving.
pub(super) struct Chain {
    pub(super) ids: Vec<u32>,
    pub(super) alive: Vec<bool>,
    after: Vec<usize>,
    before: Vec<usize>,
}

impl Chain {
    pub(super) fn new(ids: Vec<u32>) -> Self {
        let n = ids.len();
        Self {
            ids,
            alive: vec![true; n],
            after: (1..=n).collect(),
            before: (0..n).map(|at| at.wrapping_sub(1)).collect(),
        }
    }

    pub(super) fn after(&self, at: usize) -> Option<usize> {
        Some(self.after[at]).filter(|after| *after < self.ids.len())
    }

    pub(super) fn before(&self, at: usize) -> Option<usize> {
        Some(self.before[at]).filter(|before| *before < self.ids.len())
    }

    pub(super) fn merge(&mut self, left: usize, right: usize, merged: u32) {
        self.ids[left] = merged;
        self.alive[right] = false;
        self.after[left] = self.after[right];
        if let Some(after) = self.after(left) {
            self.before[after] = left;
        }
    }

    pub(super) fn symbols(&self) -> impl Iterator<Item = u32> {
        self.ids
            .iter()
            .zip(&self.alive)
            .filter(|(_, alive)| **alive)
            .map(|(id, _)| *id)
    }
}
