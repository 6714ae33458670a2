//! The person's choice to work for others: made by a click, kept across reloads, and counted.

use crate::env::Env;
use crate::io::{Output, StoreKey};
use crate::limits::MAX_SLOTS;
use thrum_protocol::limits::{MAX_NEW_TOKENS, MIN_SHARE_PERCENT};
use thrum_protocol::record::{ContributionRecord, DonationChoice, DonationRecord, Record as _};
use thrum_protocol::view::{DonateLimits, DonationMode, LogLevel};

/// The choice and what came of it.
pub(crate) struct Donation {
    mode: DonationMode,
    limits: DonateLimits,
    contribution: ContributionRecord,
    /// whether the remembered choice is still to be taken up
    resume: bool,
}

impl Donation {
    /// Asks for what was kept.
    pub(crate) fn new(env: &mut Env, resume: bool) -> Self {
        env.push(Output::Load(StoreKey::Donation));
        env.push(Output::Load(StoreKey::Contribution));
        Self {
            mode: DonationMode::Off,
            limits: DonateLimits::default(),
            contribution: ContributionRecord::default(),
            resume,
        }
    }

    pub(crate) fn mode(&self) -> DonationMode {
        self.mode
    }

    pub(crate) fn on(&self) -> bool {
        self.mode == DonationMode::On
    }

    pub(crate) fn limits(&self) -> DonateLimits {
        self.limits
    }

    pub(crate) fn contribution(&self) -> ContributionRecord {
        self.contribution
    }

    /// Taken up unless the person chose anew in the meantime. A damaged record counts as none.
    pub(crate) fn loaded(&mut self, env: &mut Env, key: StoreKey, value: Option<&[u8]>) {
        match key {
            StoreKey::Donation => {
                let record = value.and_then(DonationRecord::from_bytes);
                if let (true, Some(record)) = (self.resume, record) {
                    self.limit(env, record.limits);
                    let mode = match record.choice {
                        DonationChoice::Off => DonationMode::Off,
                        DonationChoice::On => DonationMode::On,
                        DonationChoice::Paused => DonationMode::Paused,
                    };
                    self.enter(env, mode, "the remembered choice");
                }
                self.resume = false;
            }
            StoreKey::Contribution => {
                let record = value.and_then(ContributionRecord::from_bytes);
                let ContributionRecord {
                    jobs_done,
                    tokens_done,
                } = record.unwrap_or_default();
                let sum = &mut self.contribution;
                sum.jobs_done = sum.jobs_done.saturating_add(jobs_done);
                sum.tokens_done = sum.tokens_done.saturating_add(tokens_done);
            }
        }
        env.changed = true;
    }

    pub(crate) fn donate(&mut self, env: &mut Env, limits: DonateLimits) {
        self.limit(env, limits);
        self.choose(env, DonationMode::On, DonationChoice::On);
    }

    /// Holds a donation back that was on or finishing; there is nothing to hold back otherwise.
    pub(crate) fn pause(&mut self, env: &mut Env) {
        match self.mode {
            DonationMode::On | DonationMode::Finishing | DonationMode::Paused => {
                self.choose(env, DonationMode::Paused, DonationChoice::Paused);
            }
            DonationMode::Off => self.resume = false,
        }
    }

    /// `busy`: whether tasks are left to finish.
    pub(crate) fn finish(&mut self, env: &mut Env, busy: bool) {
        let mode = if busy && self.mode != DonationMode::Off {
            DonationMode::Finishing
        } else {
            DonationMode::Off
        };
        self.choose(env, mode, DonationChoice::Off);
    }

    /// The last task is done.
    pub(crate) fn idle(&mut self, env: &mut Env) {
        if self.mode == DonationMode::Finishing {
            self.enter(env, DonationMode::Off, "all tasks are finished");
        }
    }

    pub(crate) fn count(&mut self, env: &mut Env, tokens: u32, completed: bool) {
        let sum = &mut self.contribution;
        sum.jobs_done = sum.jobs_done.saturating_add(u64::from(completed));
        sum.tokens_done = sum.tokens_done.saturating_add(u64::from(tokens));
        env.push(Output::Store {
            key: StoreKey::Contribution,
            value: sum.to_bytes(),
        });
        env.changed = true;
    }

    fn limit(&mut self, env: &mut Env, limits: DonateLimits) {
        self.limits = bounded(limits);
        let percent = self.limits.share_percent;
        env.push(Output::Share { percent });
    }

    fn choose(&mut self, env: &mut Env, mode: DonationMode, choice: DonationChoice) {
        self.resume = false;
        let limits = self.limits;
        let value = DonationRecord { choice, limits }.to_bytes();
        env.push(Output::Store {
            key: StoreKey::Donation,
            value,
        });
        self.enter(env, mode, "as you chose");
    }

    fn enter(&mut self, env: &mut Env, mode: DonationMode, why: &str) {
        let same = self.mode == mode;
        self.mode = mode;
        env.changed = true;
        if same {
            return;
        }
        let what = match mode {
            DonationMode::Finishing => "finishing the tasks at hand, taking no new ones",
            DonationMode::Off => "donating is off",
            DonationMode::On => "donating is on",
            DonationMode::Paused => "donating is paused",
        };
        env.log(LogLevel::Info, format!("{what} ({why})"));
    }
}

/// At least one slot and one token, at most what the protocol and a tab bear.
fn bounded(limits: DonateLimits) -> DonateLimits {
    DonateLimits {
        slots: limits.slots.clamp(1, MAX_SLOTS),
        max_new_tokens: limits.max_new_tokens.clamp(1, MAX_NEW_TOKENS),
        share_percent: limits.share_percent.clamp(MIN_SHARE_PERCENT, 100),
    }
}
