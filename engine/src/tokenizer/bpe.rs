//! Byte-level pair encoding, as GPT-2 has it: within each word the pair of lowest rank merges first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::TokenKind;
use super::TokenizerError;
use super::bytes::{alphabet, byte_of};
use super::prefixes::Prefixes;
use super::split::{Family, PreTokenizer};
use super::vocab::{Vocab, spelled_byte};

/// Merge rules between symbols: token ids, and from the first id that is no token on, spellings
/// that rules mention and the vocabulary lacks.
#[derive(Debug, Clone)]
pub(super) struct Bpe {
    pre: PreTokenizer,
    /// The symbol of each single byte.
    byte_symbols: Box<[u32; 256]>,
    /// By the two symbols merged: rank, and the symbol they become.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// What is left of each symbol that is no token, from the first on.
    leftovers: Vec<Vec<u32>>,
    /// Whole words, where they are looked up before merging; otherwise empty.
    words: Prefixes,
}

/// What tokens stand for: their spelling in the byte alphabet, or the spelling itself for tokens
/// that are no text or are spelled in other characters.
pub(super) fn pieces(spellings: &[String], kinds: &[TokenKind]) -> Vec<Vec<u8>> {
    let alphabet = alphabet();
    let verbatim = |spelling: &String| spelling.clone().into_bytes();
    let piece = |(spelling, kind): (&String, &TokenKind)| match kind {
        TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown | TokenKind::Unused => {
            verbatim(spelling)
        }
        TokenKind::Byte => spelled_byte(spelling).map_or_else(Vec::new, |byte| vec![byte]),
        TokenKind::Normal => {
            let bytes = spelling.chars().map(|spelled| byte_of(&alphabet, spelled));
            let bytes = bytes.collect::<Option<Vec<u8>>>();
            bytes.unwrap_or_else(|| verbatim(spelling))
        }
    };
    spellings.iter().zip(kinds).map(piece).collect()
}

/// Gives every spelling a symbol.
struct Symbols<'a> {
    by_spelling: HashMap<&'a str, u32>,
    extra: HashMap<String, u32>,
    leftovers: Vec<Vec<u32>>,
    n_tokens: u32,
}

impl<'a> Symbols<'a> {
    fn new(spellings: &'a [String], kinds: &[TokenKind]) -> Self {
        let of_text = |(_, kind): &(_, &TokenKind)| kind.is_of_text();
        let tokens = spellings.iter().enumerate().zip(kinds).filter(of_text);
        let mut by_spelling = HashMap::with_capacity(spellings.len());
        for ((id, spelling), _) in tokens {
            by_spelling.entry(spelling.as_str()).or_insert(id as u32);
        }
        Self {
            by_spelling,
            extra: HashMap::new(),
            leftovers: Vec::new(),
            n_tokens: spellings.len() as u32,
        }
    }

    fn symbol(&mut self, spelling: &str) -> u32 {
        if let Some(id) = self
            .by_spelling
            .get(spelling)
            .or_else(|| self.extra.get(spelling))
        {
            return *id;
        }
        let symbol = self.n_tokens + self.leftovers.len() as u32;
        // As in llama.cpp, only the ASCII characters of such a spelling are looked up again.
        let characters = spelling.char_indices();
        let leftover = characters.filter_map(|(at, c)| {
            self.by_spelling
                .get(&spelling[at..at + c.len_utf8()])
                .filter(|_| c.is_ascii())
        });
        self.leftovers.push(leftover.copied().collect());
        self.extra.insert(spelling.to_owned(), symbol);
        symbol
    }
}

