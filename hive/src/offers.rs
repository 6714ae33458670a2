//! Where it is written down that we answer with a model, for those who look for it: at the relays'
//! rendezvous and in the Kademlia table that they keep. Both forget, so it is said again.

use crate::backoff::jittered;
use crate::env::Env;
use crate::io::{Output, Place, RelayIndex};
use crate::limits::{MAX_OFFERED_MODELS, PROVIDE_PERIOD, REGISTER_PERIOD};
use std::collections::BTreeMap;
use thrum_protocol::id::ModelId;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::time::Millis;

/// What is written where, and when it is written again.
#[derive(Default)]
pub(crate) struct Offers {
    due: BTreeMap<(Place, ModelId), Millis>,
}

impl Offers {
    /// `relays`: those that keep a place for us.
    pub(crate) fn tick(&mut self, env: &mut Env, relays: &[RelayIndex], models: &[ModelOffer]) {
        let models: Vec<ModelId> = models
            .iter()
            .take(MAX_OFFERED_MODELS)
            .map(|it| it.id)
            .collect();
        let kad = (!relays.is_empty()).then_some(Place::Kad);
        let rendezvous = relays.iter().copied().map(Place::Rendezvous);
        let places: Vec<Place> = rendezvous.chain(kad).collect();
        self.due.retain(|&(place, model), _| {
            let offered = models.contains(&model);
            let there = places.contains(&place);
            if there && !offered {
                env.push(Output::Withdraw { place, model });
            }
            offered && there
        });
        for &place in &places {
            for &model in &models {
                let due = self.due.entry((place, model)).or_insert(env.now);
                if *due <= env.now {
                    env.push(Output::Offer { place, model });
                    let period = match place {
                        Place::Rendezvous(_) => REGISTER_PERIOD,
                        Place::Kad => PROVIDE_PERIOD,
                    };
                    *due = env.now + jittered(&mut env.rng, period);
                }
            }
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Millis> {
        self.due.values().min().copied()
    }
}
