//! What becomes of an announcement that a neighbour passes on.
//!
//! Who passes on what cannot be true is to blame, for the honest check before they pass on. What
//! depends on a clock or on how often somebody speaks is only ignored: the honest may see it
//! differently.

use crate::allowance::Allowance;
use crate::book::Book;
use crate::env::Env;
use crate::io::Verdict;
use crate::limits::{
    ACCEPT_BURST, ACCEPT_PERIOD, GOSSIP_BURST, GOSSIP_PERIOD, MAX_CLOCK_SKEW, MAX_CONNECTED_PEERS,
};
use crate::misbehaviour::Misbehaviour;
use crate::roster::Roster;
use std::collections::BTreeMap;
use thrum_protocol::capability::CapabilityRecord;
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;

/// What was announced, and how much of it each neighbour brought.
pub(crate) struct Gossip {
    pub(crate) book: Book,
    /// what may be passed on
    passing: Allowance,
    /// what each neighbour may bring; connected peers only
    neighbours: BTreeMap<NodeId, Allowance>,
}

impl Gossip {
    pub(crate) fn new(now: Millis) -> Self {
        Self {
            book: Book::default(),
            passing: Allowance::new(now, ACCEPT_BURST),
            neighbours: BTreeMap::new(),
        }
    }

    pub(crate) fn disconnected(&mut self, peer: NodeId) {
        self.neighbours.remove(&peer);
    }

    /// The verdict, and the breach where there is one. What is accepted is in the book.
    pub(crate) fn judge(
        &mut self,
        env: &mut Env,
        roster: &Roster,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<Verdict, Misbehaviour> {
        // A peer that we hung up on, or that was not announced.
        if !roster.is_connected(from) {
            return Ok(Verdict::Ignore);
        }
        debug_assert!(self.neighbours.len() <= MAX_CONNECTED_PEERS);
        let full = || Allowance::new(env.now, GOSSIP_BURST);
        let brought = self.neighbours.entry(from).or_insert_with(full);
        if !brought.take(env.now, GOSSIP_BURST, GOSSIP_PERIOD) {
            return Err(Misbehaviour::AnnouncementFlood);
        }
        let (author, record) = CapabilityRecord::open(bytes)?;
        let Some(ends) = self.believed_until(env, roster, author, &record) else {
            return Ok(Verdict::Ignore);
        };
        if !self.book.may_speak(env.now, author) {
            return if author == from {
                Err(Misbehaviour::AnnouncementFlood)
            } else {
                Ok(Verdict::Ignore)
            };
        }
        if !self.passing.take(env.now, ACCEPT_BURST, ACCEPT_PERIOD) {
            return Ok(Verdict::Ignore);
        }
        self.book.write(env.now, author, ends, record);
        env.changed = true;
        Ok(Verdict::Accept)
    }

    /// Until when, by our clock; `None` where it says nothing, or nothing new.
    fn believed_until(
        &self,
        env: &Env,
        roster: &Roster,
        author: NodeId,
        record: &CapabilityRecord,
    ) -> Option<Millis> {
        let today = env.wall_clock()?;
        let known = self.book.sequence(author);
        let old = known.is_some_and(|sequence| record.sequence <= sequence);
        let early = Millis(record.sequence) > today + MAX_CLOCK_SKEW;
        let left = Millis(record.expires).since(today);
        let liar = roster
            .peer(author)
            .is_some_and(|peer| peer.standing.shunned(env.now));
        let new = author != env.me && !old && !early && !liar && left > Millis(0);
        new.then_some(env.now + left)
    }
}
