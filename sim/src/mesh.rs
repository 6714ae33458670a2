//! A hive as large as it may get: peers behind every kind of NAT at a few relays find their
//! neighbours and what only few can do; a third of them vanishes; the network falls into halves and
//! heals. What came of it, as a table.

use crate::liar::Lie;
use crate::nat::Nat;
use crate::network::{Site, Weather};
use crate::peer::PeerIndex;
use crate::world::{Happening, Nature, World};
use std::collections::BTreeSet;
use std::fmt;
use thrum_hive::io::Input;
use thrum_hive::limits::ENOUGH_PEERS;
use thrum_protocol::id::ModelId;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::sampling::Sampling;
use thrum_protocol::task::PromptInput;
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Truncation;
use thrum_protocol::view::{AskRequest, AskUpdate, Command, DonateLimits, Route};

/// ms; after an accident the hive is looked at this often.
const LOOK: Millis = Millis(2_000);
/// ms; after an accident some ask this often, to see whether they are answered again.
const BATCH: Millis = Millis(5_000);
/// ms; the deadline of each ask.
const DEADLINE: Millis = Millis(60_000);
/// ms; how wide the world is, one way, in each direction.
const WIDTH: u64 = 60;
/// per cent; who takes work with the model that many have.
const DONORS: u64 = 20;

/// What the hive is like.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// everything is drawn from it
    pub seed: u64,
    /// tabs in all
    pub peers: usize,
    /// relays, all federated; each tab is given two of them
    pub relays: usize,
    /// models that few have
    pub rare_models: usize,
    /// how many have each
    pub holders: usize,
    /// lookups while all is well, and as many again over each recovery
    pub lookups: usize,
    /// per cent; peers that lie to their neighbours
    pub liars: u64,
    /// ms; everybody comes within this, settles within this, and is watched for this after each
    /// accident; the halves do not see each other for so long. Longer than it takes to notice
    pub span: Millis,
}

impl Options {
    /// So many tabs, a relay for each 1,250, and a model for each 200 that one of a thousand has.
    #[must_use]
    pub fn of(peers: usize) -> Self {
        Self {
            seed: 1,
            peers,
            relays: (peers / 1_250).max(2),
            rare_models: (peers / 200).max(4),
            holders: (peers / 1_000).max(5),
            lookups: (peers / 20).max(50),
            liars: 0,
            span: Millis(90_000),
        }
    }
}

/// How asks for what few have went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// by peers that lived on
    pub asked: usize,
    /// answered rightly
    pub found: usize,
    /// how many asked whom one after the other, by count: index 0 is nobody
    pub hops: Vec<usize>,
    /// ms; half of the answers took less
    pub median_millis: u64,
    /// why the others failed
    pub failures: Vec<String>,
}

impl Lookups {
    /// Per cent.
    #[must_use]
    pub fn success(&self) -> f64 {
        100.0 * self.found as f64 / self.asked.max(1) as f64
    }

    /// The least number of hops that so many per cent of those found did not exceed.
    #[must_use]
    pub fn hops_of(&self, per_cent: usize) -> usize {
        let mut left = (self.found * per_cent).div_ceil(100);
        for (hops, &count) in self.hops.iter().enumerate() {
            if count >= left {
                return hops;
            }
            left -= count;
        }
        self.hops.len()
    }
}

/// How the hive hangs together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// the least links of an honest peer, half of them have at most, the most
    pub links: [usize; 3],
    /// of 1,000 peers, how many have fewer than eight links
    pub lonely_per_mille: usize,
    /// parts that no link joins
    pub components: usize,
    /// links in all: direct, by TURN, through a relay
    pub carriers: [usize; 3],
}

/// What came after an accident.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// right after it was noticed nowhere yet: parts and lonely peers
    pub before: Shape,
    /// ms; until there is one part again and no more than one in a hundred more than before has
    /// fewer than eight links, `None`: not while it was watched
    pub whole_after: Option<Millis>,
    /// ms; from when on 99 of 100 asks were answered
    pub answers_after: Option<Millis>,
    /// all asks from then on
    pub lookups: Lookups,
    /// at the end
    pub after: Shape,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// tabs
    pub peers: usize,
    /// while all was well
    pub shape: Shape,
    /// messages that an honest peer sent or a relay sent it, per minute, by kind
    pub per_minute: Vec<(&'static str, f64)>,
    /// of all kinds
    pub all_per_minute: f64,
    /// of the busiest peer
    pub most_per_minute: f64,
    /// while all was well
    pub lookups: Lookups,
    /// after three of ten vanished at once
    pub deaths: Recovery,
    /// after two halves saw each other again
    pub partition: Recovery,
    /// breaches that honest peers reported of honest ones
    pub false_reports: Vec<String>,
    /// inputs that all machines handled
    pub steps: u64,
}

