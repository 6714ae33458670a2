//! One forward pass as a back end sees it: rows of tokens, placed in the cache.

/// positions; keys and values are kept, shared and given back in pages of this many.
pub const PAGE_LEN: usize = 32;

/// An adapter that a model has been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdapterId(pub u32);

/// One token on its way through the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassRow {
    /// Its id; within the vocabulary.
    pub token: u32,
    /// Its position in the sequence, from 0.
    pub position: u32,
    /// Index among [`Pass::sequences`].
    pub sequence: u32,
    /// Where its keys and values go: `page * PAGE_LEN + position % PAGE_LEN`.
    pub place: u32,
}

/// A sequence that has rows in the pass.
#[derive(Debug, Clone, PartialEq)]
pub struct PassSequence {
    /// Page `i` holds positions from `i * PAGE_LEN` on; enough for every row of the pass.
    pub pages: Vec<u32>,
    /// Positions cached when the pass is done.
    pub len: u32,
    /// Adapters that apply, with the factor of each.
    pub adapters: Vec<(AdapterId, f32)>,
}

/// What a back end computes at once. Rows of a sequence are in order and without gaps.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pass {
    /// At most [`crate::memory::MAX_BATCH`].
    pub rows: Vec<PassRow>,
    /// In the order of their first rows.
    pub sequences: Vec<PassSequence>,
    /// Indices of the rows whose logits are wanted, ascending.
    pub wanted: Vec<u32>,
}

impl PassSequence {
    /// Where position `position` lies in the cache.
    pub fn place(&self, position: usize) -> usize {
        self.pages[position / PAGE_LEN] as usize * PAGE_LEN + position % PAGE_LEN
    }
}

impl Pass {
    /// The positions that `row` attends to: from the first in its window to itself, or, where
    /// tokens see those after them too, to the end of its sequence.
    pub fn seen(&self, row: usize, window: Option<usize>, causal: bool) -> std::ops::Range<usize> {
        let row = &self.rows[row];
        let end = match causal {
            true => row.position as usize + 1,
            false => self.sequences[row.sequence as usize].len as usize,
        };
        let first = match window {
            Some(window) => (row.position as usize + 1).saturating_sub(window),
            None => 0,
        };
        first..end
    }
}
