//! Whose answer is whose: the machine sees one number space, this tab and its followers have their
//! own.

use crate::tabs::TabId;
use std::collections::BTreeMap;
use thrum_protocol::view::{AskErrorCode, AskUpdate};

/// count; answers under way for all tabs together. More than the machine takes, so that its own
/// refusal is what is seen.
const MAX_OPEN: usize = 64;

/// Who asked, and the number it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asker {
    /// `None` is this tab
    pub(crate) tab: Option<TabId>,
    pub(crate) ask: u64,
}

/// The answers under way.
#[derive(Default)]
pub(crate) struct Asks {
    last: u64,
    open: BTreeMap<u64, Asker>,
}

impl Asks {
    /// The machine's number for a new ask.
    ///
    /// # Errors
    /// What to tell the asker where it cannot be taken.
    pub(crate) fn begin(&mut self, asker: Asker) -> Result<u64, AskUpdate> {
        let refused = |code, message: &str| AskUpdate::Failed {
            code,
            message: message.to_owned(),
        };
        if self.open.len() >= MAX_OPEN {
            return Err(refused(
                AskErrorCode::Busy,
                "too many answers are under way",
            ));
        }
        if self.open.values().any(|known| *known == asker) {
            let message = "an answer with this number is under way";
            return Err(refused(AskErrorCode::InvalidRequest, message));
        }
        self.last += 1;
        self.open.insert(self.last, asker);
        Ok(self.last)
    }

    /// The machine's number of an ask that is under way.
    pub(crate) fn number(&self, asker: Asker) -> Option<u64> {
        self.open
            .iter()
            .find(|(_, known)| **known == asker)
            .map(|(number, _)| *number)
    }

    /// The machine's numbers of everything that a tab asked.
    pub(crate) fn of_tab(&self, tab: TabId) -> Vec<u64> {
        let theirs = self.open.iter().filter(|(_, asker)| asker.tab == Some(tab));
        theirs.map(|(number, _)| *number).collect()
    }

    /// Who must be told of an update. The last one ends the ask.
    pub(crate) fn asker(&mut self, number: u64, update: &AskUpdate) -> Option<Asker> {
        match update {
            AskUpdate::Done { .. } | AskUpdate::Failed { .. } => self.open.remove(&number),
            AskUpdate::Delta { .. } | AskUpdate::Retrying { .. } | AskUpdate::Routed { .. } => {
                self.open.get(&number).copied()
            }
        }
    }
}
