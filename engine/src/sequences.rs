//! Which page of the cache holds what: the bookkeeping of many sequences, without the data.
//!
//! A sequence is a list of pages and a length. Pages are counted, so that sequences share a common
//! beginning; one that would write into a shared page gets a copy first. Nothing here knows where
//! pages lie: a back end is told which to copy ([`PageCopy`]) and where each row goes
//! ([`Pass`]).
//!
//! Invariant: a page's count is the number of sequences that list it, and a page is free exactly
//! when its count is 0.

use std::collections::BTreeMap;

use crate::error::EngineError;
use crate::memory::MAX_BATCH;
use crate::pass::{AdapterId, PAGE_LEN, Pass, PassRow, PassSequence};

/// sequences open at once; a node computes a handful of answers and remembers some beginnings.
pub const MAX_SEQUENCES: usize = 256;

/// adapters on one sequence; more than anybody stacks.
pub const MAX_STACK: usize = 8;

/// A text in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(u64);

/// A token to be appended to a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRow {
    /// Where it is appended.
    pub sequence: SequenceId,
    /// Its id.
    pub token: u32,
    /// Whether the logits after it are wanted.
    pub logits: bool,
}

/// A page to be copied before a pass: keys and values of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageCopy {
    /// Read.
    pub from: u32,
    /// Written.
    pub to: u32,
}

/// A page whose keys have to be turned back, because its positions became smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageTurn {
    /// Read.
    pub from: u32,
    /// Written; the same page where nobody else has it.
    pub to: u32,
    /// Positions by which it moved down.
    pub by: u32,
}

#[derive(Debug, Clone, Default)]
struct Sequence {
    pages: Vec<u32>,
    len: usize,
    adapters: Vec<(AdapterId, f32)>,
}

/// All sequences of a model.
#[derive(Debug, Clone)]
pub struct Sequences {
    context_len: usize,
    vocab_size: usize,
    max_rows: usize,
    max_pages: usize,
    /// Sequences that list each page.
    counts: Vec<u32>,
    /// Pages that were used and are free; beyond `counts` lie those never used.
    free: Vec<u32>,
    open: BTreeMap<SequenceId, Sequence>,
    next_id: u64,
}

