//! A crowd with a story: who donates, who asks, who dies and who lies, all drawn from one seed, and
//! what came of it.

use crate::engine::Whole;
use crate::liar::Lie;
use crate::network::Weather;
use crate::peer::{Asked, PeerIndex};
use crate::world::{Happening, Nature, World};
use std::fmt;
use thrum_protocol::id::ModelId;
use thrum_protocol::limits::MAX_NEW_TOKENS;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::sampling::Sampling;
use thrum_protocol::task::PromptInput;
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::{AskErrorCode, AskRequest, AskUpdate, Command, DonateLimits, Route};

/// ms; donors and askers come within this.
const ARRIVALS: u64 = 5_000;
/// ms; prompts are asked and accidents happen within this.
const STORY: u64 = 60_000;
/// ms; the deadline of each ask.
const DEADLINE: Millis = Millis(90_000);

/// What the crowd is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// everything is drawn from it
    pub seed: u64,
    /// tabs in all
    pub peers: usize,
    /// of these, how many donate
    pub donors: usize,
    /// of the donors, how many lie
    pub liars: usize,
    /// of the others, how many lie
    pub lying_askers: usize,
    /// prompts asked
    pub asks: usize,
    /// relays
    pub relays: usize,
    /// millionths; chance that a frame breaks its stream
    pub loss_ppm: u64,
    /// donors that are killed
    pub deaths: usize,
    /// pairs that lose sight of each other for a while
    pub cuts: usize,
    /// times a relay dies and returns
    pub relay_deaths: usize,
    /// times an engine loses its device
    pub engine_losses: usize,
    /// ms; the shortest way
    pub latency: Millis,
    /// ms; on top, drawn for each frame
    pub jitter: Millis,
}

