//! What the page says of genomes, the adapters that answers wear, and which of them the next answer
//! wears.

use std::collections::BTreeMap;

use thrum_protocol::id::ModelId;
use thrum_protocol::limits::MAX_GENOMES;
use thrum_protocol::sampling::{GenomeUse, Shift};

use crate::format;

/// thousandths; the strongest scale that the page offers, either way. The model's own sense is
/// lost long before.
pub const MAX_SCALE_MILLI: i32 = 4_000;

/// thousandths; as it was trained.
const TRAINED_MILLI: i32 = 1_000;

/// A genome that this node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genome {
    /// for wearing and removing it
    pub id: ModelId,
    /// for people
    pub name: String,
    /// of its largest pair
    pub rank: usize,
    /// how many of a layer's matrices it adds to
    pub targets: usize,
    /// bytes of its files
    pub bytes: u64,
    /// name of the model it was loaded for
    pub base: String,
    /// whether the loaded model can wear it; none while none is loaded
    pub fits: Option<bool>,
    /// why not
    pub reason: Option<String>,
    /// whether it is there after a reload
    pub kept: bool,
}

impl Genome {
    /// Size, rank and what it is for, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let kept = match self.kept {
            true => "",
            false => ", until this page is closed",
        };
        let matrices = format::counted(self.targets as u64, "matrix", "matrices");
        format!(
            "{}, rank {} on {matrices}, for {}{kept}",
            format::bytes(self.bytes),
            self.rank,
            self.base
        )
    }

    /// Why it cannot be worn at the moment.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let refused = self.fits == Some(false);
        refused.then(|| {
            let reason = self.reason.as_deref().unwrap_or("it is for another model");
            format!("Does not fit the loaded model: {reason}.")
        })
    }
}

/// What the next answer wears: scales in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worn(BTreeMap<ModelId, i32>);

impl Worn {
    /// Puts a genome on as it was trained, or takes it off. No more than an answer may wear.
    pub fn put(&mut self, id: ModelId, on: bool) {
        if !on {
            self.0.remove(&id);
        } else if self.0.len() < MAX_GENOMES {
            self.0.entry(id).or_insert(TRAINED_MILLI);
        }
    }

    /// Changes how much of a worn genome is worn; what cannot be is brought into range.
    pub fn scale(&mut self, id: ModelId, milli: i32) {
        if let Some(scale) = self.0.get_mut(&id) {
            *scale = milli.clamp(-MAX_SCALE_MILLI, MAX_SCALE_MILLI);
        }
    }

    /// Thousandths, of a genome that is worn.
    #[must_use]
    pub fn milli(&self, id: ModelId) -> Option<i32> {
        self.0.get(&id).copied()
    }

    /// Takes off what is not there or does not fit.
    pub fn keep_wearable(&mut self, genomes: &[Genome]) {
        let wearable = |id: &ModelId| {
            let mut found = genomes.iter();
            found.any(|it| it.id == *id && it.fits != Some(false))
        };
        self.0.retain(|id, _| wearable(id));
    }

    /// As a request says it.
    #[must_use]
    pub fn uses(&self) -> Vec<GenomeUse> {
        let scale = |milli: i32| match milli < 0 {
            true => Shift::Less(milli.unsigned_abs()),
            false => Shift::More(milli.unsigned_abs()),
        };
        let worn = self.0.iter();
        worn.map(|(id, milli)| GenomeUse {
            id: *id,
            scale: scale(*milli),
        })
        .collect()
    }

    /// Whether nothing is worn.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genome(id: u8, fits: Option<bool>) -> Genome {
        Genome {
            id: ModelId([id; 32]),
            name: format!("g{id}"),
            rank: 8,
            targets: 1,
            bytes: 1_500_000,
            base: "demo".to_owned(),
            fits,
            reason: None,
            kept: id != 2,
        }
    }

    #[test]
    fn a_genome_is_told_in_a_line() {
        let words = genome(1, None).words();
        assert_eq!(words, "1.50 MB, rank 8 on 1 matrix, for demo");
        assert!(
            genome(2, None)
                .words()
                .ends_with("until this page is closed")
        );
        assert_eq!(genome(1, Some(true)).trouble(), None);
        let trouble = genome(1, Some(false)).trouble().expect("it does not fit");
        assert!(trouble.contains("another model"), "{trouble}");
    }

    #[test]
    fn what_is_worn_is_asked_for_with_its_scale() {
        let mut worn = Worn::default();
        let [a, b] = [1, 2].map(|id| ModelId([id; 32]));
        worn.put(a, true);
        worn.put(b, true);
        worn.scale(b, -500);
        let scales: Vec<_> = worn.uses().iter().map(|it| it.scale).collect();
        assert_eq!(scales, [Shift::More(1_000), Shift::Less(500)]);
        worn.scale(b, 1_000_000);
        assert_eq!(worn.milli(b), Some(MAX_SCALE_MILLI));
        worn.put(a, false);
        assert_eq!(worn.milli(a), None);
        worn.scale(a, 10);
        assert_eq!(worn.uses().len(), 1);
    }

    #[test]
    fn no_more_is_worn_than_an_answer_may() {
        let mut worn = Worn::default();
        for id in 0..20 {
            worn.put(ModelId([id; 32]), true);
        }
        assert_eq!(worn.uses().len(), MAX_GENOMES);
    }

    #[test]
    fn what_is_gone_or_does_not_fit_is_taken_off() {
        let mut worn = Worn::default();
        for id in 1..=4 {
            worn.put(ModelId([id; 32]), true);
        }
        worn.keep_wearable(&[
            genome(1, Some(true)),
            genome(2, Some(false)),
            genome(3, None),
        ]);
        let ids: Vec<_> = worn.uses().iter().map(|it| it.id.0[0]).collect();
        assert_eq!(ids, [1, 3]);
    }
}
