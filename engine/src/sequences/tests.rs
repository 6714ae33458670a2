//! Sequences against a model of them that keeps every text whole.

use proptest::prelude::*;

use super::*;

const PAGES: usize = 12;
const CONTEXT: usize = 6 * PAGE_LEN;

fn rows(id: SequenceId, n: usize) -> Vec<BatchRow> {
    vec![
        BatchRow {
            sequence: id,
            token: 7,
            logits: false,
        };
        n
    ]
}

fn feed(sequences: &mut Sequences, id: SequenceId, n: usize) -> Result<Vec<PageCopy>, EngineError> {
    let rows = rows(id, n);
    let (_, copies) = sequences.begin(&rows)?;
    sequences.commit(&rows);
    Ok(copies)
}

fn fresh() -> Sequences {
    Sequences::new(CONTEXT, 100, PAGES)
}

#[test]
fn a_sequence_takes_pages_as_it_grows_and_gives_them_back() {
    let mut sequences = fresh();
    let id = sequences.open().expect("room");
    feed(&mut sequences, id, PAGE_LEN).expect("room");
    assert_eq!(sequences.free_pages(), PAGES - 1);
    feed(&mut sequences, id, 1).expect("room");
    assert_eq!(sequences.free_pages(), PAGES - 2);
    sequences.truncate(id, PAGE_LEN).expect("there");
    assert_eq!(sequences.free_pages(), PAGES - 1);
    sequences.close(id);
    assert_eq!(sequences.free_pages(), PAGES);
    assert_eq!(sequences.len(id), Err(EngineError::UnknownSequence));
}

#[test]
fn who_writes_into_a_shared_page_gets_a_copy() {
    let mut sequences = fresh();
    let first = sequences.open().expect("room");
    feed(&mut sequences, first, 32).expect("room");
    feed(&mut sequences, first, 8).expect("room");
    let second = sequences.share_prefix(first, 40).expect("there");
    assert_eq!(sequences.free_pages(), PAGES - 2);
    let copies = feed(&mut sequences, second, 1).expect("room");
    assert_eq!(copies, [PageCopy { from: 1, to: 2 }]);
    assert_eq!(feed(&mut sequences, first, 1).expect("room"), []);
}

#[test]
fn a_full_cache_says_what_is_missing_and_changes_nothing() {
    let mut sequences = Sequences::new(CONTEXT, 100, 2);
    let id = sequences.open().expect("room");
    feed(&mut sequences, id, 32).expect("room");
    feed(&mut sequences, id, 32).expect("room");
    let error = sequences.begin(&rows(id, 1)).expect_err("no page is left");
    assert_eq!(
        error,
        EngineError::CacheFull {
            needed_positions: 32,
            free_positions: 0,
            max_positions: 64
        }
    );
    assert_eq!(sequences.len(id), Ok(64));
}

#[test]
fn a_shift_turns_what_moved_and_copies_what_is_shared() {
    let mut sequences = fresh();
    let id = sequences.open().expect("room");
    for _ in 0..4 {
        feed(&mut sequences, id, 32).expect("room");
    }
    let other = sequences.share_prefix(id, 128).expect("there");
    let turns = sequences.shift(id, 32, 32).expect("there");
    assert_eq!(sequences.len(id), Ok(96));
    assert_eq!(sequences.len(other), Ok(128));
    let froms: Vec<u32> = turns.iter().map(|turn| turn.from).collect();
    assert_eq!(froms, [2, 3]);
    assert!(turns.iter().all(|turn| turn.to > 3 && turn.by == 32));
    assert!(sequences.shift(id, 5, 32).is_err());
    assert!(sequences.shift(id, 32, 96).is_err());
}

#[test]
fn rows_beyond_the_context_the_batch_or_the_vocabulary_are_refused() {
    let mut sequences = fresh();
    let id = sequences.open().expect("room");
    assert!(matches!(
        sequences.begin(&[]),
        Err(EngineError::BatchSize { tokens: 0, .. })
    ));
    assert!(matches!(
        sequences.begin(&rows(id, MAX_BATCH + 1)),
        Err(EngineError::BatchSize { .. })
    ));
    for _ in 0..6 {
        feed(&mut sequences, id, 32).expect("room");
    }
    assert!(matches!(
        sequences.begin(&rows(id, 1)),
        Err(EngineError::Position { .. })
    ));
    let other = sequences.open().expect("room");
    let strange = [BatchRow {
        sequence: other,
        token: 100,
        logits: true,
    }];
    assert!(matches!(
        sequences.begin(&strange),
        Err(EngineError::UnknownToken { token: 100, .. })
    ));
}

