//! Telling everybody what we can do: as often as it is news, however many others there are.
//!
//! Each listens before it speaks. Where enough peers were heard that offer the same, one that is due
//! says nothing and waits twice as long; where too few were, it speaks and waits half as long. So
//! a model that one peer holds is announced every few minutes, and one that ten thousand hold as
//! often as if ten did.

use crate::backoff::jittered;
use crate::book::Book;
use crate::env::Env;
use crate::io::{Output, Topic};
use crate::limits::{
    ANNOUNCE_DELAY, ANNOUNCE_DELAY_PER_PEER, ANNOUNCE_ENOUGH, ANNOUNCE_ENOUGH_OF_MODEL,
    ANNOUNCE_PERIOD_MAX, ANNOUNCE_PERIOD_MIN, ANNOUNCE_SPACING,
};
use thrum_protocol::capability::{CapabilityRecord, SpeedClass};
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::{MAX_CAPABILITY_BYTES, MAX_CAPABILITY_LIFE};
use thrum_protocol::model::{Backend, ModelOffer};
use thrum_protocol::time::Millis;

/// What there is to announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) relays: Vec<NodeId>,
    pub(crate) models: Vec<ModelOffer>,
    pub(crate) backend: Option<Backend>,
    pub(crate) speed: SpeedClass,
    pub(crate) slots: u32,
}

/// Says it when it is due.
pub(crate) struct Announcer {
    offer: Offer,
    /// what was last published, and until when others believe it
    said: Option<(Offer, Millis)>,
    due: Option<Millis>,
    period: Millis,
    /// when the next may be published
    not_before: Millis,
    sequence: u64,
}

impl Announcer {
    pub(crate) fn new(now: Millis) -> Self {
        Self {
            offer: Offer::default(),
            said: None,
            due: None,
            period: ANNOUNCE_PERIOD_MIN,
            not_before: now,
            sequence: 0,
        }
    }

    /// Nobody was there to hear it.
    pub(crate) fn not_published(&mut self, now: Millis) {
        self.said = None;
        self.due = Some(now + ANNOUNCE_SPACING);
    }

    /// `offer` is what we can do; `listeners` how many peers are connected directly, `known` how
    /// many we know at all.
    pub(crate) fn tick(&mut self, env: &mut Env, offer: Offer, book: &Book, crowd: Crowd) {
        if self.said.as_ref().is_some_and(|(_, ends)| *ends <= env.now) {
            self.said = None;
        }
        if self.offer != offer {
            self.offer = offer;
            let peers = u64::try_from(crowd.known).unwrap_or(u64::MAX);
            let more = ANNOUNCE_DELAY_PER_PEER.0.saturating_mul(peers);
            let wait = jittered(&mut env.rng, ANNOUNCE_DELAY + Millis(more));
            let soon = self.not_before.max(env.now + wait);
            self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
        }
        if self.offer.models.is_empty() && self.said.is_none() {
            self.due = None;
        }
        if crowd.listeners > 0 && self.due.is_some_and(|due| due <= env.now) {
            self.speak(env, book);
        }
    }

    fn speak(&mut self, env: &mut Env, book: &Book) {
        let Some(today) = env.wall_clock() else {
            self.due = Some(env.now + ANNOUNCE_SPACING);
            return;
        };
        let heard = book.heard_of(env.now, &self.offer.models);
        let enough = heard.all >= ANNOUNCE_ENOUGH || heard.alike >= ANNOUNCE_ENOUGH_OF_MODEL;
        let wrong = |(said, _): &(Offer, Millis)| said.models != self.offer.models;
        if enough && !self.said.as_ref().is_some_and(wrong) {
            self.period = ANNOUNCE_PERIOD_MAX.min(self.period + self.period);
        } else {
            self.publish(env, today);
            self.period = ANNOUNCE_PERIOD_MIN.max(Millis(self.period.0 / 2));
        }
        self.due = Some(env.now + jittered(&mut env.rng, self.period));
    }

    fn publish(&mut self, env: &mut Env, today: Millis) {
        self.sequence = today.0.max(self.sequence.saturating_add(1));
        let mut record = CapabilityRecord {
            sequence: self.sequence,
            expires: self.sequence.saturating_add(MAX_CAPABILITY_LIFE.0),
            relays: self.offer.relays.clone(),
            models: self.offer.models.clone(),
            backend: self.offer.backend,
            speed: self.offer.speed,
            slots: self.offer.slots,
        };
        let mut bytes = record.seal(&env.key);
        while bytes.len() > MAX_CAPABILITY_BYTES && record.models.pop().is_some() {
            bytes = record.seal(&env.key);
        }
        let topic = Topic::Announce;
        env.push(Output::Publish { topic, bytes });
        self.not_before = env.now + ANNOUNCE_SPACING;
        let ends = env.now + MAX_CAPABILITY_LIFE;
        self.said = (!self.offer.models.is_empty()).then(|| (self.offer.clone(), ends));
    }

    pub(crate) fn next_wake(&self, crowd: Crowd) -> Option<Millis> {
        self.due.filter(|_| crowd.listeners > 0)
    }
}

/// Who is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// peers connected directly
    pub(crate) listeners: usize,
    /// peers known at all
    pub(crate) known: usize,
}