impl Bpe {
    pub(super) fn new(
        family: Family,
        spellings: &[String],
        merges: &[String],
        vocab: &Vocab,
    ) -> Result<Self, TokenizerError> {
        let mut symbols = Symbols::new(spellings, &vocab.kinds);
        let alphabet = alphabet();
        let byte_symbols: [u32; 256] =
            std::array::from_fn(|byte| symbols.symbol(alphabet[byte].encode_utf8(&mut [0; 4])));
        let mut rules = HashMap::with_capacity(merges.len());
        let mut joined = String::new();
        for (index, merge) in merges.iter().enumerate() {
            // The left token may itself begin with a space.
            let space = merge.char_indices().skip(1).find(|(_, c)| *c == ' ');
            let Some((space, _)) = space else {
                return Err(TokenizerError::BadMerge {
                    index,
                    merge: merge.clone(),
                });
            };
            let (left, right) = (&merge[..space], &merge[space + 1..]);
            let pair = (symbols.symbol(left), symbols.symbol(right));
            joined.clear();
            joined.push_str(left);
            joined.push_str(right);
            let merged = symbols.symbol(&joined);
            rules.entry(pair).or_insert((index as u32, merged));
        }
        let is_word =
            |id: &u32| family.whole_words && vocab.kinds[*id as usize] == TokenKind::Normal;
        let words = (0..vocab.len() as u32).filter(is_word).collect();
        Ok(Self {
            pre: family.pre,
            byte_symbols: Box::new(byte_symbols),
            merges: rules,
            leftovers: symbols.leftovers,
            words: Prefixes::new(words, &vocab.pieces),
        })
    }

    /// Appends the tokens of `text`. A byte that has no token is passed over, as llama.cpp and the
    /// library that trains such vocabularies do.
    pub(super) fn encode(&self, vocab: &Vocab, text: &str, tokens: &mut Vec<u32>) {
        for word in self.pre.split(text) {
            match self.words.exact(&vocab.pieces, word.as_bytes()) {
                Some(id) => tokens.push(id),
                None => self.encode_word(vocab, word.as_bytes(), tokens),
            }
        }
    }

    /// Merges the lowest-ranked pair, leftmost first, until none is left.
    fn encode_word(&self, vocab: &Vocab, word: &[u8], tokens: &mut Vec<u32>) {
        let symbols = word
            .iter()
            .map(|byte| self.byte_symbols[usize::from(*byte)]);
        let mut chain = Chain::new(symbols.collect());
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
        for symbol in chain.symbols() {
            match (symbol as usize).checked_sub(vocab.len()) {
                None => tokens.push(symbol),
                Some(extra) => tokens.extend(&self.leftovers[extra]),
            }
        }
    }

    fn offer(&self, chain: &Chain, left: usize, queue: &mut BinaryHeap<Reverse<(u32, usize)>>) {
        if let Some(right) = chain.after(left)
            && let Some((rank, _)) = self.merges.get(&(chain.ids[left], chain.ids[right]))
        {
            queue.push(Reverse((*rank, left)));
        }
    }

    /// The right neighbour and the merged symbol, if the pair at `left` is still the one of `rank`.
    fn merge_at(&self, chain: &Chain, left: usize, rank: u32) -> Option<(usize, u32)> {
        let right = chain.after(left)?;
        let (found, merged) = self.merges.get(&(chain.ids[left], chain.ids[right]))?;
        (*found == rank && chain.alive[left]).then_some((right, *merged))
    }
}

/// A word's symbols, linked so that merging two takes no moving.
struct Chain {
    ids: Vec<u32>,
    alive: Vec<bool>,
    after: Vec<usize>,
    before: Vec<usize>,
}

impl Chain {
    fn new(ids: Vec<u32>) -> Self {
        let n = ids.len();
        Self {
            ids,
            alive: vec![true; n],
            after: (1..=n).collect(),
            before: (0..n).map(|at| at.wrapping_sub(1)).collect(),
        }
    }

    fn after(&self, at: usize) -> Option<usize> {
        Some(self.after[at]).filter(|after| *after < self.ids.len())
    }

    fn before(&self, at: usize) -> Option<usize> {
        Some(self.before[at]).filter(|before| *before < self.ids.len())
    }

    fn merge(&mut self, left: usize, right: usize, merged: u32) {
        self.ids[left] = merged;
        self.alive[right] = false;
        self.after[left] = self.after[right];
        if let Some(after) = self.after(left) {
            self.before[after] = left;
        }
    }

    fn symbols(&self) -> impl Iterator<Item = u32> {
        self.ids
            .iter()
            .zip(&self.alive)
            .filter(|(_, alive)| **alive)
            .map(|(id, _)| *id)
    }
}
