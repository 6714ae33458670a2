//! What a page sees, with the reasons in sentences a person understands.

use crate::Hive;
use crate::book::Entry;
use crate::engine::EngineState;
use crate::peer::{Link, Peer};
use crate::uplink::Reach;
use thrum_protocol::id::NodeId;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{
    AnnouncedView, Capabilities, DonationMode, DonationView, ModelView, PeerView, Snapshot, State,
    Status,
};

pub(crate) fn snapshot(hive: &Hive, now: Millis) -> Snapshot {
    let contribution = hive.donation.contribution();
    let loaded = hive.engine.loaded();
    Snapshot {
        peer_id: hive.env.me,
        status: status(hive, now),
        relays: hive.uplink.views(now),
        peers: hive
            .roster
            .connected()
            .map(|(id, peer, link)| peer_view(hive, id, peer, link))
            .collect(),
        announced: announced(hive, now),
        donation: DonationView {
            mode: hive.donation.mode(),
            jobs: hive.provider.views(),
            jobs_done: contribution.jobs_done,
            tokens_done: contribution.tokens_done,
        },
        model: loaded.map(|loaded| model_view(&loaded.model)),
        storage: hive.storage.clone(),
    }
}

fn status(hive: &Hive, now: Millis) -> Status {
    let loaded = hive.engine.loaded();
    let (state, reason) = state_and_reason(hive, now);
    let threads = loaded.and_then(|loaded| loaded.threads.as_ref());
    Status {
        state,
        reason,
        model: loaded.map(|loaded| loaded.model.name.clone()),
        backend: loaded.map(|loaded| loaded.backend),
        threads: threads.map(|threads| threads.used),
        threads_reason: threads.and_then(|threads| threads.reason.clone()),
        reachability: hive.diagnosis.found().clone(),
        version: hive.version.clone(),
        commit: hive.commit.clone(),
    }
}

/// Work comes first, then what a person must mend, then what is waited for.
fn state_and_reason(hive: &Hive, now: Millis) -> (State, String) {
    let jobs = hive.provider.busy();
    if let Some(why) = hive.engine.waits_because() {
        let (state, then) = match jobs > 0 || hive.asker.working() {
            true => (State::Working, ", and then goes on where it was"),
            false => (State::Ready, ""),
        };
        let what = "The GPU was lost";
        return (
            state,
            format!("{what} ({why}). The model is being loaded again{then}."),
        );
    }
    if jobs > 0 {
        let tasks = if jobs == 1 { "a task" } else { "tasks" };
        let ending = match hive.donation.mode() {
            DonationMode::Finishing => " and then stopping",
            DonationMode::Off | DonationMode::On | DonationMode::Paused => "",
        };
        return (
            State::Working,
            format!("Computing {tasks} for others{ending}."),
        );
    }
    if hive.asker.working() {
        return (State::Working, "Your prompt is being answered.".to_owned());
    }
    if let Some(reason) = hive.engine.gave_up() {
        let what = "The model could not be loaded";
        let mend = "Donate or ask again to retry.";
        return (State::Error, format!("{what}: {reason}. {mend}"));
    }
    let wants_engine = hive.donation.on() || hive.asker.wants_engine();
    if matches!(hive.engine.state(), EngineState::Loading) && wants_engine {
        return (State::Ready, "The model is being loaded.".to_owned());
    }
    if hive.asker.waiting() {
        let reason = "Looking for a peer that can answer your prompt.";
        return (State::Ready, reason.to_owned());
    }
    if hive.donation.mode() == DonationMode::Paused {
        let reason = "Donation is paused: nothing is computed for others until you donate again.";
        return (State::Paused, reason.to_owned());
    }
    reach_and_reason(hive, now)
}