/// A model that few have.
fn rare(number: usize) -> ModelOffer {
    let mut id = [0; 32];
    id[0] = 1;
    id[1..9].copy_from_slice(&(number as u64).to_le_bytes());
    ModelOffer {
        id: ModelId(id),
        name: format!("rare-{number}"),
        context_tokens: 1_024,
    }
}

/// The hive and where its rare models are.
struct Hive {
    world: World,
    options: Options,
    /// by model: who has it
    holders: Vec<Vec<PeerIndex>>,
    next_ask: u64,
    /// of 1,000 peers, how many have fewer than eight links while all is well
    usual_lonely: usize,
}

/// An ask under way: who asked, its number, and when.
type Probe = (PeerIndex, u64, Millis);

/// Plays the story to its end.
#[must_use]
pub fn play(options: &Options) -> (World, Report) {
    let mut hive = Hive::populate(options);
    let mut report = Report {
        peers: options.peers,
        ..Report::default()
    };
    hive.world.run_until(options.span + options.span);
    hive.count(&mut report);
    report.shape = hive.shape();
    hive.usual_lonely = report.shape.lonely_per_mille;
    report.deaths = hive.mass_death();
    report.partition = hive.partition();
    report.false_reports = hive.false_reports();
    report.steps = hive.world.steps;
    (hive.world, report)
}

impl Hive {
    fn populate(options: &Options) -> Self {
        let weather = Weather {
            latency: Millis(5),
            jitter: Millis(10),
            loss_ppm: 0,
        };
        let mut world = World::new(options.seed, options.relays, weather);
        world.keeps_log = false;
        world.federated = true;
        let mut holders = vec![Vec::new(); options.rare_models];
        for number in 0..options.peers {
            let model = number / options.holders;
            let rare_one = (model < options.rare_models).then(|| rare(model));
            let donates = rare_one.is_some() || world.draw(100) < DONORS;
            // Who has what few have does not lie: else nobody could find it.
            let lies = rare_one.is_none() && world.draw(100) < options.liars;
            let lie = lies.then(|| {
                let kinds = Lie::NEIGHBOURS.len() as u64;
                Lie::NEIGHBOURS[world.draw(kinds) as usize]
            });
            let nature = Nature {
                model: Some(rare_one.unwrap_or_else(crate::crowd::model)),
                lie,
                step: Millis(10),
                batch: 8,
            };
            let place = [world.draw(WIDTH), world.draw(WIDTH)].map(|at| at as u32);
            let site = Site {
                nat: Nat::draw(&mut world.rng),
                place: (place[0], place[1]),
                side: 0,
            };
            let first = world.draw(options.relays as u64) as usize;
            let step = 1 + world.draw(options.relays as u64 - 1) as usize;
            let relays = vec![first, (first + step) % options.relays];
            let at = Millis(world.draw(options.span.0));
            let peer = world.add_later(nature, site, relays, at);
            if model < options.rare_models {
                holders[model].push(peer);
            }
            if donates {
                let donate = Input::Command(Command::Donate(DonateLimits::default()));
                world.at(at + Millis(1), Happening::Tell(peer, donate));
            }
        }
        Self {
            world,
            options: *options,
            holders,
            next_ask: 0,
            usual_lonely: 0,
        }
    }

    /// Messages and lookups while all is well.
    fn count(&mut self, report: &mut Report) {
        let liars: BTreeSet<PeerIndex> = (0..self.options.peers)
            .map(PeerIndex)
            .filter(|peer| self.world.peers[peer.0].liar.is_some())
            .collect();
        let honest = self.options.peers - liars.len();
        self.world.traffic.reset(liars);
        let began = self.world.now;
        let spacing = self.options.span.0 / self.options.lookups as u64;
        let mut probes = Vec::new();
        for _ in 0..self.options.lookups {
            probes.extend(self.ask(|_, _| true));
            self.world.run_until(self.world.now + Millis(spacing));
        }
        let minutes = self.world.now.since(began).0 as f64 / 60_000.0;
        let each = honest as f64 * minutes;
        let traffic = self.world.traffic.clone();
        for kind in crate::traffic::Kind::ALL {
            let count = traffic.of(kind) as f64 / each;
            report.per_minute.push((kind.name(), count));
        }
        report.all_per_minute = traffic.all() as f64 / each;
        report.most_per_minute = traffic.most_of_one() as f64 / minutes;
        self.await_ends(&probes);
        report.lookups = self.judge(&probes);
    }

