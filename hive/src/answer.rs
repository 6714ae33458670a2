//! The answer so far: token ids, and text that comes out whole character by whole character.
//!
//! Bytes that may be the beginning of a stop string are held back, so that the parts given out
//! always add up to the final text.
//!
//! What a provider sent before it was caught lying is not believed: the tokens are forgotten and
//! computed again by somebody else. What was given out meanwhile cannot be taken back, so the new
//! tokens must say the same; if they do not, the answer is [contradicted](Answer::contradicted).

use crate::limits::MAX_ANSWER_BYTES;
use crate::misbehaviour::Misbehaviour;
use thrum_protocol::task::Token;

/// An answer that grows.
#[derive(Debug)]
pub(crate) struct Answer {
    ids: Vec<u32>,
    /// for each token, the length of `bytes` after it
    ends: Vec<usize>,
    bytes: Vec<u8>,
    /// bytes that were given out as text; more than `bytes` has while they are computed again
    given: usize,
    /// bytes that were given out and then doubted; empty where nobody lied
    doubted: Vec<u8>,
    contradicted: bool,
    stop: Vec<String>,
}

impl Answer {
    pub(crate) fn new(stop: Vec<String>) -> Self {
        Self {
            ids: Vec::new(),
            ends: Vec::new(),
            bytes: Vec::new(),
            given: 0,
            doubted: Vec::new(),
            contradicted: false,
            stop,
        }
    }

    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    pub(crate) fn token_count(&self) -> u32 {
        u32::try_from(self.ids.len()).expect("limits keep an answer below 2^32 tokens")
    }

    /// Adds tokens and returns the text that is certain by now; it may be empty.
    ///
    /// # Errors
    /// [`Misbehaviour::AnswerTooLong`], with nothing added.
    pub(crate) fn extend(&mut self, tokens: &[Token]) -> Result<String, Misbehaviour> {
        let more: usize = tokens.iter().map(|token| token.piece.len()).sum();
        if self.bytes.len() + more > MAX_ANSWER_BYTES {
            return Err(Misbehaviour::AnswerTooLong {
                max_bytes: MAX_ANSWER_BYTES,
            });
        }
        for token in tokens {
            self.ids.push(token.id);
            self.bytes.extend_from_slice(&token.piece);
            self.ends.push(self.bytes.len());
        }
        let again = self.bytes.len().min(self.doubted.len());
        self.contradicted |= self.bytes[..again] != self.doubted[..again];
        let certain = self.bytes.len() - self.held_back();
        Ok(self.give(certain, false))
    }

    /// Forgets all tokens from `first_index` on: they are to be computed again.
    pub(crate) fn doubt(&mut self, first_index: u32) {
        let first_index = first_index as usize;
        if first_index >= self.ids.len() {
            return;
        }
        if self.doubted.len() < self.given {
            self.doubted = self.bytes[..self.given].to_vec();
        }
        self.ids.truncate(first_index);
        self.ends.truncate(first_index);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Whether what was given out earlier is being computed again.
    pub(crate) fn repeats(&self) -> bool {
        self.bytes.len() < self.doubted.len()
    }

    /// Whether what was given out earlier turned out to be wrong.
    pub(crate) fn contradicted(&self) -> bool {
        self.contradicted
    }

    /// Whether an answer that ends here is shorter than what was given out and doubted.
    pub(crate) fn ends_too_early(&self, trimmed_bytes: u32) -> bool {
        self.bytes.len() < self.doubted.len() + trimmed_bytes as usize && !self.doubted.is_empty()
    }

    /// Whether the last `trimmed_bytes` begin with a stop string and none was given out.
    pub(crate) fn may_trim(&self, trimmed_bytes: u32) -> bool {
        let Some(end) = self.bytes.len().checked_sub(trimmed_bytes as usize) else {
            return false;
        };
        let tail = &self.bytes[end..];
        let nothing_given = end >= self.given || self.ends_too_early(trimmed_bytes);
        trimmed_bytes == 0
            || (nothing_given && self.stop.iter().any(|stop| starts_with_stop(tail, stop)))
    }

    /// Bytes from the first stop string to the end; 0 where there is none.
    pub(crate) fn stop_bytes(&self) -> u32 {
        let first = (0..self.bytes.len()).find(|&at| {
            let tail = &self.bytes[at..];
            self.stop.iter().any(|stop| starts_with_stop(tail, stop))
        });
        let bytes = first.map_or(0, |at| self.bytes.len() - at);
        u32::try_from(bytes).expect("limits keep an answer below 2^32 bytes")
    }

    /// The last part of the text and the whole of it, without the last `trimmed_bytes`.
    pub(crate) fn finish(&mut self, trimmed_bytes: u32) -> (String, String) {
        let end = self.bytes.len().saturating_sub(trimmed_bytes as usize);
        let rest = self.give(end, true);
        (
            rest,
            String::from_utf8_lossy(&self.bytes[..end]).into_owned(),
        )
    }

    /// Bytes at the end that a stop string begins with, whole or in part.
    fn held_back(&self) -> usize {
        let longest = self.stop.iter().map(String::len).max().unwrap_or(0);
        // A whole stop string may be followed by the rest of its token.
        let window = longest + thrum_protocol::limits::MAX_PIECE_BYTES;
        let start = self.bytes.len().saturating_sub(window).max(self.given);
        let first = (start..self.bytes.len()).find(|&at| {
            let tail = &self.bytes[at..];
            self.stop.iter().any(|stop| {
                starts_with_stop(tail, stop)
                    || (!stop.is_empty() && stop.as_bytes().starts_with(tail))
            })
        });
        first.map_or(0, |at| self.bytes.len() - at)
    }

    /// Text from what was given to `end`. An incomplete character at the end waits, unless it is
    /// the last.
    fn give(&mut self, end: usize, last: bool) -> String {
        let mut text = String::new();
        while self.given < end {
            let rest = &self.bytes[self.given..end];
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.given = end;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&rest[..valid]));
                    let bad = error.error_len();
                    if bad.is_none() && !last {
                        self.given += valid;
                        return text;
                    }
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.given += valid + bad.unwrap_or(rest.len() - valid);
                }
            }
        }
        text
    }
}

fn starts_with_stop(tail: &[u8], stop: &str) -> bool {
    !stop.is_empty() && tail.starts_with(stop.as_bytes())
}
