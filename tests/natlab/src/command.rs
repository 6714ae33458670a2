//! Owns what the laboratory is told while it runs, and what it answers: JSON, one line each.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::internet::{Counts, Internet};
use crate::nat::NatConfig;
use crate::weather::Weather;

/// Something to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Says what happened so far.
    Counts,
    /// Takes a site's link away.
    Flap {
        /// Whose.
        site: String,
        /// For how long.
        millis: u64,
    },
    /// Keeps hosts of a site from each other, or not.
    Isolate {
        /// Which.
        site: String,
        /// Whether they are kept from each other.
        isolated: bool,
    },
    /// Puts another NAT before a site.
    Nat {
        /// Which.
        site: String,
        /// Of what kind.
        nat: NatConfig,
    },
    /// Gives a site another public address.
    Readdress {
        /// Which.
        site: String,
    },
    /// Changes a site's link.
    Weather {
        /// Whose.
        site: String,
        /// What it is like from now on.
        weather: Weather,
    },
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// The new public address.
    Address {
        /// It.
        address: Ipv4Addr,
    },
    /// What happened so far.
    Counts(Counts),
    /// It is done.
    Done,
    /// It cannot be done.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Command {
    /// Reads one line and does it.
    #[must_use]
    pub fn run(line: &str, now: Duration, internet: &mut Internet) -> Answer {
        match serde_json::from_str::<Self>(line) {
            Ok(command) => command.apply(now, internet),
            Err(error) => Answer::Refused {
                reason: error.to_string(),
            },
        }
    }

    fn apply(self, now: Duration, internet: &mut Internet) -> Answer {
        let done = |is_done: bool, site: &str| match is_done {
            true => Answer::Done,
            false => Answer::Refused {
                reason: format!("there is no such site {site}, or it has no NAT"),
            },
        };
        match self {
            Self::Counts => Answer::Counts(internet.counts().clone()),
            Self::Flap { site, millis } => {
                let until = now + Duration::from_millis(millis);
                done(internet.set_down(&site, until), &site)
            }
            Self::Isolate { site, isolated } => done(internet.set_isolated(&site, isolated), &site),
            Self::Nat { site, nat } => done(internet.set_nat(&site, nat), &site),
            Self::Readdress { site } => match internet.readdress(&site) {
                Some(address) => Answer::Address { address },
                None => done(false, &site),
            },
            Self::Weather { site, weather } => done(internet.set_weather(&site, weather), &site),
        }
    }
}