fn reach_and_reason(hive: &Hive, now: Millis) -> (State, String) {
    let peers = hive.roster.connected_count();
    match hive.uplink.reach() {
        Reach::Reachable => (State::Ready, idle_reason(hive, peers)),
        Reach::NoRelay if peers == 0 => {
            let reason = "No relay was given: name one to find other peers.";
            (State::Error, reason.to_owned())
        }
        Reach::Offline => {
            let reason = "The browser is offline. The node connects when the network is back.";
            (State::Connecting, reason.to_owned())
        }
        Reach::Trying if peers == 0 => {
            let reason = "Connecting to the relay, through which peers find each other.";
            (State::Connecting, reason.to_owned())
        }
        Reach::Waiting { until, error } if peers == 0 => {
            let secs = until.since(now).0.div_ceil(1_000);
            let reason = format!("The relay does not answer ({error}). Next try in {secs} s.");
            (State::Connecting, reason)
        }
        Reach::NoRelay | Reach::Trying | Reach::Waiting { .. } => {
            let reason = format!(
                "{} No relay: new peers cannot join.",
                idle_reason(hive, peers)
            );
            (State::Ready, reason)
        }
    }
}

fn idle_reason(hive: &Hive, peers: usize) -> String {
    let donors = hive
        .roster
        .connected()
        .filter(|(_, p, _)| p.donates())
        .count();
    match (hive.donation.mode(), hive.engine.state()) {
        (DonationMode::On, EngineState::Ready(_)) if peers == 0 => {
            "Ready to compute. No other peer is here yet: open the page in another browser.".into()
        }
        (DonationMode::On, EngineState::Ready(_)) => {
            "Ready to compute. No peer has asked anything yet, or all have their answers.".into()
        }
        (DonationMode::On, EngineState::Failed { reason, .. }) => {
            format!("The model is lost ({reason}) and will be loaded again.")
        }
        (DonationMode::On, EngineState::NotLoaded | EngineState::Loading) => {
            "The model is being loaded.".into()
        }
        (DonationMode::Finishing, _) => "Finishing the tasks at hand.".into(),
        (DonationMode::Off | DonationMode::Paused, _) if peers == 0 => {
            "Connected. No other peer is here yet: open the page in another browser.".into()
        }
        (DonationMode::Off | DonationMode::Paused, _) if donors == 0 => {
            "Connected. No peer donates at the moment; prompts are answered here.".into()
        }
        (DonationMode::Off | DonationMode::Paused, _) => {
            "Connected. Ask something, or donate to compute for others.".into()
        }
    }
}

fn peer_view(hive: &Hive, id: NodeId, peer: &Peer, link: &Link) -> PeerView {
    let advert = peer.heard.as_ref().map(|heard| &heard.advert);
    let activity = match (
        hive.asker.is_answered_by(id),
        hive.provider.computes_for(id),
    ) {
        (true, true) => Some("each answers the other"),
        (true, false) => Some("answers your prompt"),
        (false, true) => Some("you answer its prompt"),
        (false, false) => None,
    };
    PeerView {
        peer_id: id,
        path: link.path,
        transport: link.transport.clone(),
        rtt_millis: peer.rtt.map(|rtt| rtt.0),
        capabilities: advert.map(|advert| Capabilities {
            donating: advert.donating,
            backend: advert.backend,
            models: advert.models.iter().map(model_view).collect(),
            tokens_per_second: peer.speed() as f64 / 1_000.0,
            busy: advert.busy,
            slots: advert.slots,
            max_new_tokens: advert.max_new_tokens,
        }),
        reputation: peer.standing.view(),
        agent: advert.map(|advert| advert.agent.clone()),
        activity: activity.map(str::to_owned),
        link: link.measured,
        direct_error: peer.ladder.failure().map(str::to_owned),
    }
}

fn announced(hive: &Hive, now: Millis) -> Vec<AnnouncedView> {
    let view = |(peer_id, entry): (NodeId, &Entry)| AnnouncedView {
        peer_id,
        models: entry.record.models.iter().map(model_view).collect(),
        backend: entry.record.backend,
        tokens_per_second: entry.record.speed.tokens_per_second(),
        slots: entry.record.slots,
        expires_in_millis: entry.ends.since(now),
    };
    hive.gossip.book.offering().map(view).collect()
}

fn model_view(model: &ModelOffer) -> ModelView {
    ModelView {
        id: model.id,
        name: model.name.clone(),
        context_tokens: model.context_tokens,
    }
}
