//! Who has a model that an ask waits for? Those who announced it first; where nobody did, the
//! relays' rendezvous, and where that knows nobody, the Kademlia table.

use crate::ask::Ask;
use crate::asker::Asker;
use crate::book::Book;
use crate::env::{Env, earlier};
use crate::io::{Found, Output, Place, RelayIndex};
use crate::limits::{LOOKUP_PERIOD, LOOKUP_TIMEOUT, MAX_LOOKUPS, MAX_SOUGHT_DIALS};
use crate::roster::Roster;
use rand_core::Rng as _;
use std::collections::{BTreeMap, BTreeSet};
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::time::Millis;

/// Searches under way.
#[derive(Default)]
pub(crate) struct Lookup {
    /// when each waiting ask looks again; no more than there are asks
    asks: BTreeMap<u64, Millis>,
    searches: BTreeMap<ModelId, Search>,
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
        seek(env, roster, found);
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
        for (number, ask) in asker.sought() {
            let due = self.asks.entry(number).or_insert(env.now);
            if *due > env.now {
                continue;
            }
            *due = env.now + LOOKUP_PERIOD;
            let announced = announced(roster, ask, book);
            if !announced.is_empty() {
                seek(env, roster, announced);
            } else if let Some(model) = ask.model_id() {
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
        let asks = self.asks.values().copied().map(Some);
        let searches = self.searches.values().map(|search| Some(search.until));
        asks.chain(searches).fold(None, earlier)
    }
}

/// Those who announced the model and are not connected.
fn announced(roster: &Roster, ask: &Ask, book: &Book) -> Vec<Found> {
    let offers = book.offering().filter(|(peer, entry)| {
        let mut models = entry.record.models.iter();
        !roster.is_connected(*peer) && models.any(|model| ask.accepts(model))
    });
    offers.map(|(peer, entry)| entry.found(peer)).collect()
}

/// Makes them known, and dials a few, drawn by chance so that askers spread.
fn seek(env: &mut Env, roster: &mut Roster, found: Vec<Found>) {
    let mut peers: Vec<NodeId> = found.iter().map(|it| it.peer).collect();
    roster.found(env, found);
    for _ in 0..MAX_SOUGHT_DIALS {
        if peers.is_empty() {
            return;
        }
        let drawn = env.rng.next_u64() % peers.len() as u64;
        let peer = peers.swap_remove(drawn as usize);
        roster.hurry(env, peer);
    }
}