    fn mass_death(&mut self) -> Recovery {
        let mut dying = BTreeSet::new();
        while dying.len() < self.options.peers * 3 / 10 {
            dying.insert(self.world.draw(self.options.peers as u64) as usize);
        }
        for peer in dying {
            let now = self.world.now;
            self.world.at(now, Happening::Die(PeerIndex(peer)));
        }
        self.world.run_until(self.world.now);
        self.recover(|_, _| true)
    }

    /// Two halves, each with half of the relays, do not see each other for a while.
    fn partition(&mut self) -> Recovery {
        let half = |peer: PeerIndex| (peer.0 % 2) as u8;
        self.world.part(half, |relay| (relay % 2) as u8);
        self.world.run_until(self.world.now + self.options.span);
        self.world.part(|_| 0, |_| 0);
        self.recover(|asker, holder| half(asker) != half(holder))
    }

    /// Looks at the hive again and again, and lets some ask for what `fit` allows them to find.
    fn recover(&mut self, fit: impl Fn(PeerIndex, PeerIndex) -> bool) -> Recovery {
        let began = self.world.now;
        let mut recovery = Recovery {
            before: self.shape(),
            ..Recovery::default()
        };
        let batches = (self.options.span.0 / BATCH.0) as usize;
        let size = self.options.lookups.div_ceil(batches);
        let mut probes: Vec<Vec<Probe>> = Vec::new();
        while self.world.now < began + self.options.span {
            let due = began + Millis(BATCH.0 * probes.len() as u64);
            if due <= self.world.now {
                let batch = (0..size).filter_map(|_| self.ask(&fit)).collect();
                probes.push(batch);
            }
            if recovery.whole_after.is_none() {
                let shape = self.shape();
                if shape.components == 1 && shape.lonely_per_mille <= self.usual_lonely + 10 {
                    recovery.whole_after = Some(self.world.now.since(began));
                }
            }
            self.world.run_until(self.world.now + LOOK);
        }
        self.await_ends(&probes.concat());
        recovery.after = self.shape();
        let good = |from: usize| {
            let later: Vec<Probe> = probes[from..].concat();
            let lookups = self.judge(&later);
            (lookups.success() >= 99.0).then_some(lookups)
        };
        let first = (0..probes.len()).find_map(|from| Some((from, good(from)?)));
        if let Some((from, lookups)) = first {
            recovery.answers_after = Some(Millis(BATCH.0 * from as u64));
            recovery.lookups = lookups;
        }
        recovery
    }

    /// Lets time pass until all asks have ended, or should have.
    fn await_ends(&mut self, probes: &[Probe]) {
        let end = self.world.now + DEADLINE;
        let peers = |world: &World, &(peer, ask, _): &Probe| {
            let peer = &world.peers[peer.0];
            !peer.alive || peer.asks[&ask].ends().next().is_some()
        };
        while self.world.now < end && !probes.iter().all(|it| peers(&self.world, it)) {
            self.world.run_until(self.world.now + LOOK);
        }
    }

    /// Somebody asks for what only few have; `None` where nobody who fits is left.
    fn ask(&mut self, fit: impl Fn(PeerIndex, PeerIndex) -> bool) -> Option<Probe> {
        for _ in 0..1_000 {
            let asker = PeerIndex(self.world.draw(self.options.peers as u64) as usize);
            let model = self.world.draw(self.options.rare_models as u64) as usize;
            let holders = &self.holders[model];
            let honest = self.world.peers[asker.0].liar.is_none();
            let alive = |peer: PeerIndex| self.world.peers[peer.0].alive;
            let there = holders.iter().any(|&it| alive(it) && fit(asker, it));
            if holders.contains(&asker) || !honest || !alive(asker) || !there {
                continue;
            }
            let ask = self.next_ask;
            self.next_ask += 1;
            let request = AskRequest {
                ask,
                model: Some(rare(model).id.to_string()),
                input: PromptInput::Text(format!("probe {ask}")),
                max_new_tokens: 16,
                sampling: Sampling::GREEDY,
                stop: Vec::new(),
                deadline_millis: DEADLINE,
                truncation: Truncation::Disabled,
                route: Route::Peer,
            };
            let now = self.world.now;
            self.world.command(asker, Command::Ask(request));
            return Some((asker, ask, now));
        }
        None
    }

