//! What a person chose, as it is remembered between visits.

use serde::{Deserialize, Serialize};
use thrum_protocol::limits::{MAX_NEW_TOKENS, MIN_SHARE_PERCENT};
use thrum_protocol::view::DonateLimits;

/// tasks; more at once only makes each slower in a tab.
pub const MAX_SLOTS: u32 = 8;

/// tokens; fewer than this is no answer.
pub const MIN_TOKENS: u32 = 16;

/// characters; the longest name of a store in the address.
const MAX_STORE_CHARS: usize = 32;

/// What a person agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// connect, and ask other tabs
    Connect,
    /// connect, and answer for other tabs
    Donate,
}

/// A choice and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// what was agreed to
    pub choice: Choice,
    /// what a donation gives at most
    #[serde(default)]
    pub limits: DonateLimits,
}

impl Remembered {
    /// The text that is stored.
    #[must_use]
    pub fn to_text(self) -> String {
        serde_json::to_string(&self).expect("two plain fields have a JSON form")
    }

    /// The choice in a stored text. Anything else is no choice: the page asks again.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let read: Self = serde_json::from_str(text).ok()?;
        Some(Self {
            limits: within_limits(read.limits),
            ..read
        })
    }
}

/// The nearest limits that the page offers.
#[must_use]
pub fn within_limits(limits: DonateLimits) -> DonateLimits {
    DonateLimits {
        slots: limits.slots.clamp(1, MAX_SLOTS),
        max_new_tokens: limits.max_new_tokens.clamp(MIN_TOKENS, MAX_NEW_TOKENS),
        share_percent: limits.share_percent.clamp(MIN_SHARE_PERCENT, 100),
    }
}

/// The store that the address names: two stores are two peers, also in one browser.
#[must_use]
pub fn store_name(asked: Option<&str>) -> String {
    asked
        .filter(|name| !name.is_empty() && name.len() <= MAX_STORE_CHARS)
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        .unwrap_or("thrum")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_survives_being_written_down() {
        let remembered = Remembered {
            choice: Choice::Donate,
            limits: DonateLimits {
                slots: 3,
                max_new_tokens: 64,
                share_percent: 50,
            },
        };
        assert_eq!(
            Remembered::from_text(&remembered.to_text()),
            Some(remembered)
        );
    }

    #[test]
    fn what_is_no_choice_is_asked_again() {
        for text in ["", "donate", "{}", r#"{"choice":"everything"}"#] {
            assert_eq!(Remembered::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn stored_limits_are_brought_into_range() {
        let text = r#"{"choice":"donate","limits":{"slots":0,"maxNewTokens":4000000000}}"#;
        let limits = Remembered::from_text(text).expect("a choice").limits;
        assert_eq!((limits.slots, limits.max_new_tokens), (1, MAX_NEW_TOKENS));
    }

    #[test]
    fn a_store_has_a_plain_name() {
        assert_eq!(store_name(None), "thrum");
        assert_eq!(store_name(Some("second")), "second");
        assert_eq!(store_name(Some("")), "thrum");
        assert_eq!(store_name(Some("../x")), "thrum");
        assert_eq!(store_name(Some(&"a".repeat(33))), "thrum");
    }
}
