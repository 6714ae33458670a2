//! Guesses the next tokens of an answer from its own text (prompt lookup; Saxena 2023).
//!
//! A guess is never believed: the model reads it and chooses as it would have without it, so an
//! answer is the same with and without guesses. How much is guessed follows how often it was right.

/// tokens; the end of the text that has to have occurred before, longest first.
const PATTERNS: [usize; 2] = [3, 2];

/// tokens; as many as are guessed at once.
const MAX_GUESSES: usize = 8;

/// tokens of the text that are searched; a longer one costs more than it gives.
const MAX_SEARCH: usize = 4_096;

/// tokens; how long nothing is guessed after guesses that were all wrong, doubled each time.
const FIRST_REST: u32 = 4;

/// tokens; the longest rest.
const MAX_REST: u32 = 64;

/// What is guessed of one answer.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    guesses: Vec<u32>,
    /// Tokens to guess at most.
    len: usize,
    /// Tokens until something is guessed again.
    rest: u32,
    next_rest: u32,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            guesses: Vec::new(),
            len: 2,
            rest: 0,
            next_rest: FIRST_REST,
        }
    }
}

impl Draft {
    /// Guesses what follows `tokens`, at most `most`; returns how many.
    pub(super) fn guess(&mut self, tokens: &[u32], most: usize) -> usize {
        self.guesses.clear();
        if self.rest > 0 {
            self.rest -= 1;
            return 0;
        }
        if let Some(found) = following(tokens) {
            let n = found.len().min(self.len).min(most);
            self.guesses.extend_from_slice(&found[..n]);
        }
        self.guesses.len()
    }

    /// The tokens that were guessed last.
    pub(super) fn guesses(&self) -> &[u32] {
        &self.guesses
    }

    /// Takes to heart that `right` of `guessed` tokens were right.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            return;
        }
        if right == guessed {
            self.len = (self.len * 2).min(MAX_GUESSES);
            self.next_rest = FIRST_REST;
        } else if right == 0 {
            self.len = 2;
            self.rest = self.next_rest;
            self.next_rest = (self.next_rest * 2).min(MAX_REST);
        } else {
            self.len = right.max(2);
        }
    }
}

/// What came after the latest earlier occurrence of the end of `tokens`.
fn following(tokens: &[u32]) -> Option<&[u32]> {
    let searched = &tokens[tokens.len().saturating_sub(MAX_SEARCH)..];
    PATTERNS.into_iter().find_map(|len| {
        let end = searched.len().checked_sub(len)?;
        let pattern = &searched[end..];
        let at = searched[..searched.len() - 1]
            .windows(len)
            .rposition(|window| window == pattern)?;
        let rest = &searched[at + len..];
        (!rest.is_empty()).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_occurrence_of_the_longest_pattern_is_followed() {
        let tokens = [1, 2, 3, 9, 8, 7, 1, 2, 3, 4, 5, 6, 1, 2, 3];
        assert_eq!(following(&tokens), Some(&[4, 5, 6, 1, 2, 3][..]));
        assert_eq!(following(&[5, 1, 2, 9, 1, 2]), Some(&[9, 1, 2][..]));
        assert_eq!(following(&[1, 2, 3, 4]), None);
        assert_eq!(following(&[1]), None);
        assert_eq!(following(&[]), None);
        assert_eq!(following(&[7, 7, 7, 7]), Some(&[7][..]));
    }

    #[test]
    fn who_is_always_wrong_guesses_less_and_less() {
        let mut draft = Draft::default();
        let tokens = [1, 2, 3, 1, 2];
        let mut guessed = 0;
        for _ in 0..1_000 {
            let n = draft.guess(&tokens, 8);
            guessed += n;
            draft.learn(n, 0);
        }
        assert!(guessed < 60, "{guessed} guesses in vain");
    }

    #[test]
    fn who_is_always_right_guesses_more_up_to_the_bound() {
        let mut draft = Draft::default();
        let tokens: Vec<u32> = (0..40).map(|i| i % 10).collect();
        for expected in [2, 4, 8, 8] {
            let n = draft.guess(&tokens, 100);
            assert_eq!(n, expected);
            draft.learn(n, n);
        }
        assert_eq!(draft.guess(&tokens, 3), 3);
        assert_eq!(draft.guess(&tokens, 0), 0);
    }
}
