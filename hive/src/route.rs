//! Where an ask goes next: which peer promises the most, or here, or nowhere.

use crate::ask::Ask;
use crate::attempt::Target;
use crate::engine::{Engine, EngineState};
use crate::env::Env;
use crate::limits::{AUTO_PATIENCE, PATIENCE, SEEK_PATIENCE};
use crate::peer::Peer;
use crate::roster::Roster;
use rand_core::Rng as _;
use std::cmp::Reverse;
use thrum_protocol::id::{ModelId, NodeId};
use thrum_protocol::model::ModelOffer;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{AskErrorCode, Path, Route};

/// The next step of an ask.
pub(crate) enum Step {
    Peer(Target),
    Here {
        model: ModelId,
    },
    /// our model is needed and not there yet
    Load,
    Wait,
    Fail(AskErrorCode, String),
}

/// What an ask is routed by.
pub(crate) struct Map<'a> {
    pub(crate) roster: &'a Roster,
    pub(crate) engine: &'a Engine,
    /// whether peers are on their way
    pub(crate) expecting: bool,
}

/// `since`: when the ask began to look.
pub(crate) fn next_step(env: &mut Env, ask: &Ask, map: &Map<'_>, since: Millis) -> Step {
    let here = map.engine.loaded().filter(|loaded| {
        ask.accepts(&loaded.model) && !ask.local_exhausted() && ask.request.route != Route::Local
    });
    if ask.request.route == Route::Local {
        return locally(ask, map);
    }
    if !ask.peers_exhausted()
        && let Some(target) = best_peer(env, ask, map)
    {
        return Step::Peer(target);
    }
    let auto = ask.request.route == Route::Auto;
    if auto && let Some(loaded) = here {
        let model = loaded.model.id;
        return Step::Here { model };
    }
    if let Some(reason) = ask.invalid.values().next() {
        return Step::Fail(AskErrorCode::InvalidRequest, reason.clone());
    }
    let waited = env.now.since(since);
    let peers_may_come = map.expecting && !ask.peers_exhausted();
    if auto && may_load(ask, map) && (waited >= AUTO_PATIENCE || !peers_may_come) {
        return Step::Load;
    }
    let patience = if map.roster.awaits(env.now) {
        SEEK_PATIENCE
    } else {
        PATIENCE
    };
    if waited < patience && !ask.peers_exhausted() {
        return Step::Wait;
    }
    let (code, message) = why_nobody(env.now, ask, map);
    Step::Fail(code, message)
}

fn locally(ask: &Ask, map: &Map<'_>) -> Step {
    let fault = || ask.last_fault.clone().unwrap_or_default();
    if ask.local_exhausted() {
        return Step::Fail(AskErrorCode::ProvidersFailed, fault());
    }
    match map.engine.state() {
        EngineState::Ready(loaded) if ask.accepts(&loaded.model) => Step::Here {
            model: loaded.model.id,
        },
        EngineState::Ready(loaded) => Step::Fail(
            AskErrorCode::UnknownModel,
            format!("the model loaded here is {}", loaded.model.name),
        ),
        EngineState::Failed {
            reason,
            retry_at: None,
        } => Step::Fail(
            AskErrorCode::NoProvider,
            format!("no model is loaded here: {reason}"),
        ),
        EngineState::NotLoaded | EngineState::Loading | EngineState::Failed { .. } => Step::Load,
    }
}

/// Whether our engine may yet come to hold the model. Which one it loads shows when it is loaded.
fn may_load(ask: &Ask, map: &Map<'_>) -> bool {
    let loadable = match map.engine.state() {
        EngineState::NotLoaded | EngineState::Loading => true,
        EngineState::Failed { retry_at, .. } => retry_at.is_some(),
        EngineState::Ready(_) => false,
    };
    loadable && !ask.local_exhausted()
}

