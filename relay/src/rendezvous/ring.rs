//! Owns in which order a namespace is told: in a circle, from a place drawn for each asker.
//!
//! Who asks for a page of many gets a random one and may walk on from there, so that ten thousand
//! peers do not all meet the same sixty-four. Who has walked round is told what changed since.
//! Where an asker stands is in its cookie; the relay remembers nobody.

use std::collections::BTreeMap;

/// Places are below this, so that two of them and a mark are the eight bytes of a cookie.
pub(super) const N_PLACES: u64 = 1 << 31;

/// Marks a cookie of an asker that has seen all.
const HAS_SEEN_ALL: u64 = 1 << 63;

/// Where an asker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// it began there, and was told up to the second
    Walking(u64, u64),
    /// it knows everything up to this change
    Since(u64),
}

impl Stand {
    pub(super) fn from_number(number: u64) -> Self {
        match number & HAS_SEEN_ALL {
            0 => Self::Walking(number >> 31 & (N_PLACES - 1), number & (N_PLACES - 1)),
            _ => Self::Since(number & !HAS_SEEN_ALL),
        }
    }

    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Walking(start, last) => start << 31 | last,
            Self::Since(change) => change | HAS_SEEN_ALL,
        }
    }
}

/// Everything in one namespace, by place and by change.
#[derive(Debug)]
pub(super) struct Ring<K> {
    by_place: BTreeMap<u64, K>,
    by_change: BTreeMap<u64, K>,
}

impl<K> Default for Ring<K> {
    fn default() -> Self {
        let (by_place, by_change) = (BTreeMap::new(), BTreeMap::new());
        Self {
            by_place,
            by_change,
        }
    }
}

impl<K: Clone> Ring<K> {
    /// Notes that what has this place changed, or came.
    pub(super) fn put(&mut self, key: &K, place: u64, before: Option<u64>, change: u64) {
        if let Some(before) = before {
            self.by_change.remove(&before);
        }
        self.by_place.insert(place, key.clone());
        self.by_change.insert(change, key.clone());
    }

    pub(super) fn remove(&mut self, place: u64, change: u64) {
        self.by_place.remove(&place);
        self.by_change.remove(&change);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_place.is_empty()
    }

    /// The first page for somebody who begins at `start`.
    pub(super) fn begin(&self, start: u64, limit: usize, now: u64) -> (Vec<K>, Stand) {
        let ahead = self.by_place.range(start..);
        let all = ahead.chain(self.by_place.range(..start));
        self.page(all, start, limit, now)
    }

    /// The next page; `now` is the newest change.
    pub(super) fn go_on(&self, stand: Stand, limit: usize, now: u64) -> (Vec<K>, Stand) {
        match stand {
            Stand::Walking(start, last) if last >= start => {
                let ahead = self.by_place.range(last + 1..);
                let left = ahead.chain(self.by_place.range(..start));
                self.page(left, start, limit, now)
            }
            Stand::Walking(start, last) => {
                let left = self.by_place.range(last + 1..start);
                self.page(left, start, limit, now)
            }
            Stand::Since(change) => {
                let newer = self.by_change.range(change.saturating_add(1)..);
                let page: Vec<_> = newer.take(limit).collect();
                let is_all = page.len() < limit;
                let last = page.last().map_or(change, |(change, _)| **change);
                let keys = page.into_iter().map(|(_, key)| key.clone()).collect();
                (
                    keys,
                    Stand::Since(if is_all { now.max(last) } else { last }),
                )
            }
        }
    }

    fn page<'a>(
        &self,
        left: impl Iterator<Item = (&'a u64, &'a K)>,
        start: u64,
        limit: usize,
        now: u64,
    ) -> (Vec<K>, Stand)
    where
        K: 'a,
    {
        let mut left = left.peekable();
        let page: Vec<_> = left.by_ref().take(limit).collect();
        let stand = match (left.peek(), page.last()) {
            (Some(_), Some((last, _))) => Stand::Walking(start, **last),
            (Some(_), None) | (None, _) => Stand::Since(now),
        };
        (
            page.into_iter().map(|(_, key)| key.clone()).collect(),
            stand,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(places: impl Iterator<Item = u64>) -> Ring<u64> {
        let mut ring = Ring::default();
        for (change, place) in places.enumerate() {
            ring.put(&place, place, None, change as u64 + 1);
        }
        ring
    }

    #[test]
    fn a_stand_survives_its_number() {
        let last = N_PLACES - 1;
        for stand in [
            Stand::Since(0),
            Stand::Since(7),
            Stand::Walking(0, 0),
            Stand::Walking(last, 1),
            Stand::Walking(1, last),
        ] {
            assert_eq!(Stand::from_number(stand.number()), stand);
        }
    }

    #[test]
    fn every_walk_meets_everybody_once() {
        let ring = ring((0..10).map(|n| n * 10));
        for start in [0, 1, 45, 90, 91, N_PLACES - 1] {
            for limit in [1, 3, 10, 11] {
                let (mut met, mut stand) = ring.begin(start, limit, 10);
                while let Stand::Walking(..) = stand {
                    let (page, next) = ring.go_on(stand, limit, 10);
                    met.extend(page);
                    stand = next;
                }
                assert_eq!(stand, Stand::Since(10));
                let first = met[0];
                met.sort();
                assert_eq!(met, (0..10).map(|n| n * 10).collect::<Vec<_>>());
                assert_eq!(
                    first,
                    if start > 90 {
                        0
                    } else {
                        start.div_ceil(10) * 10
                    }
                );
            }
        }
    }

    #[test]
    fn who_has_seen_all_is_told_what_changed() {
        let mut ring = ring(0..3);
        assert!(ring.go_on(Stand::Since(3), 10, 3).0.is_empty());
        ring.put(&1, 1, Some(2), 4);
        ring.put(&9, 9, None, 5);
        assert_eq!(
            ring.go_on(Stand::Since(3), 10, 5),
            (vec![1, 9], Stand::Since(5))
        );
        assert_eq!(
            ring.go_on(Stand::Since(3), 1, 5),
            (vec![1], Stand::Since(4))
        );
        ring.remove(9, 5);
        assert!(ring.go_on(Stand::Since(4), 10, 5).0.is_empty());
    }

    #[test]
    fn a_made_up_stand_is_answered() {
        let ring = ring(0..3);
        for number in [0, 1, u64::MAX, u64::MAX >> 1, N_PLACES, N_PLACES << 31] {
            let (page, _) = ring.go_on(Stand::from_number(number), 10, 3);
            assert!(page.len() <= 3);
        }
        let empty = Ring::<u64>::default();
        assert_eq!(empty.begin(5, 10, 0), (vec![], Stand::Since(0)));
    }
}
