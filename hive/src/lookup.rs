//! Who has a model that an ask waits for? Those who announced it first; where nobody did, the
//! relays' rendezvous, and where that knows nobody, the Kademlia table.

use crate::ask::Ask;
use crate::asker::Asker;
use crate::book::Book;
use crate::env::{Env, earlier};
use crate::io::{Found, Output, Place, RelayIndex};
use crate::limits::{
    LOOKUP_PERIOD, LOOKUP_TIMEOUT, MAX_FOUND, MAX_LOOKUPS, MAX_SOUGHT_DIALS, SEEK_PERIOD,
};
use crate::roster::Roster;
use rand_core::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::time::Millis;

/// Searches under way, and who was found for asks that still wait.
#[derive(Default)]
pub(crate) struct Lookup {
    /// no more than there are asks
    asks: BTreeMap<u64, Looks>,
    searches: BTreeMap<ModelId, Search>,
    /// by model: those that places name, [`MAX_FOUND`] of [`MAX_LOOKUPS`] models at most
    found: BTreeMap<ModelId, BTreeSet<NodeId>>,
}

/// When a waiting ask looks again.
#[derive(Clone, Copy)]
struct Looks {
    /// through what it knows
    here: Millis,
    /// at the relays
    there: Millis,
}

struct Search {
    /// who has not answered yet
    left: BTreeSet<Place>,
    /// whether anybody was found
    found: bool,
    /// the rendezvous knew nobody
    asked_kad: bool,
    until: Millis,
}

impl Lookup {
    /// Dials of those who were found, a few.
    pub(crate) fn looked_up(
        &mut self,
        env: &mut Env,
        roster: &mut Roster,
        place: Place,
        model: ModelId,
        found: Vec<Found>,
    ) {
        let Some(search) = self.searches.get_mut(&model) else {
            return;
        };
        if !search.left.remove(&place) {
            return;
        }
        search.found |= !found.is_empty();
        let known = self.found.entry(model).or_default();
        let room = MAX_FOUND.saturating_sub(known.len());
        known.extend(found.iter().take(room).map(|it| it.peer));
        let peers = found.iter().map(|it| it.peer).collect();
        roster.found(env, found);
        seek(env, roster, peers);
    }

    /// `relays`: those that keep a place for us.
    pub(crate) fn tick(
        &mut self,
        env: &mut Env,
        roster: &mut Roster,
        asker: &Asker,
        book: &Book,
        relays: &[RelayIndex],
    ) {
        self.advance(env);
        self.asks.retain(|&number, _| asker.is_sought(number));
        if self.asks.is_empty() && self.searches.is_empty() {
            self.found.clear();
        }
        for (number, ask) in asker.sought() {
            let looks = self.asks.entry(number).or_insert(Looks {
                here: env.now,
                there: env.now,
            });
            if looks.here > env.now {
                continue;
            }
            looks.here = env.now + SEEK_PERIOD;
            let asks_relays = looks.there <= env.now;
            let announced = announced(env.now, roster, ask, book);
            let mut peers: Vec<NodeId> = announced.iter().map(|it| it.peer).collect();
            roster.found(env, announced);
            let model = ask.model_id();
            if let Some(found) = model.and_then(|model| self.found.get(&model)) {
                peers.extend(found);
            }
            let enough = seek(env, roster, peers);
            if let Some(model) = model.filter(|_| asks_relays && !enough) {
                looks.there = env.now + LOOKUP_PERIOD;
                self.begin(env, model, relays);
            }
        }
    }

    fn begin(&mut self, env: &mut Env, model: ModelId, relays: &[RelayIndex]) {
        let full = self.searches.len() >= MAX_LOOKUPS;
        if full || relays.is_empty() || self.searches.contains_key(&model) {
            return;
        }
        let left: BTreeSet<Place> = relays.iter().copied().map(Place::Rendezvous).collect();
        for &place in &left {
            env.push(Output::LookUp { place, model });
        }
        let search = Search {
            left,
            found: false,
            asked_kad: false,
            until: env.now + LOOKUP_TIMEOUT,
        };
        self.searches.insert(model, search);
    }

    /// A search that is answered, or waited for long enough, goes on or ends.
    fn advance(&mut self, env: &mut Env) {
        self.searches.retain(|&model, search| {
            if !search.left.is_empty() && env.now < search.until {
                return true;
            }
            if search.found || search.asked_kad {
                return false;
            }
            search.asked_kad = true;
            search.left = BTreeSet::from([Place::Kad]);
            search.until = env.now + LOOKUP_TIMEOUT;
            let place = Place::Kad;
            env.push(Output::LookUp { place, model });
            true
        });
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        let asks = self.asks.values().map(|looks| Some(looks.here));
        let searches = self.searches.values().map(|search| Some(search.until));
        asks.chain(searches).fold(None, earlier)
    }
}

/// Those who announced the model, are not connected, and did not fail to answer a moment ago.
fn announced(now: Millis, roster: &Roster, ask: &Ask, book: &Book) -> Vec<Found> {
    let offers = book.offering().filter(|(peer, entry)| {
        let mut models = entry.record.models.iter();
        roster.may_seek(now, *peer) && models.any(|model| ask.accepts(model))
    });
    offers.map(|(peer, entry)| entry.found(peer)).collect()
}

/// Dials a few of them, drawn by chance so that askers spread; whether as many are dialled as may
/// be at once.
fn seek(env: &mut Env, roster: &mut Roster, mut peers: Vec<NodeId>) -> bool {
    let mut sought = roster.sought_count();
    peers.retain(|&peer| roster.may_seek(env.now, peer));
    while sought < MAX_SOUGHT_DIALS && !peers.is_empty() {
        let drawn = env.rng.next_u64() % peers.len() as u64;
        let peer = peers.swap_remove(drawn as usize);
        roster.hurry(env, peer);
        sought += 1;
    }
    sought >= MAX_SOUGHT_DIALS
}
