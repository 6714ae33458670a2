//! How fast models were on this machine's CPU, so that a person who comes back does not wait for it
//! to be measured again.

use serde::{Deserialize, Serialize};
use thrum_protocol::id::ModelId;

/// ms; the machine may be busy while it is measured, and is another one tomorrow: less power, more
/// tabs.
const MAX_AGE_MILLIS: u64 = 24 * 3_600 * 1_000;

/// count; the oldest are forgotten. More models than anybody keeps in a browser.
const MAX_SPEEDS: usize = 16;

/// What the speed of a model depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject<'a> {
    pub(crate) model: ModelId,
    pub(crate) threads: u32,
    /// of this program
    pub(crate) version: &'a str,
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Speeds {
    /// oldest first
    speeds: Vec<Speed>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Speed {
    model: ModelId,
    threads: u32,
    version: String,
    millitokens_per_second: u64,
    /// ms since 1970
    measured_millis: u64,
}

impl Speed {
    fn is_of(&self, subject: Subject<'_>) -> bool {
        let Subject {
            model,
            threads,
            version,
        } = subject;
        self.model == model && self.threads == threads && self.version == version
    }
}

impl Speeds {
    /// Reads the note; nothing of one that is none.
    pub(crate) fn parse(note: &str) -> Self {
        serde_json::from_str(note).unwrap_or_default()
    }

    /// As [`Speeds::parse`] reads it.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("plain numbers and texts are JSON")
    }

    /// Thousandths of a token per second, as measured in the day before `now`, ms since 1970.
    pub(crate) fn find(&self, subject: Subject<'_>, now_millis: u64) -> Option<u64> {
        let found = self.speeds.iter().find(|speed| speed.is_of(subject))?;
        // A clock that was set back makes what was measured in the future worthless.
        let age_millis = now_millis.checked_sub(found.measured_millis)?;
        (age_millis < MAX_AGE_MILLIS).then_some(found.millitokens_per_second)
    }

    /// Remembers a speed in place of the one before.
    pub(crate) fn put(&mut self, subject: Subject<'_>, speed: u64, now_millis: u64) {
        self.speeds.retain(|speed| !speed.is_of(subject));
        let surplus = (self.speeds.len() + 1).saturating_sub(MAX_SPEEDS);
        self.speeds.drain(..surplus);
        self.speeds.push(Speed {
            model: subject.model,
            threads: subject.threads,
            version: subject.version.to_owned(),
            millitokens_per_second: speed,
            measured_millis: now_millis,
        });
    }
}
