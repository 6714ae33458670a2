//! Finds which tokens a text goes on with, in a list of tokens sorted by their bytes.

/// Token ids in the order of their bytes, which the caller keeps; none is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefixes {
    ids: Vec<u32>,
    /// Whether any token begins with the byte.
    begins: Vec<bool>,
}

impl Prefixes {
    /// Of several tokens with the same bytes the one with the lowest id stays.
    pub(super) fn new(mut ids: Vec<u32>, pieces: &[Vec<u8>]) -> Self {
        let bytes = |id: &u32| pieces[*id as usize].as_slice();
        ids.retain(|id| !bytes(id).is_empty());
        ids.sort_by(|a, b| bytes(a).cmp(bytes(b)).then(a.cmp(b)));
        ids.dedup_by(|later, earlier| bytes(later) == bytes(earlier));
        let mut begins = vec![false; 256];
        for id in &ids {
            begins[usize::from(bytes(id)[0])] = true;
        }
        Self { ids, begins }
    }

    /// Every token that `rest` begins with, shortest first.
    pub(super) fn at_front(&self, pieces: &[Vec<u8>], rest: &[u8]) -> impl Iterator<Item = u32> {
        let mut candidates = self.ids.as_slice();
        if rest
            .first()
            .is_none_or(|first| !self.begins[usize::from(*first)])
        {
            candidates = &[];
        }
        let mut depth = 0;
        std::iter::from_fn(move || {
            while let Some(byte) = rest.get(depth) {
                let at_depth = |id: &u32| pieces[*id as usize].get(depth).copied();
                let start = candidates.partition_point(|id| at_depth(id) < Some(*byte));
                let end = candidates.partition_point(|id| at_depth(id) <= Some(*byte));
                candidates = &candidates[start..end];
                depth += 1;
                let shortest = *candidates.first()?;
                if pieces[shortest as usize].len() == depth {
                    return Some(shortest);
                }
            }
            None
        })
    }

    /// The longest token that `rest` begins with.
    pub(super) fn longest(&self, pieces: &[Vec<u8>], rest: &[u8]) -> Option<u32> {
        self.at_front(pieces, rest).last()
    }

    /// The token that is exactly `whole`.
    pub(super) fn exact(&self, pieces: &[Vec<u8>], whole: &[u8]) -> Option<u32> {
        let found = self
            .ids
            .binary_search_by(|id| pieces[*id as usize].as_slice().cmp(whole));
        found.ok().map(|at| self.ids[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_token_at_the_front() {
        let words = ["b", "a", "", "abc", "ab", "a", "abd", "ü"];
        let pieces: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let prefixes = Prefixes::new((0..words.len() as u32).collect(), &pieces);
        let at_front = |rest: &str| {
            prefixes
                .at_front(&pieces, rest.as_bytes())
                .collect::<Vec<_>>()
        };
        assert_eq!(at_front("abcd"), [1, 4, 3]);
        assert_eq!(at_front("ab"), [1, 4]);
        assert_eq!(at_front("ac"), [1]);
        assert_eq!(at_front("c"), [0; 0]);
        assert_eq!(at_front(""), [0; 0]);
        assert_eq!(at_front("üb"), [7]);
        assert_eq!(prefixes.longest(&pieces, b"abdx"), Some(6));
        assert_eq!(prefixes.exact(&pieces, b"ab"), Some(4));
        assert_eq!(prefixes.exact(&pieces, b"abx"), None);
    }
}
