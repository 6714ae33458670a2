//! Whether a task of another peer is taken: the rules, what was seen before, and whose turn it is.

use crate::donation::Donation;
use crate::engine::Engine;
use crate::env::Env;
use crate::limits::{MAX_SEEN_TASKS, MAX_WAITING, WAITING_TIME};
use crate::session::Session;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use thrum_protocol::id::{NodeId, TaskId};
use thrum_protocol::task::{Accept, Prompt, Refusal, RefusalCode};
use thrum_protocol::time::Millis;
use thrum_protocol::view::DonationMode;

/// What a task is judged by.
pub(crate) struct Terms<'a> {
    pub(crate) donation: &'a Donation,
    pub(crate) engine: &'a Engine,
}

/// The memory of the judge.
#[derive(Default)]
pub(crate) struct Admissions {
    seen: BTreeSet<Attempt>,
    /// the same, oldest first; [`MAX_SEEN_TASKS`] at most
    seen_order: VecDeque<Attempt>,
    /// peers that found no free slot, and when; [`MAX_WAITING`] at most
    waiting: BTreeMap<NodeId, Millis>,
    /// who had a slot last
    last_served: Option<NodeId>,
}

type Attempt = (NodeId, TaskId, u32);

impl Admissions {
    /// `holders` are the peers that hold a slot, one entry per slot.
    pub(crate) fn judge(
        &mut self,
        env: &Env,
        session: &Session,
        prompt: &Prompt,
        terms: &Terms<'_>,
        holders: &[NodeId],
    ) -> Result<Accept, Refusal> {
        if !self.remember((session.peer, session.task, session.attempt)) {
            return refuse(RefusalCode::Replayed, "this attempt was seen before");
        }
        match terms.donation.mode() {
            DonationMode::On => {}
            DonationMode::Finishing => return refuse(RefusalCode::Stopping, "finishing"),
            DonationMode::Off | DonationMode::Paused => {
                return refuse(RefusalCode::NotDonating, "this peer takes no work");
            }
        }
        let Some(loaded) = terms.engine.loaded() else {
            return refuse(RefusalCode::ModelUnavailable, "no model is loaded");
        };
        if loaded.model.id != prompt.model {
            return refuse(RefusalCode::ModelUnavailable, "another model is loaded");
        }
        let limits = terms.donation.limits();
        let fresh = (prompt.max_new_tokens as usize).saturating_sub(prompt.resumed.len());
        if fresh == 0 || fresh > limits.max_new_tokens as usize {
            let message = format!("1 to {} tokens per task", limits.max_new_tokens);
            return refuse(RefusalCode::InvalidRequest, &message);
        }
        if !prompt.sampling.genomes.is_empty() {
            let message = "this peer wears genomes for its own answers only";
            return refuse(RefusalCode::InvalidRequest, message);
        }
        if prompt.deadline_millis == Millis(0) {
            return refuse(RefusalCode::DeadlinePassed, "the deadline has passed");
        }
        if !self.has_turn(env.now, session.peer, holders, limits.slots as usize) {
            self.wait(env.now, session.peer);
            return refuse(RefusalCode::Busy, "all slots are taken");
        }
        self.waiting.remove(&session.peer);
        let backend = loaded.backend;
        Ok(Accept { backend })
    }

    pub(crate) fn ended(&mut self, peer: NodeId) {
        self.last_served = Some(peer);
    }

    /// One peer holds all slots but one at most, and the last free slot goes to somebody else
    /// while somebody else waits.
    fn has_turn(&mut self, now: Millis, peer: NodeId, holders: &[NodeId], slots: usize) -> bool {
        self.waiting
            .retain(|_, since| now.since(*since) < WAITING_TIME);
        let held = holders.iter().filter(|&&holder| holder == peer).count();
        let cap = slots.saturating_sub(1).max(1);
        let had_its_turn = held > 0 || self.last_served == Some(peer);
        let others_wait = self.waiting.keys().any(|&waiting| waiting != peer);
        let last_slot = holders.len() + 1 >= slots;
        holders.len() < slots && held < cap && !(last_slot && had_its_turn && others_wait)
    }

    fn wait(&mut self, now: Millis, peer: NodeId) {
        if self.waiting.len() < MAX_WAITING {
            self.waiting.entry(peer).or_insert(now);
        }
    }

    /// Whether it is new.
    fn remember(&mut self, attempt: Attempt) -> bool {
        if !self.seen.insert(attempt) {
            return false;
        }
        self.seen_order.push_back(attempt);
        if self.seen_order.len() > MAX_SEEN_TASKS
            && let Some(oldest) = self.seen_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

fn refuse<T>(code: RefusalCode, message: &str) -> Result<T, Refusal> {
    let message = message.to_owned();
    Err(Refusal { code, message })
}