fn why_nobody(now: Millis, ask: &Ask, map: &Map<'_>) -> (AskErrorCode, String) {
    let fault = ask.last_fault.as_deref();
    if ask.peers_exhausted() {
        let message = format!(
            "every attempt failed; {}",
            fault.unwrap_or("no reason given")
        );
        return (AskErrorCode::ProvidersFailed, message);
    }
    let offered = |peer: &Peer| offer_for(peer, ask).is_some();
    let nobody_offers = !map.roster.connected().any(|(_, peer, _)| offered(peer));
    let another_here = matches!(ask.request.route, Route::Auto)
        && matches!(map.engine.state(), EngineState::Ready(loaded) if !ask.accepts(&loaded.model));
    if let Some(model) = &ask.request.model
        && ask.pinned.is_none()
        && nobody_offers
        && (another_here || map.roster.connected().any(|(_, peer, _)| peer.donates()))
    {
        let message = format!("nobody who takes work offers the model {model}");
        return (AskErrorCode::UnknownModel, message);
    }
    let mut message = match ask.request.route {
        Route::PeerId(peer) if !map.roster.is_connected(peer) => {
            format!("peer …{} is not connected", peer.fmt_short())
        }
        Route::PeerId(peer) => format!("peer …{} takes no work", peer.fmt_short()),
        Route::Auto | Route::Local | Route::Peer => {
            let connected = map.roster.connected_count();
            let waited = PATIENCE.0 / 1_000;
            let donors = map.roster.connected();
            let donors = donors.filter(|(_, peer, _)| peer.donates()).count();
            format!(
                "no peer took the prompt within {waited} s ({connected} connected, {donors} take work)"
            )
        }
    };
    if let Some(fault) = fault {
        message = format!("{message}; {fault}");
    }
    if let (Route::Auto, Some(reason)) = (ask.request.route, map.engine.gave_up()) {
        message = format!("{message}; no model is loaded here: {reason}");
    }
    let shunned = map
        .roster
        .connected()
        .filter(|(_, p, _)| p.standing.shunned(now));
    if shunned.count() > 0 {
        message.push_str("; some peers are not asked because they lied");
    }
    (AskErrorCode::NoProvider, message)
}

/// The capable peer with the most speed per task in hand, weighed by its reputation; among equals
/// the draw decides, so that askers spread.
fn best_peer(env: &mut Env, ask: &Ask, map: &Map<'_>) -> Option<Target> {
    let loaded = map.engine.loaded().map(|loaded| loaded.model.id);
    let mut best: Option<(Rank, Target)> = None;
    for (id, peer, link) in map.roster.connected() {
        let Some((offer, limit)) = capable(env.now, ask, id, peer) else {
            continue;
        };
        let rank = Rank {
            same_model: ask.request.model.is_none() && loaded == Some(offer.id),
            free: free_slots(peer) > 0,
            promise: promise(peer),
            near: Reverse(peer.rtt.unwrap_or(Millis(u64::MAX))),
            draw: env.rng.next_u64(),
        };
        if best.as_ref().is_none_or(|(best, _)| *best < rank) {
            let target = target(ask, id, link.path, offer, limit);
            best = Some((rank, target));
        }
    }
    best.map(|(_, target)| target)
}

/// The later field decides only where the earlier are equal.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    same_model: bool,
    free: bool,
    promise: u64,
    near: Reverse<Millis>,
    draw: u64,
}

fn target(ask: &Ask, peer: NodeId, path: Path, offer: &ModelOffer, limit: u32) -> Target {
    let full = ask.answer.token_count().saturating_add(limit);
    Target {
        peer,
        path,
        model: offer.id,
        max_new_tokens: ask.request.max_new_tokens.min(full),
    }
}

/// The model it would answer with and the tokens it would generate, where it may be asked.
fn capable<'a>(
    now: Millis,
    ask: &Ask,
    id: NodeId,
    peer: &'a Peer,
) -> Option<(&'a ModelOffer, u32)> {
    if let Route::PeerId(wanted) = ask.request.route
        && wanted != id
    {
        return None;
    }
    let avoided = ask.avoid.get(&id).is_some_and(|until| now < *until);
    let limit = peer.heard.as_ref()?.advert.max_new_tokens;
    let open =
        peer.donates() && peer.stays() && limit > 0 && !peer.standing.shunned(now) && !avoided;
    open.then(|| offer_for(peer, ask))
        .flatten()
        .map(|offer| (offer, limit))
}

fn offer_for<'a>(peer: &'a Peer, ask: &Ask) -> Option<&'a ModelOffer> {
    let models = &peer.heard.as_ref()?.advert.models;
    models.iter().find(|offer| ask.accepts(offer))
}

fn free_slots(peer: &Peer) -> u32 {
    let free = |advert: &thrum_protocol::advert::Advert| advert.slots.saturating_sub(advert.busy);
    peer.heard.as_ref().map_or(0, |heard| free(&heard.advert))
}

fn promise(peer: &Peer) -> u64 {
    let busy = peer.heard.as_ref().map_or(0, |heard| heard.advert.busy);
    let weighed = u128::from(peer.speed()) * u128::from(peer.standing.score());
    u64::try_from(weighed / (1 + u128::from(busy))).unwrap_or(u64::MAX)
}
