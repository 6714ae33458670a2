//! Turns the bytes of tokens into text as they come: whole characters only, and nothing that may
//! still turn out to be a stop string.

use crate::error::EngineError;

/// stop strings; four times what the OpenAI interface takes.
pub const MAX_STOPS: usize = 16;

/// bytes of one stop string.
pub const MAX_STOP_BYTES: usize = 256;

/// Text on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextStream {
    /// None is empty.
    stops: Vec<Vec<u8>>,
    /// What cannot be let out yet.
    held: Vec<u8>,
    stopped: bool,
}

impl TextStream {
    /// A stream that ends before the first of `stops`.
    ///
    /// # Errors
    /// [`EngineError::BadParameter`] for too many, an empty or a too long one.
    pub fn new(stops: &[String]) -> Result<Self, EngineError> {
        let bad = |value: String, expected: String| {
            Err(EngineError::BadParameter {
                name: "stop",
                value,
                expected,
            })
        };
        if stops.len() > MAX_STOPS {
            return bad(
                format!("{} strings", stops.len()),
                format!("at most {MAX_STOPS}"),
            );
        }
        if let Some(stop) = stops
            .iter()
            .find(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES)
        {
            let expected = format!("between 1 and {MAX_STOP_BYTES} bytes");
            return bad(format!("{} bytes long", stop.len()), expected);
        }
        let stops = stops.iter().map(|stop| stop.clone().into_bytes()).collect();
        Ok(Self {
            stops,
            held: Vec::new(),
            stopped: false,
        })
    }

    /// Takes the bytes of a token; returns the text that is certain by now.
    /// Bytes that are not UTF-8 become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.extend_from_slice(bytes);
        let found = self
            .stops
            .iter()
            .filter_map(|stop| position(&self.held, stop))
            .min();
        if let Some(at) = found {
            self.stopped = true;
            self.held.truncate(at);
            return self.flush();
        }
        let certain = self.certain();
        let text = String::from_utf8_lossy(&self.held[..certain]).into_owned();
        self.held.drain(..certain);
        text
    }

    /// Lets out what was held back, at the end.
    pub fn flush(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }

    /// True once a stop string was met; nothing comes after it.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// How many held bytes are whole characters that no stop string can begin in.
    fn certain(&self) -> usize {
        let len = self.held.len();
        let begins_a_stop = |start: &usize| {
            let tail = &self.held[*start..];
            self.stops
                .iter()
                .any(|stop| stop.len() > tail.len() && stop.starts_with(tail))
        };
        let before_stop = (len.saturating_sub(MAX_STOP_BYTES)..len)
            .find(begins_a_stop)
            .unwrap_or(len);
        before_stop.min(len - incomplete_tail(&self.held))
    }
}

/// Bytes at the end that begin a character and lack its rest.
fn incomplete_tail(bytes: &[u8]) -> usize {
    // A character has at most four bytes, so at most three can be waiting for more.
    (1..=bytes.len().min(3))
        .find(|n| {
            let lead = bytes[bytes.len() - n];
            let needed = match lead {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => 1,
            };
            needed > *n
                && std::str::from_utf8(&bytes[bytes.len() - n..])
                    .is_err_and(|e| e.error_len().is_none())
        })
        .unwrap_or(0)
}

fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes out of `pieces`, piece by piece and at the end.
    fn check(stops: &[&str], pieces: &[&[u8]], expected: &[&str]) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut stream = TextStream::new(&stops).expect("valid stops");
        let mut out: Vec<String> = pieces.iter().map(|piece| stream.push(piece)).collect();
        out.push(stream.flush());
        assert_eq!(out, expected);
    }

    #[test]
    fn text_passes_straight_through() {
        check(&[], &[b"ab", b"", b"c"], &["ab", "", "c", ""]);
    }

    #[test]
    fn a_character_waits_for_its_last_byte() {
        check(&[], &[b"\xe2", b"\x82", b"\xac!"], &["", "", "€!", ""]);
        check(&[], &[b"\xf0\x9f\x90", b"\x9d"], &["", "🐝", ""]);
    }

    #[test]
    fn broken_characters_are_replaced() {
        check(
            &[],
            &[b"\xff", b"a\xe2", b"b"],
            &["\u{fffd}", "a", "\u{fffd}b", ""],
        );
        check(&[], &[b"\xe2\x82"], &["", "\u{fffd}"]);
        check(&[], &[b"\xed\xa0"], &["\u{fffd}\u{fffd}", ""]);
    }

    #[test]
    fn a_stop_string_may_span_tokens() {
        check(
            &["END"],
            &[b"oneE", b"N", b"Dtwo", b"x"],
            &["one", "", "", "", ""],
        );
        check(&["END"], &[b"oneE", b"N", b"O"], &["one", "", "ENO", ""]);
        check(&["END"], &[b"one EN"], &["one ", "EN"]);
    }

    #[test]
    fn the_earliest_stop_wins() {
        check(&["cd", "b"], &[b"abcd"], &["a", ""]);
        check(&["aab"], &[b"aaa", b"b"], &["a", "", ""]);
    }

    #[test]
    fn refuses_stops_by_name() {
        let refused = |stops: &[String]| {
            matches!(
                TextStream::new(stops),
                Err(EngineError::BadParameter { name: "stop", .. })
            )
        };
        assert!(refused(&[String::new()]));
        assert!(refused(&["x".repeat(MAX_STOP_BYTES + 1)]));
        assert!(refused(&vec!["x".to_owned(); MAX_STOPS + 1]));
        assert!(!refused(&vec!["x".repeat(MAX_STOP_BYTES); MAX_STOPS]));
    }

    proptest! {
        /// However a text is cut, what comes out is the text up to the first stop string.
        #[test]
        fn cuts_do_not_matter(text in "[abé€🐝]{0,40}", stop in "[abé]{1,4}", seed in any::<u64>()) {
            let expected = text.find(&stop).map_or(text.as_str(), |at| &text[..at]);
            let mut stream = TextStream::new(std::slice::from_ref(&stop)).expect("valid stop");
            let mut out = String::new();
            let mut rest = text.as_bytes();
            let mut state = seed;
            while !rest.is_empty() && !stream.stopped() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let n = (1 + (state >> 60) as usize % 5).min(rest.len());
                out.push_str(&stream.push(&rest[..n]));
                rest = &rest[n..];
            }
            out.push_str(&stream.flush());
            prop_assert_eq!(out, expected);
        }
    }
}
