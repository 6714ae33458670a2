//! The set of tokens that may come next.

/// Ids in one word.
const WORD_BITS: usize = u32::BITS as usize;

/// A set of token ids below `vocab_size`, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenMask {
    words: Vec<u32>,
    vocab_size: usize,
}

impl TokenMask {
    /// The empty set.
    pub fn none(vocab_size: usize) -> Self {
        Self {
            words: vec![0; vocab_size.div_ceil(WORD_BITS)],
            vocab_size,
        }
    }

    /// Takes over the bits of `words`, the lowest id in the lowest bit; what is missing at the end
    /// is not in the set, and what lies beyond the vocabulary is ignored.
    pub(crate) fn set_words(&mut self, words: &[u32]) {
        let given = words.len().min(self.words.len());
        self.words[..given].copy_from_slice(&words[..given]);
        self.words[given..].fill(0);
        let used = self.vocab_size % WORD_BITS;
        if let Some(last) = self.words.last_mut()
            && used != 0
        {
            *last &= (1 << used) - 1;
        }
    }

    /// The bits, the lowest id in the lowest bit of the first word.
    pub(crate) fn words(&self) -> &[u32] {
        &self.words
    }

    /// Ids below this can be in the set.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Puts `id` in; an id beyond the vocabulary is ignored.
    pub fn allow(&mut self, id: u32) {
        if (id as usize) < self.vocab_size {
            self.words[id as usize / WORD_BITS] |= 1 << (id as usize % WORD_BITS);
        }
    }

    /// True for an id in the set.
    pub fn allows(&self, id: u32) -> bool {
        self.words
            .get(id as usize / WORD_BITS)
            .is_some_and(|word| word >> (id as usize % WORD_BITS) & 1 == 1)
    }

    /// Ids in the set.
    pub fn count(&self) -> usize {
        self.words
            .iter()
            .map(|word| word.count_ones() as usize)
            .sum()
    }

    /// The ids in the set, ascending.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().flat_map(|(place, word)| {
            let first = (place * WORD_BITS) as u32;
            (0..u32::BITS)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| first + bit)
        })
    }

    /// Sets the scores of the tokens outside the set to negative infinity; scores beyond the
    /// vocabulary too.
    pub(super) fn exclude(&self, scores: &mut [f32]) {
        for (place, chunk) in scores.chunks_mut(WORD_BITS).enumerate() {
            let word = self.words.get(place).copied().unwrap_or(0);
            if word == u32::MAX {
                continue;
            }
            for (bit, score) in chunk.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
    }
}