impl Default for Options {
    /// A dozen tabs, a third of them donors, in fair weather.
    fn default() -> Self {
        Self {
            seed: 1,
            peers: 12,
            donors: 4,
            liars: 0,
            lying_askers: 0,
            asks: 8,
            relays: 1,
            loss_ppm: 0,
            deaths: 0,
            cuts: 0,
            relay_deaths: 0,
            engine_losses: 0,
            latency: Millis(20),
            jitter: Millis(60),
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// prompts that were asked by peers that lived on
    pub asked: usize,
    /// answered with exactly the undisturbed text
    pub right: usize,
    /// failed with a clear error
    pub failed: Vec<(AskErrorCode, String)>,
    /// answered only after at least one attempt had failed
    pub rescued: usize,
    /// attempts in all
    pub attempts: u32,
    /// breaches that were reported
    pub misbehaviours: usize,
    /// whatever must never be, in words
    pub broken_promises: Vec<String>,
    /// ms; half of the answers took less
    pub median_millis: u64,
    /// inputs handled by all machines
    pub steps: u64,
    /// bytes of the log
    pub log_bytes: usize,
}

/// The model that all donors hold.
#[must_use]
pub fn model() -> ModelOffer {
    ModelOffer {
        id: ModelId([3; 32]),
        name: "sim".to_owned(),
        context_tokens: 1_024,
    }
}

/// Plays the story to its end.
#[must_use]
pub fn play(options: &Options) -> (World, Summary) {
    let mut world = populate(options);
    schedule_asks(&mut world, options);
    schedule_accidents(&mut world, options);
    world.run_until(Millis(ARRIVALS + STORY) + DEADLINE + Millis(1));
    let summary = judge(&world);
    (world, summary)
}

fn populate(options: &Options) -> World {
    let weather = Weather {
        latency: options.latency,
        jitter: options.jitter,
        loss_ppm: options.loss_ppm,
    };
    let mut world = World::new(options.seed, options.relays, weather);
    for index in 0..options.peers {
        let donor = index < options.donors;
        let lie = if index < options.liars {
            Some(drawn(&mut world, &Lie::PROVIDERS))
        } else if !donor && index < options.donors + options.lying_askers {
            Some(drawn(&mut world, &Lie::ASKERS))
        } else {
            None
        };
        let step = Millis(10 + world.draw(90));
        let batch = 1 + world.draw(4) as usize;
        let loadable = donor || world.draw(2) == 0;
        let peer = world.add(Nature {
            model: loadable.then(model),
            lie,
            step,
            batch,
        });
        if donor {
            let at = Millis(world.draw(ARRIVALS));
            let slots = 1 + world.draw(3) as u32;
            let max_new_tokens = 24 + world.draw(200) as u32;
            let command = Command::Donate(DonateLimits {
                slots,
                max_new_tokens,
                ..DonateLimits::default()
            });
            let input = thrum_hive::io::Input::Command(command);
            world.at(at, Happening::Tell(peer, input));
        }
    }
    world
}

fn schedule_asks(world: &mut World, options: &Options) {
    let askers = (options.peers - options.donors) as u64;
    for number in 0..options.asks as u64 {
        let peer = PeerIndex(options.donors + world.draw(askers) as usize);
        let at = Millis(ARRIVALS + world.draw(STORY));
        let request = request(world, number);
        world.at(at, Happening::Ask(peer, Box::new(request)));
    }
}

fn request(world: &mut World, number: u64) -> AskRequest {
    let stop = if world.draw(3) == 0 {
        vec!["st".to_owned(), "\n".to_owned()]
    } else {
        Vec::new()
    };
    let route = if world.draw(3) == 0 {
        Route::Peer
    } else {
        Route::Auto
    };
    AskRequest {
        ask: number,
        model: (world.draw(2) == 0).then(|| "sim".to_owned()),
        input: PromptInput::Text(format!("prompt {number}")),
        max_new_tokens: 20 + world.draw(u64::from(MAX_NEW_TOKENS / 20)) as u32,
        sampling: Sampling {
            seed: number,
            ..Sampling::GREEDY
        },
        stop,
        deadline_millis: DEADLINE,
        truncation: Truncation::Disabled,
        route,
    }
}

fn schedule_accidents(world: &mut World, options: &Options) {
    let donors = options.donors as u64;
    let peers = options.peers as u64;
    for victim in 0..options.deaths.min(options.donors) {
        // The last donors die: the first are the liars.
        let peer = PeerIndex(options.donors - 1 - victim);
        let at = Millis(ARRIVALS + world.draw(STORY));
        world.at(at, Happening::Die(peer));
    }
    for _ in 0..options.cuts {
        let a = PeerIndex(world.draw(peers) as usize);
        let b = PeerIndex(world.draw(donors) as usize);
        let at = Millis(ARRIVALS + world.draw(STORY));
        let healed = at + Millis(world.draw(20_000));
        if a != b {
            world.at(at, Happening::Cut(a, b));
            world.at(healed, Happening::Heal(a, b));
        }
    }
    for _ in 0..options.relay_deaths {
        let relay = world.draw(options.relays as u64) as usize;
        let at = Millis(ARRIVALS + world.draw(STORY));
        let returned = at + Millis(1_000 + world.draw(20_000));
        world.at(at, Happening::RelayDies(relay));
        world.at(returned, Happening::RelayReturns(relay));
    }
    for _ in 0..options.engine_losses {
        let peer = PeerIndex(world.draw(donors) as usize);
        let at = Millis(ARRIVALS + world.draw(STORY));
        world.at(at, Happening::EngineLost(peer));
    }
}

fn drawn(world: &mut World, lies: &[Lie]) -> Lie {
    lies[world.draw(lies.len() as u64) as usize]
}

fn judge(world: &World) -> Summary {
    let mut summary = Summary {
        steps: world.steps,
        log_bytes: world.log.len(),
        ..Summary::default()
    };
    let mut times = Vec::new();
    for peer in world.peers.iter().filter(|peer| peer.alive) {
        summary.misbehaviours += peer.misbehaviours.len();
        for asked in peer.asks.values() {
            let honest = peer.liar.is_none();
            if honest {
                judge_ask(&mut summary, &mut times, asked);
            }
        }
        for (accused, what) in &peer.misbehaviours {
            let honest = world
                .peers
                .iter()
                .any(|p| p.id == *accused && p.liar.is_none());
            if honest {
                let promise = format!("an honest peer is accused: {what}");
                summary.broken_promises.push(promise);
            }
        }
    }
    times.sort_unstable();
    summary.median_millis = times.get(times.len() / 2).copied().unwrap_or(0);
    summary
}

fn judge_ask(summary: &mut Summary, times: &mut Vec<u64>, asked: &Asked) {
    summary.asked += 1;
    let mut broken = |what: String| {
        let ask = asked.request.ask;
        summary.broken_promises.push(format!("ask {ask}: {what}"));
    };
    let ends: Vec<_> = asked.ends().collect();
    let [(at, end)] = ends.as_slice() else {
        broken(format!("{} ends", ends.len()));
        return;
    };
    if *at > asked.at + asked.request.deadline_millis {
        broken(format!("ended {at}, after its deadline"));
    }
    match end {
        AskUpdate::Done {
            text,
            attempts,
            finish_reason,
            total_millis,
            ..
        } => {
            let whole: Whole = World::undisturbed(&asked.request, model().id);
            if *text != whole.text() || *finish_reason != whole.finish_reason {
                broken(format!("answered {text:?}, not {:?}", whole.text()));
            }
            if asked.streamed() != *text {
                broken("the deltas are not the text".to_owned());
            }
            summary.right += 1;
            summary.rescued += usize::from(*attempts > 1);
            summary.attempts += attempts;
            times.push(total_millis.0);
        }
        AskUpdate::Failed { code, message } => summary.failed.push((*code, message.clone())),
        AskUpdate::Delta { .. } | AskUpdate::Retrying { .. } | AskUpdate::Routed { .. } => {}
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "asked                 {}", self.asked)?;
        writeln!(f, "answered right        {}", self.right)?;
        writeln!(f, "  after a failure     {}", self.rescued)?;
        writeln!(f, "failed clearly        {}", self.failed.len())?;
        for (code, message) in &self.failed {
            writeln!(f, "  {code:?}: {message}")?;
        }
        writeln!(f, "attempts              {}", self.attempts)?;
        writeln!(f, "breaches reported     {}", self.misbehaviours)?;
        writeln!(f, "median answer         {} ms", self.median_millis)?;
        writeln!(f, "inputs handled        {}", self.steps)?;
        writeln!(f, "log                   {} bytes", self.log_bytes)?;
        writeln!(f, "broken promises       {}", self.broken_promises.len())?;
        for promise in &self.broken_promises {
            writeln!(f, "  {promise}")?;
        }
        Ok(())
    }
}
