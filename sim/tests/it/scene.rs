//! A small stage: a few donors and one asker, connected and settled.

use thrum_protocol::limits::MAX_NEW_TOKENS;
use thrum_protocol::sampling::Sampling;
use thrum_protocol::task::PromptInput;
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::{AskRequest, AskUpdate, Command, DonateLimits, Route};
use thrum_sim::crowd::model;
use thrum_sim::liar::Lie;
use thrum_sim::network::Weather;
use thrum_sim::peer::{Asked, PeerIndex};
use thrum_sim::world::{Nature, World};

/// The asker is the last to come and holds no model.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) donors: Vec<PeerIndex>,
    pub(crate) asker: PeerIndex,
    next_ask: u64,
}

impl Scene {
    /// One donor per entry: how it lies, and its ms per token. The fastest is asked first.
    pub(crate) fn new(seed: u64, donors: &[(Option<Lie>, u64)], asker: Option<Lie>) -> Self {
        let weather = Weather {
            latency: Millis(10),
            jitter: Millis(10),
            loss_ppm: 0,
        };
        let mut world = World::new(seed, 1, weather);
        let donors: Vec<PeerIndex> = donors
            .iter()
            .map(|&(lie, step)| {
                let donor = world.add(Nature {
                    model: Some(model()),
                    lie,
                    step: Millis(step),
                    batch: 1,
                });
                world.command(donor, Command::Donate(DonateLimits::default()));
                donor
            })
            .collect();
        let asker = world.add(Nature {
            model: None,
            lie: asker,
            step: Millis(10),
            batch: 1,
        });
        let mut scene = Self {
            world,
            donors,
            asker,
            next_ask: 0,
        };
        let all = scene.donors.len();
        let settled = scene.world.run_while(Millis(30_000), |world| {
            let view = world.peers[asker.0].hive.snapshot(world.now);
            let donating = |peer: &&thrum_protocol::view::PeerView| {
                peer.capabilities.as_ref().is_some_and(|can| can.donating)
            };
            view.peers.iter().filter(donating).count() == all
        });
        assert!(settled, "the asker never saw all donors");
        scene
    }

    /// A request whose undisturbed answer has at least `min_tokens`.
    pub(crate) fn request(&mut self, min_tokens: usize) -> AskRequest {
        loop {
            self.next_ask += 1;
            let request = AskRequest {
                ask: self.next_ask,
                model: None,
                input: PromptInput::Text(format!("scene {}", self.next_ask)),
                max_new_tokens: MAX_NEW_TOKENS / 16,
                sampling: Sampling::GREEDY,
                stop: Vec::new(),
                deadline_millis: Millis(60_000),
                truncation: Truncation::Disabled,
                route: Route::Peer,
            };
            if World::undisturbed(&request, model().id).tokens.len() >= min_tokens {
                return request;
            }
        }
    }

    pub(crate) fn ask(&mut self, request: AskRequest) -> u64 {
        let ask = request.ask;
        self.world.command(self.asker, Command::Ask(request));
        ask
    }

    pub(crate) fn asked(&self, ask: u64) -> &Asked {
        &self.world.peers[self.asker.0].asks[&ask]
    }

    /// Lets time pass until the answer has so many tokens.
    pub(crate) fn run_until_tokens(&mut self, ask: u64, count: usize) {
        let asker = self.asker;
        let end = self.world.now + Millis(60_000);
        let came = self.world.run_while(end, |world| {
            let updates = &world.peers[asker.0].asks[&ask].updates;
            let deltas = updates.iter();
            let is_delta = |u: &&(Millis, AskUpdate)| matches!(u.1, AskUpdate::Delta { .. });
            deltas.filter(is_delta).count() >= count
        });
        assert!(came, "the answer never had {count} tokens");
    }

    /// Lets time pass until the ask ends; its only end.
    pub(crate) fn end_of(&mut self, ask: u64) -> AskUpdate {
        let asker = self.asker;
        let end = self.world.now + Millis(120_000);
        let ended = self.world.run_while(end, |world| {
            world.peers[asker.0].asks[&ask].ends().count() > 0
        });
        assert!(ended, "the ask never ended");
        self.world.run_until(self.world.now + Millis(5_000));
        let ends: Vec<_> = self.asked(ask).ends().collect();
        assert_eq!(ends.len(), 1, "more than one end");
        ends[0].1.clone()
    }

    /// Asks and expects the undisturbed answer; the number of attempts it took.
    pub(crate) fn answers_rightly(&mut self, request: AskRequest) -> u32 {
        let whole = World::undisturbed(&request, model().id);
        let ask = self.ask(request);
        let AskUpdate::Done { text, attempts, .. } = self.end_of(ask) else {
            panic!("no answer: {:?}", self.asked(ask).updates.last());
        };
        assert_eq!(text, whole.text());
        assert_eq!(self.asked(ask).streamed(), text);
        attempts
    }

    /// Why attempts at the ask failed.
    pub(crate) fn retries(&self, ask: u64) -> Vec<String> {
        let reason = |(_, update): &(Millis, AskUpdate)| match update {
            AskUpdate::Retrying { reason, .. } => Some(reason.clone()),
            AskUpdate::Delta { .. }
            | AskUpdate::Done { .. }
            | AskUpdate::Failed { .. }
            | AskUpdate::Routed { .. } => None,
        };
        self.asked(ask).updates.iter().filter_map(reason).collect()
    }

    /// What `peer` reported about `accused`.
    pub(crate) fn reports(&self, peer: PeerIndex, accused: PeerIndex) -> Vec<String> {
        let id = self.world.peers[accused.0].id;
        let reports = &self.world.peers[peer.0].misbehaviours;
        let of = reports.iter().filter(|(reported, _)| *reported == id);
        of.map(|(_, what)| what.clone()).collect()
    }
}

impl Scene {
    /// Another asker comes, and the next requests are its.
    pub(crate) fn join_honest_asker(&mut self) {
        self.asker = self.world.add(Nature {
            model: None,
            lie: None,
            step: Millis(10),
            batch: 1,
        });
        self.world.run_until(self.world.now + Millis(15_000));
    }
}