    fn judge(&self, probes: &[Probe]) -> Lookups {
        let mut lookups = Lookups::default();
        let mut times = Vec::new();
        for &(peer, ask, began) in probes {
            let peer = &self.world.peers[peer.0];
            let Some(asked) = peer.asks.get(&ask).filter(|_| peer.alive) else {
                continue;
            };
            lookups.asked += 1;
            match asked.ends().next() {
                Some((at, AskUpdate::Done { attempts, .. })) => {
                    lookups.found += 1;
                    let hops = peer.questions_of(ask) + *attempts as usize;
                    lookups.hops.resize(lookups.hops.len().max(hops + 1), 0);
                    lookups.hops[hops] += 1;
                    times.push(at.since(began).0);
                }
                Some((_, AskUpdate::Failed { code, message })) => {
                    lookups.failures.push(format!("{code:?}: {message}"));
                }
                _ => lookups.failures.push("no end".to_owned()),
            }
        }
        times.sort_unstable();
        lookups.median_millis = times.get(times.len() / 2).copied().unwrap_or(0);
        lookups
    }

    fn shape(&self) -> Shape {
        let world = &self.world;
        let honest =
            |index: &usize| world.peers[*index].alive && world.peers[*index].liar.is_none();
        let living: Vec<usize> = (0..world.peers.len()).filter(honest).collect();
        let alive = |peer: &&PeerIndex| world.peers[peer.0].alive;
        let mut counts: Vec<usize> = living
            .iter()
            .map(|&peer| world.network.neighbours(PeerIndex(peer)))
            .map(|neighbours| neighbours.iter().filter(alive).count())
            .collect();
        counts.sort_unstable();
        let lonely = counts.iter().filter(|&&links| links < ENOUGH_PEERS).count();
        Shape {
            links: [
                counts.first().copied().unwrap_or(0),
                counts.get(counts.len() / 2).copied().unwrap_or(0),
                counts.last().copied().unwrap_or(0),
            ],
            lonely_per_mille: 1_000 * lonely / counts.len().max(1),
            components: components(world, &living),
            carriers: world.network.count_by_carrier(),
        }
    }

    /// What honest peers said of honest ones.
    fn false_reports(&self) -> Vec<String> {
        let mut reports = Vec::new();
        for peer in self.world.peers.iter().filter(|peer| peer.liar.is_none()) {
            for (accused, what) in &peer.misbehaviours {
                let index = self.world.by_id.get(accused);
                if index.is_some_and(|index| self.world.peers[index.0].liar.is_none()) {
                    reports.push(what.clone());
                }
            }
        }
        reports
    }
}

/// Parts of the hive of these peers that no link among them joins.
fn components(world: &World, among: &[usize]) -> usize {
    let mut left: BTreeSet<usize> = among.iter().copied().collect();
    let mut count = 0;
    while let Some(start) = left.pop_first() {
        count += 1;
        let mut pending = vec![start];
        while let Some(peer) = pending.pop() {
            for neighbour in world.network.neighbours(PeerIndex(peer)) {
                if left.remove(&neighbour.0) {
                    pending.push(neighbour.0);
                }
            }
        }
    }
    count
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, median, most] = self.links;
        let [direct, turn, circuit] = self.carriers;
        let (parts, lonely) = (self.components, self.lonely_per_mille as f64 / 10.0);
        write!(
            f,
            "parts {parts}; links {least}/{median}/{most} (min/median/max), {lonely} % below \
             {ENOUGH_PEERS}; {direct} direct, {turn} by TURN, {circuit} through relays"
        )
    }
}

impl fmt::Display for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} found ({:.1} %), hops median {}, 99 of 100 {}, most {}, median answer {} ms",
            self.found,
            self.asked,
            self.success(),
            self.hops_of(50),
            self.hops_of(99),
            self.hops_of(100),
            self.median_millis
        )
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = |after: Option<Millis>| match after {
            Some(after) => format!("{} s", after.0.div_ceil(1_000)),
            None => "never".to_owned(),
        };
        writeln!(f, "  at once            {}", self.before)?;
        writeln!(f, "  whole again after  {}", secs(self.whole_after))?;
        writeln!(f, "  answers from       {}", secs(self.answers_after))?;
        writeln!(f, "  lookups from then  {}", self.lookups)?;
        writeln!(f, "  at the end         {}", self.after)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "peers                {}", self.peers)?;
        writeln!(f, "the mesh             {}", self.shape)?;
        writeln!(f, "lookups              {}", self.lookups)?;
        for failure in &self.lookups.failures {
            writeln!(f, "  failed             {failure}")?;
        }
        let (all, most) = (self.all_per_minute, self.most_per_minute);
        writeln!(
            f,
            "messages a minute    {all:.1} each, {most:.0} the busiest"
        )?;
        for (kind, count) in &self.per_minute {
            writeln!(f, "  {kind:<20} {count:.1}")?;
        }
        writeln!(f, "30 % vanish at once")?;
        write!(f, "{}", self.deaths)?;
        writeln!(f, "two halves see each other again")?;
        write!(f, "{}", self.partition)?;
        writeln!(f, "false reports        {}", self.false_reports.len())?;
        writeln!(f, "inputs handled       {}", self.steps)
    }
}