#[derive(Debug, Clone)]
enum Step {
    Close(usize),
    Feed(usize, usize),
    Open,
    Share(usize, usize),
    Shift(usize, usize, usize),
    Truncate(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..6_usize;
    prop_oneof![
        which.clone().prop_map(Step::Close),
        (which.clone(), 1..33_usize).prop_map(|(i, n)| Step::Feed(i, n)),
        Just(Step::Open),
        (which.clone(), 0..200_usize).prop_map(|(i, n)| Step::Share(i, n)),
        (which.clone(), 0..4_usize, 0..4_usize).prop_map(|(i, k, d)| Step::Shift(i, k, d)),
        (which, 0..200_usize).prop_map(|(i, n)| Step::Truncate(i, n)),
    ]
}

/// What the pages hold, and what every sequence should find there.
#[derive(Default)]
struct World {
    /// By place: which write was the last.
    cache: BTreeMap<usize, u64>,
    texts: BTreeMap<SequenceId, Vec<u64>>,
    writes: u64,
}

impl World {
    fn copy(&mut self, from: u32, to: u32) {
        for i in 0..PAGE_LEN {
            if let Some(value) = self.cache.get(&(from as usize * PAGE_LEN + i)).copied() {
                self.cache.insert(to as usize * PAGE_LEN + i, value);
            }
        }
    }

    fn check(&self, sequences: &Sequences) {
        let mut listed: BTreeMap<u32, u32> = BTreeMap::new();
        for (id, text) in &self.texts {
            let sequence = &sequences.open[id];
            assert_eq!(sequence.len, text.len());
            for page in &sequence.pages {
                *listed.entry(*page).or_default() += 1;
            }
            for (position, value) in text.iter().enumerate() {
                let place =
                    sequence.pages[position / PAGE_LEN] as usize * PAGE_LEN + position % PAGE_LEN;
                assert_eq!(self.cache.get(&place), Some(value), "position {position}");
            }
        }
        for (page, count) in sequences.counts.iter().enumerate() {
            assert_eq!(listed.get(&(page as u32)).copied().unwrap_or(0), *count);
        }
        assert!(sequences.counts.len() <= PAGES);
    }

    fn apply(&mut self, sequences: &mut Sequences, step: &Step) {
        let nth = |texts: &BTreeMap<SequenceId, Vec<u64>>, i: usize| texts.keys().nth(i).copied();
        match *step {
            Step::Open => {
                let id = sequences.open().expect("few are open");
                self.texts.insert(id, Vec::new());
            }
            Step::Close(i) => {
                if let Some(id) = nth(&self.texts, i) {
                    sequences.close(id);
                    self.texts.remove(&id);
                }
            }
            Step::Feed(i, n) => {
                let Some(id) = nth(&self.texts, i) else {
                    return;
                };
                let rows = rows(id, n.min(MAX_BATCH));
                let Ok((pass, copies)) = sequences.begin(&rows) else {
                    return;
                };
                for copy in copies {
                    self.copy(copy.from, copy.to);
                }
                for row in pass.rows {
                    self.writes += 1;
                    self.cache.insert(row.place as usize, self.writes);
                    self.texts.get_mut(&id).expect("open").push(self.writes);
                }
                sequences.commit(&rows);
            }
            Step::Share(i, len) => {
                let Some(id) = nth(&self.texts, i) else {
                    return;
                };
                if let Ok(new) = sequences.share_prefix(id, len) {
                    let text = self.texts[&id][..len].to_vec();
                    self.texts.insert(new, text);
                }
            }
            Step::Shift(i, keep, discard) => {
                let Some(id) = nth(&self.texts, i) else {
                    return;
                };
                let (keep, discard) = (keep * PAGE_LEN, discard * PAGE_LEN);
                let Ok(turns) = sequences.shift(id, keep, discard) else {
                    return;
                };
                for turn in turns {
                    self.copy(turn.from, turn.to);
                }
                let text = self.texts.get_mut(&id).expect("open");
                text.drain(keep..keep + discard);
            }
            Step::Truncate(i, len) => {
                let Some(id) = nth(&self.texts, i) else {
                    return;
                };
                if sequences.truncate(id, len).is_ok() {
                    self.texts.get_mut(&id).expect("open").truncate(len);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn every_sequence_finds_what_it_wrote(steps in prop::collection::vec(step(), 1..80)) {
        let mut sequences = fresh();
        let mut world = World::default();
        for step in &steps {
            world.apply(&mut sequences, step);
            world.check(&sequences);
        }
    }
}
