//! What goes where a text outgrows the context: the oldest messages of a conversation, the
//! beginning of a plain text, and, while an answer is given, the oldest half of what need not stay.
//!
//! All of it depends on the text and the model alone, so that whoever takes an answer over drops
//! the same and goes on as it would have gone on.

use crate::chat::Message;
use crate::error::EngineError;
use crate::pass::PAGE_LEN;

/// What a sequence drops each time its context is full: whole pages, after those that stay.
///
/// What moved down is turned back to its new positions and not read again, so it still knows what
/// was dropped: the answer is close to one that never saw it, and not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextShift {
    context_len: usize,
    keep: usize,
    discard: usize,
}

impl ContextShift {
    /// Of a context of `context_len` positions whose first `keep` shall stay: their pages do, all
    /// but the last two of the context at most. None where the context is no page.
    pub fn new(context_len: usize, keep: usize) -> Option<Self> {
        let pages = context_len / PAGE_LEN;
        let kept = keep.div_ceil(PAGE_LEN).min(pages.saturating_sub(2));
        let dropped = ((pages - kept) / 2).max(1);
        (pages > 0).then_some(Self {
            context_len,
            keep: kept * PAGE_LEN,
            discard: dropped * PAGE_LEN,
        })
    }

    /// Positions that stay at the beginning.
    pub fn keep(self) -> usize {
        self.keep
    }

    /// Positions after them that go, each time.
    pub fn discard(self) -> usize {
        self.discard
    }

    /// Tokens that have gone when `n_read` were read.
    pub fn discarded(self, n_read: usize) -> usize {
        let over = n_read.saturating_sub(self.context_len);
        over.div_ceil(self.discard) * self.discard
    }
}

/// A prompt that was made to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fitted {
    /// What the model reads; too much where even the last message does not fit.
    pub tokens: Vec<u32>,
    /// Tokens at the beginning that stay when the context is full: what any conversation under
    /// the same system messages begins with.
    pub keep: usize,
    /// Messages that were dropped.
    pub dropped_messages: usize,
    /// Tokens by which the prompt became shorter.
    pub dropped_tokens: usize,
}

/// Makes a conversation fit: as few of the oldest messages go as have to, so that what is left is
/// the system messages it began with and then a turn that a user begins. The last such turn stays
/// in any case. `tokens_of` renders messages and turns them into tokens.
///
/// # Errors
/// Those of `tokens_of`.
pub fn fit_chat(
    messages: &[Message],
    context_len: usize,
    tokens_of: impl Fn(&[Message]) -> Result<Vec<u32>, EngineError>,
) -> Result<Fitted, EngineError> {
    let n_system = messages
        .iter()
        .take_while(|message| message.role == "system")
        .count();
    let (system, rest) = messages.split_at(n_system);
    let under_system = |rest: &[Message]| tokens_of(&[system, rest].concat());
    let whole = under_system(rest)?;
    let n_whole = whole.len();
    let (mut tokens, mut dropped) = (whole, 0);
    if n_whole > context_len {
        let is_user = |at: &usize| rest[*at].role == "user";
        let cuts: Vec<usize> = (1..rest.len()).filter(is_user).collect();
        // The more goes the shorter it is: the first cut that fits lies between these two.
        let (mut from, mut to) = (0, cuts.len());
        while from < to {
            let middle = from.midpoint(to);
            let shorter = under_system(&rest[cuts[middle]..])?;
            let fits = shorter.len() <= context_len;
            if fits || middle + 1 == cuts.len() {
                (tokens, dropped) = (shorter, cuts[middle]);
            }
            match fits {
                true => to = middle,
                false => from = middle + 1,
            }
        }
    }
    let other = Message {
        role: "user".to_owned(),
        content: String::new(),
    };
    // A template that refuses such a conversation leaves nothing to compare with.
    let other = under_system(&[other]).unwrap_or_default();
    let same = tokens.iter().zip(&other).take_while(|(a, b)| a == b);
    Ok(Fitted {
        keep: same.count().max(1),
        dropped_messages: dropped,
        dropped_tokens: n_whole.saturating_sub(tokens.len()),
        tokens,
    })
}