impl Sequences {
    /// No sequence, room for `max_pages` pages.
    pub fn new(context_len: usize, vocab_size: usize, max_pages: usize) -> Self {
        Self {
            context_len,
            vocab_size,
            max_rows: MAX_BATCH,
            max_pages,
            counts: Vec::new(),
            free: Vec::new(),
            open: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Takes up to `max_rows` rows in one pass, for models that read a text whole.
    pub fn with_max_rows(self, max_rows: usize) -> Self {
        Self { max_rows, ..self }
    }

    /// A sequence without tokens.
    ///
    /// # Errors
    /// [`EngineError::TooManySequences`].
    pub fn open(&mut self) -> Result<SequenceId, EngineError> {
        self.insert(Sequence::default())
    }

    /// Forgets a sequence; one that is not open stays so.
    pub fn close(&mut self, id: SequenceId) {
        if let Some(sequence) = self.open.remove(&id) {
            self.release(&sequence.pages);
        }
    }

    /// Positions cached.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`].
    pub fn len(&self, id: SequenceId) -> Result<usize, EngineError> {
        Ok(self.get(id)?.len)
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Pages that nobody has.
    pub fn free_pages(&self) -> usize {
        self.max_pages - self.counts.len() + self.free.len()
    }

    /// Pages that may be in use at once.
    pub fn max_pages(&self) -> usize {
        self.max_pages
    }

    /// Forgets every position from `len` on.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`]; [`EngineError::Position`] when there are not so many.
    pub fn truncate(&mut self, id: SequenceId, len: usize) -> Result<(), EngineError> {
        self.check_len(id, len)?;
        let sequence = self.open.get_mut(&id).expect("just looked at");
        sequence.len = len;
        let rest = sequence.pages.split_off(len.div_ceil(PAGE_LEN));
        self.release(&rest);
        Ok(())
    }

    /// A new sequence that begins with the first `len` positions of `id`.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`], [`EngineError::TooManySequences`];
    /// [`EngineError::Position`] when there are not so many positions.
    pub fn share_prefix(&mut self, id: SequenceId, len: usize) -> Result<SequenceId, EngineError> {
        self.check_len(id, len)?;
        let from = self.get(id)?;
        let shared = Sequence {
            pages: from.pages[..len.div_ceil(PAGE_LEN)].to_vec(),
            len,
            adapters: from.adapters.clone(),
        };
        let pages = shared.pages.clone();
        let id = self.insert(shared)?;
        for page in pages {
            self.counts[page as usize] += 1;
        }
        Ok(id)
    }

    /// Replaces the adapters of a sequence. What is cached stays as it was computed, so this is
    /// for sequences that are empty or shall go on as they are.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`]; [`EngineError::BadParameter`] for more than
    /// [`MAX_STACK`], or for a factor that is not a finite number.
    pub fn set_adapters(
        &mut self,
        id: SequenceId,
        adapters: Vec<(AdapterId, f32)>,
    ) -> Result<(), EngineError> {
        self.get(id)?;
        if adapters.len() > MAX_STACK {
            return Err(EngineError::BadParameter {
                name: "adapters",
                value: adapters.len().to_string(),
                expected: format!("at most {MAX_STACK}"),
            });
        }
        if let Some((_, scale)) = adapters.iter().find(|(_, scale)| !scale.is_finite()) {
            return Err(EngineError::BadParameter {
                name: "adapter scale",
                value: scale.to_string(),
                expected: "a finite number".to_owned(),
            });
        }
        self.open.get_mut(&id).expect("just looked at").adapters = adapters;
        Ok(())
    }

    /// Whether a sequence uses `adapter`.
    pub fn uses(&self, adapter: AdapterId) -> bool {
        self.open
            .values()
            .any(|sequence| sequence.adapters.iter().any(|(id, _)| *id == adapter))
    }

    /// Drops `discard` positions after the first `keep`; what follows moves down. Both are whole
    /// pages, and so that tokens after the gap keep their order the caller feeds on at the new
    /// length. The back end turns the keys of the pages returned.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`]; [`EngineError::Position`] when there are not so many
    /// positions; [`EngineError::BadParameter`] for parts of pages; [`EngineError::CacheFull`]
    /// when a shared page has to be copied and no page is free. Nothing has changed then.
    pub fn shift(
        &mut self,
        id: SequenceId,
        keep: usize,
        discard: usize,
    ) -> Result<Vec<PageTurn>, EngineError> {
        self.check_len(id, keep.saturating_add(discard))?;
        if !keep.is_multiple_of(PAGE_LEN) || !discard.is_multiple_of(PAGE_LEN) {
            return Err(EngineError::BadParameter {
                name: "context shift",
                value: format!("keep {keep}, discard {discard}"),
                expected: format!("multiples of {PAGE_LEN}"),
            });
        }
        let (first, last) = (keep / PAGE_LEN, (keep + discard) / PAGE_LEN);
        let pages = self.get(id)?.pages.clone();
        let shared = |page: &&u32| self.counts[**page as usize] > 1;
        let needed = pages[last..].iter().filter(shared).count();
        // Those dropped come free first, where nobody else has them.
        let freed = pages[first..last]
            .iter()
            .filter(|page| !shared(page))
            .count();
        if needed > self.free_pages() + freed {
            return Err(self.full(needed));
        }
        self.release(&pages[first..last]);
        let mut kept = pages[..first].to_vec();
        let mut turns = Vec::with_capacity(pages.len() - last);
        for from in &pages[last..] {
            let to = self.own(*from);
            kept.push(to);
            turns.push(PageTurn {
                from: *from,
                to,
                by: discard as u32,
            });
        }
        let sequence = self.open.get_mut(&id).expect("just looked at");
        sequence.pages = kept;
        sequence.len -= discard;
        Ok(turns)
    }

    /// Places `rows` in the cache. The lengths change with [`Sequences::commit`] only, so a pass
    /// that failed can be begun again.
    ///
    /// # Errors
    /// [`EngineError::BatchSize`], [`EngineError::UnknownSequence`],
    /// [`EngineError::UnknownToken`], [`EngineError::Position`] beyond the context,
    /// [`EngineError::CacheFull`]. Nothing has changed then.
    pub fn begin(&mut self, rows: &[BatchRow]) -> Result<(Pass, Vec<PageCopy>), EngineError> {
        self.check(rows)?;
        let mut pass = Pass::default();
        let mut order: Vec<SequenceId> = Vec::new();
        let mut added: Vec<usize> = Vec::new();
        for row in rows {
            match order.iter().position(|id| *id == row.sequence) {
                Some(at) => added[at] += 1,
                None => {
                    order.push(row.sequence);
                    added.push(1);
                }
            }
        }
        let needed = order
            .iter()
            .zip(&added)
            .map(|(id, added)| self.pages_needed(*id, *added))
            .sum();
        if needed > self.free_pages() {
            return Err(self.full(needed));
        }
        let mut copies = Vec::new();
        for (id, added) in order.iter().zip(&added) {
            copies.extend(self.make_room(*id, *added));
            let sequence = &self.open[id];
            pass.sequences.push(PassSequence {
                pages: sequence.pages.clone(),
                len: sequence.len as u32,
                adapters: sequence.adapters.clone(),
            });
        }
        for (i, row) in rows.iter().enumerate() {
            let at = order
                .iter()
                .position(|id| *id == row.sequence)
                .expect("every sequence was listed above");
            let sequence = &mut pass.sequences[at];
            let position = sequence.len;
            sequence.len += 1;
            pass.rows.push(PassRow {
                token: row.token,
                position,
                sequence: at as u32,
                place: sequence.place(position as usize) as u32,
            });
            if row.logits {
                pass.wanted.push(i as u32);
            }
        }
        Ok((pass, copies))
    }

    /// Counts the rows of a pass that was computed.
    pub fn commit(&mut self, rows: &[BatchRow]) {
        for row in rows {
            if let Some(sequence) = self.open.get_mut(&row.sequence) {
                sequence.len += 1;
            }
        }
    }

    fn check(&self, rows: &[BatchRow]) -> Result<(), EngineError> {
        if rows.is_empty() || rows.len() > self.max_rows {
            return Err(EngineError::BatchSize {
                tokens: rows.len(),
                max_tokens: self.max_rows,
            });
        }
        let mut ends: BTreeMap<SequenceId, usize> = BTreeMap::new();
        for row in rows {
            let len = self.get(row.sequence)?.len;
            let end = ends.entry(row.sequence).or_insert(len);
            *end += 1;
            if *end > self.context_len {
                return Err(EngineError::Position {
                    start_pos: len,
                    tokens: *end - len,
                    cached_len: len,
                    context_len: self.context_len,
                });
            }
            if row.token as usize >= self.vocab_size {
                return Err(EngineError::UnknownToken {
                    token: row.token,
                    vocab_size: self.vocab_size,
                });
            }
        }
        Ok(())
    }

    /// Pages that a sequence takes for `added` more positions.
    ///
    /// # Errors
    /// [`EngineError::UnknownSequence`].
    pub fn pages_for(&self, id: SequenceId, added: usize) -> Result<usize, EngineError> {
        self.get(id)?;
        Ok(self.pages_needed(id, added))
    }

    /// New pages that a sequence takes for `added` more positions.
    fn pages_needed(&self, id: SequenceId, added: usize) -> usize {
        let Sequence { pages, len, .. } = &self.open[&id];
        let new = (len + added).div_ceil(PAGE_LEN).saturating_sub(pages.len());
        new + usize::from(self.writes_shared(pages, *len))
    }

    /// Whether the next position falls into a page that others have too.
    fn writes_shared(&self, pages: &[u32], len: usize) -> bool {
        pages
            .get(len / PAGE_LEN)
            .is_some_and(|page| self.counts[*page as usize] > 1)
    }

    /// Gives a sequence the pages for `added` more positions, which the caller has counted.
    fn make_room(&mut self, id: SequenceId, added: usize) -> Option<PageCopy> {
        let Sequence { mut pages, len, .. } = self.open[&id].clone();
        let mut copy = None;
        if self.writes_shared(&pages, len) {
            let from = pages[len / PAGE_LEN];
            let to = self.own(from);
            pages[len / PAGE_LEN] = to;
            copy = Some(PageCopy { from, to });
        }
        while pages.len() < (len + added).div_ceil(PAGE_LEN) {
            pages.push(self.take());
        }
        if let Some(sequence) = self.open.get_mut(&id) {
            sequence.pages = pages;
        }
        // Nothing is worth copying from a page of which no position is used.
        copy.filter(|_| !len.is_multiple_of(PAGE_LEN))
    }

    /// A page that only the caller has, in place of `page`.
    fn own(&mut self, page: u32) -> u32 {
        if self.counts[page as usize] == 1 {
            return page;
        }
        self.counts[page as usize] -= 1;
        self.take()
    }

    /// A free page; there is one.
    fn take(&mut self) -> u32 {
        let page = self.free.pop().unwrap_or_else(|| {
            self.counts.push(0);
            (self.counts.len() - 1) as u32
        });
        debug_assert!(self.counts.len() <= self.max_pages, "the caller counted");
        self.counts[page as usize] = 1;
        page
    }

    fn release(&mut self, pages: &[u32]) {
        for page in pages {
            let count = &mut self.counts[*page as usize];
            *count -= 1;
            if *count == 0 {
                self.free.push(*page);
            }
        }
    }

    fn insert(&mut self, sequence: Sequence) -> Result<SequenceId, EngineError> {
        if self.open.len() >= MAX_SEQUENCES {
            return Err(EngineError::TooManySequences {
                max_sequences: MAX_SEQUENCES,
            });
        }
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        self.open.insert(id, sequence);
        Ok(id)
    }

    fn get(&self, id: SequenceId) -> Result<&Sequence, EngineError> {
        self.open.get(&id).ok_or(EngineError::UnknownSequence)
    }

    fn check_len(&self, id: SequenceId, len: usize) -> Result<(), EngineError> {
        let cached_len = self.get(id)?.len;
        if len > cached_len {
            return Err(EngineError::Position {
                start_pos: len,
                tokens: 0,
                cached_len,
                context_len: self.context_len,
            });
        }
        Ok(())
    }

    fn full(&self, needed_pages: usize) -> EngineError {
        EngineError::CacheFull {
            needed_positions: needed_pages * PAGE_LEN,
            free_positions: self.free_pages() * PAGE_LEN,
            max_positions: self.max_pages * PAGE_LEN,
        }
    }
}

#[cfg(test)]
mod tests;
