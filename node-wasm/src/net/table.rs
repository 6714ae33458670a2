//! The Kademlia table that the relays keep: this node writes into it and reads it, and keeps no
//! part of it.

use super::fenced::Fenced;
use super::relay_slot::RelaySlot;
use super::{Net, node_id};
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::kad::{
    Behaviour, Config, Event, GetProvidersOk, Mode, QueryId, QueryResult, RecordKey,
};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::time::Duration;
use thrum_hive::io::{Found, Input, Place};
use thrum_protocol::id::ModelId;
use thrum_protocol::{KAD_PROTOCOL, model_namespace};
use thrum_rtc::address::is_webrtc;

/// s; a relay that does not answer by then is not waited for.
const QUERY_TIMEOUT: Duration = Duration::from_secs(4);

/// count; models of this node's own in the table. The machine offers fewer.
const MAX_PROVIDED: usize = 16;

/// count; providers that are taken from one answer.
const MAX_PROVIDERS: usize = 64;

pub(super) type Kad = Behaviour<MemoryStore>;

/// Questions to the table that are under way.
#[derive(Default)]
pub(super) struct Questions {
    /// the machine asks a few at a time
    open: Vec<Question>,
}

struct Question {
    id: QueryId,
    model: ModelId,
    found: BTreeSet<PeerId>,
}

/// A client of the table that sees relays only.
pub(super) fn behaviour(own: PeerId) -> Fenced<Kad> {
    let mut config = Config::new(StreamProtocol::new(KAD_PROTOCOL));
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_periodic_bootstrap_interval(None)
        // The machine says when it is said again.
        .set_provider_publication_interval(None)
        .set_publication_interval(None)
        .set_replication_interval(None);
    let store = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: 1,
        max_provided_keys: MAX_PROVIDED,
    };
    let store = MemoryStore::with_config(own, store);
    let mut kad = Behaviour::with_config(own, store, config);
    kad.set_mode(Some(Mode::Client));
    Fenced::new(kad, is_of_relay)
}

/// Relays are connected without a relay between, and not from browser to browser.
fn is_of_relay(address: &Multiaddr) -> bool {
    let circuit = address.iter().any(|it| matches!(it, Protocol::P2pCircuit));
    !circuit && !is_webrtc(address)
}

pub(super) fn key(model: ModelId) -> RecordKey {
    let digest = Sha256::digest(model_namespace(model).as_bytes());
    RecordKey::new(&digest.as_slice())
}

impl Net {
    pub(super) fn provide(&mut self, model: ModelId) {
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        if let Err(error) = kad.start_providing(key(model)) {
            tracing::warn!(%error, "cannot be written into the relays' table");
        }
    }

    pub(super) fn stop_providing(&mut self, model: ModelId) {
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        kad.stop_providing(&key(model));
    }

    pub(super) fn find_providers(&mut self, model: ModelId) {
        let kad = &mut self.swarm.behaviour_mut().kad.inner;
        let id = kad.get_providers(key(model));
        self.questions.open.push(Question {
            id,
            model,
            found: BTreeSet::new(),
        });
    }

    pub(super) fn on_kad(&mut self, event: Event) {
        let Event::OutboundQueryProgressed {
            id, result, step, ..
        } = event
        else {
            return;
        };
        let Some(place) = self.questions.open.iter().position(|it| it.id == id) else {
            return;
        };
        let question = &mut self.questions.open[place];
        if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
            result
        {
            let room = MAX_PROVIDERS.saturating_sub(question.found.len());
            question.found.extend(providers.into_iter().take(room));
        }
        if step.last {
            let Question { model, found, .. } = self.questions.open.swap_remove(place);
            let own = *self.swarm.local_peer_id();
            let found = found.into_iter().filter(|peer| *peer != own);
            let found = found.filter_map(|peer| self.through_our_relays(peer));
            let input = Input::LookedUp {
                place: Place::Kad,
                model,
                found: found.collect(),
            };
            self.ready.push_back(input);
        }
    }

    /// Where the table's peer may be: it names no address, so any relay of ours may be its, too.
    fn through_our_relays(&self, peer: PeerId) -> Option<Found> {
        let relays = self.relays.iter().filter_map(RelaySlot::connected_peer);
        let circuit = |relay| {
            let relay = Multiaddr::empty().with(Protocol::P2p(relay));
            let circuit = relay.with(Protocol::P2pCircuit);
            circuit.with(Protocol::P2p(peer)).to_string()
        };
        Some(Found {
            peer: node_id(&peer)?,
            addresses: relays.map(circuit).collect(),
        })
    }
}