/// Makes a plain text fit: its oldest tokens go, but for `opening`, which every text begins with.
pub fn fit_text(mut tokens: Vec<u32>, opening: Option<u32>, context_len: usize) -> Fitted {
    let dropped_tokens = tokens.len().saturating_sub(context_len);
    let opened = opening.is_some() && tokens.first().copied() == opening;
    let first = usize::from(opened && context_len > 1);
    tokens.drain(first..first + dropped_tokens);
    Fitted {
        tokens,
        keep: 1,
        dropped_messages: 0,
        dropped_tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message((role, content): (&str, &str)) -> Message {
        Message {
            role: role.to_owned(),
            content: content.to_owned(),
        }
    }

    /// One token for each letter, and one that opens each message and says whose it is.
    fn tokens_of(messages: &[Message]) -> Result<Vec<u32>, EngineError> {
        let of_one = |message: &Message| {
            let opens = 1_000 + u32::from(message.role.as_bytes()[0]);
            let letters: Vec<u32> = message.content.bytes().map(u32::from).collect();
            [vec![opens], letters].concat()
        };
        Ok(messages.iter().flat_map(of_one).collect())
    }

    fn talk() -> Vec<Message> {
        let said = [
            ("system", "brief"), // 6 tokens
            ("user", "one"),     // 4
            ("assistant", "1"),  // 2
            ("user", "two"),     // 4
            ("assistant", "2"),  // 2
            ("user", "three"),   // 6
        ];
        said.into_iter().map(message).collect()
    }

    #[test]
    fn as_few_of_the_oldest_messages_go_as_have_to() {
        let talk = talk();
        for (context_len, dropped) in [(99, 0), (24, 0), (23, 2), (18, 2), (17, 4), (12, 4)] {
            let fitted = fit_chat(&talk, context_len, tokens_of).expect("renders");
            let left = [&talk[..1], &talk[1 + dropped..]].concat();
            let tokens = tokens_of(&left).expect("renders");
            assert_eq!(fitted.dropped_messages, dropped, "in {context_len}");
            assert_eq!(fitted.dropped_tokens, 24 - tokens.len());
            assert_eq!(fitted.tokens, tokens);
            // The system message and what opens a user's.
            assert_eq!(fitted.keep, 7);
        }
    }

    #[test]
    fn the_last_turn_stays_though_it_does_not_fit() {
        let fitted = fit_chat(&talk(), 11, tokens_of).expect("renders");
        assert_eq!((fitted.dropped_messages, fitted.tokens.len()), (4, 12));
        let alone = [message(("user", "a long question"))];
        let fitted = fit_chat(&alone, 3, tokens_of).expect("renders");
        assert_eq!((fitted.dropped_messages, fitted.tokens.len()), (0, 16));
    }

    #[test]
    fn every_number_of_turns_is_cut_where_a_search_one_by_one_would() {
        for turns in 0..20 {
            let mut talk = vec![message(("system", "s"))];
            for n in 0..turns {
                talk.push(message(("user", &"u".repeat(n % 5))));
                talk.push(message(("assistant", &"a".repeat(n % 3))));
            }
            talk.push(message(("user", "end")));
            for context_len in 0..120 {
                let fitted = fit_chat(&talk, context_len, tokens_of).expect("renders");
                let left = |n: usize| [&talk[..1], &talk[1 + 2 * n..]].concat();
                let len = |n: usize| tokens_of(&left(n)).expect("renders").len();
                let first = (0..turns).find(|n| len(*n) <= context_len);
                assert_eq!(fitted.dropped_messages, 2 * first.unwrap_or(turns));
            }
        }
    }

    #[test]
    fn a_template_that_refuses_is_heard() {
        let refuses = |_: &[Message]| Err(EngineError::EmptyPrompt);
        assert!(fit_chat(&talk(), 9, refuses).is_err());
    }

    #[test]
    fn a_text_loses_its_beginning_but_for_what_opens_it() {
        let fitted = fit_text(vec![1, 5, 6, 7, 8], Some(1), 3);
        assert_eq!((fitted.tokens, fitted.dropped_tokens), (vec![1, 7, 8], 2));
        let fitted = fit_text(vec![5, 6, 7, 8], Some(1), 3);
        assert_eq!((fitted.tokens, fitted.dropped_tokens), (vec![6, 7, 8], 1));
        let fitted = fit_text(vec![5, 6], None, 3);
        assert_eq!((fitted.tokens, fitted.dropped_tokens), (vec![5, 6], 0));
        assert!(fit_text(vec![1, 5], Some(1), 0).tokens.is_empty());
        assert_eq!(fit_text(vec![1, 5], Some(1), 1).tokens, [5]);
    }

    #[test]
    fn what_is_dropped_in_turn_is_what_is_counted() {
        for (context_len, keep) in [(32, 1), (64, 9), (100, 40), (128, 10), (2_048, 300)] {
            let shift = ContextShift::new(context_len, keep).expect("it is a page or more");
            let (mut len, mut dropped) = (0, 0);
            for n_read in 1..5 * context_len {
                if len == context_len {
                    assert!(shift.keep() + shift.discard() <= len);
                    len -= shift.discard();
                    dropped += shift.discard();
                }
                len += 1;
                assert_eq!(shift.discarded(n_read), dropped);
            }
        }
        assert_eq!(ContextShift::new(31, 1), None);
        let shift = ContextShift::new(2_048, 300).expect("it is a page or more");
        assert_eq!((shift.keep(), shift.discard()), (320, 864));
    }
}
