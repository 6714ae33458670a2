//! Whom we know, whom we are connected to, and which links we want.
//!
//! Dials few at a time up to [`TARGET_PEERS`], those that [`crate::mesh`] finds worth it, and lets
//! the worst go where there are too many. It does not open streams.

mod choice;

use crate::env::{Env, earlier};
use crate::io::{Found, Output, Way};
use crate::limits::{
    ADVERT_RESTART, ADVERT_TIMEOUT, DIRECT_RETRY_BUSY, DIRECT_RETRY_MIN, ENOUGH_PEERS, FULL_PEERS,
    LINK_STABLE, MAX_CONNECTED_PEERS, MAX_DIALS, MAX_HINTED_KNOWN, MAX_KNOWN_PEERS, PARTED_PAUSE,
    PEER_FORGOTTEN, PRUNE_GRACE, SWEEP_PERIOD, TARGET_PEERS,
};
use crate::mesh::{self, Rounds, Wants};
use crate::misbehaviour::Misbehaviour;
use crate::pace::Pace;
use crate::peer::{Heard, Link, Peer, Purpose, Source};
use std::collections::BTreeMap;
use thrum_protocol::advert::Advert;
use thrum_protocol::hint::{Hint, HintedPeer};
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::ADVERT_TTL;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{Event, LinkView, LogLevel, Path};

/// Every peer we know.
pub(crate) struct Roster {
    /// those that are connected or dialled: few, and looked at again and again
    live: BTreeMap<NodeId, Peer>,
    /// those that are not
    others: BTreeMap<NodeId, Peer>,
    wants: Wants,
    rounds: Rounds,
    sweep_at: Millis,
    pace: Pace,
}

impl Roster {
    pub(crate) fn new(env: &mut Env) -> Self {
        Self {
            live: BTreeMap::new(),
            others: BTreeMap::new(),
            wants: Wants::default(),
            rounds: Rounds::new(env.now, &mut env.rng),
            sweep_at: env.now + SWEEP_PERIOD,
            pace: Pace::default(),
        }
    }

    pub(crate) fn peer(&self, peer: NodeId) -> Option<&Peer> {
        self.live.get(&peer).or_else(|| self.others.get(&peer))
    }

    fn peer_mut(&mut self, peer: NodeId) -> Option<&mut Peer> {
        let live = self.live.get_mut(&peer);
        live.or_else(|| self.others.get_mut(&peer))
    }

    fn living(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        self.live.iter().map(|(&id, peer)| (id, peer))
    }

    fn all(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        let both = self.live.iter().chain(&self.others);
        both.map(|(&id, peer)| (id, peer))
    }

    /// Connected peers, by id.
    pub(crate) fn connected(&self) -> impl Iterator<Item = (NodeId, &Peer, &Link)> {
        self.living()
            .filter_map(|(id, peer)| Some((id, peer, peer.link.as_ref()?)))
    }

    pub(crate) fn connected_count(&self) -> usize {
        self.connected().count()
    }

    /// Those of them that were not asked to leave.
    fn staying_count(&self) -> usize {
        self.living().filter(|(_, peer)| peer.stays()).count()
    }

    fn dialling_count(&self) -> usize {
        self.living().filter(|(_, peer)| peer.is_dialled()).count()
    }

    /// Connected or not.
    pub(crate) fn known_count(&self) -> usize {
        self.live.len() + self.others.len()
    }

    /// Those that gossip reaches.
    pub(crate) fn direct_count(&self) -> usize {
        let direct = |(_, _, link): &(NodeId, &Peer, &Link)| link.path == Path::Direct;
        self.connected().filter(direct).count()
    }

    pub(crate) fn is_connected(&self, peer: NodeId) -> bool {
        self.peer(peer).is_some_and(|peer| peer.link.is_some())
    }

    /// Whether somebody new may be heard of soon: a dial is out, or a peer has not advertised yet.
    pub(crate) fn expects_news(&self) -> bool {
        self.living()
            .any(|(_, peer)| peer.is_dialled() || (peer.link.is_some() && peer.heard.is_none()))
    }

    /// Links to those who have this model are worth more from now on.
    pub(crate) fn want(&mut self, now: Millis, model: &str) {
        self.wants.add(model, now);
    }

    pub(crate) fn found(&mut self, env: &mut Env, found: Vec<Found>) {
        for Found { peer, addresses } in found.into_iter().take(MAX_KNOWN_PEERS) {
            if let Some(known) = self.know(env, peer, Source::Met) {
                known.learn(addresses);
            }
        }
    }

    /// A peer asks us to leave and names others. We do, unless one of us works for the other: then
    /// it will see that, too.
    pub(crate) fn hinted(&mut self, env: &mut Env, peer: NodeId, hint: Hint, busy: bool) {
        for HintedPeer { peer_id, addresses } in hint.peers {
            if let Some(known) = self.know(env, peer_id, Source::Hinted) {
                known.learn(addresses);
            }
        }
        if busy {
            return;
        }
        if let Some(known) = self.peer_mut(peer).filter(|it| it.link.is_some()) {
            known.let_alone(env.now + PARTED_PAUSE);
            env.push(Output::Disconnect { peer });
        }
    }

    pub(crate) fn connect(
        &mut self,
        env: &mut Env,
        peer: NodeId,
        path: Path,
        transport: String,
        busy: impl Fn(NodeId) -> bool,
    ) {
        let full = self.connected_count() >= MAX_CONNECTED_PEERS;
        let crowded = full && !self.is_connected(peer) && !self.yield_to(env, peer, busy);
        let now = env.now;
        let known = self.know(env, peer, Source::Met);
        let Some(known) = known.filter(|known| !crowded && !known.standing.banned(now)) else {
            env.push(Output::Disconnect { peer });
            return;
        };
        let missed = path == Path::Relayed && known.missed_direct();
        let first = known.connected(env, path, transport);
        let purpose = known.link.as_ref().and_then(|link| link.purpose);
        match path {
            Path::Direct => self.pace.reached(),
            Path::Relayed if missed => self.pace.missed(),
            Path::Relayed => {}
        }
        if !first {
            return;
        }
        self.enliven(peer);
        if purpose.is_some() {
            self.pace.succeeded();
        }
        let staying = self.staying_count();
        match purpose {
            Some(Purpose::Challenge | Purpose::Far) if staying > TARGET_PEERS => {
                self.rounds.challenged = true;
                self.rounds.trim_within(now, PRUNE_GRACE);
            }
            _ if staying > FULL_PEERS => self.rounds.trim_within(now, choice::prune_after(staying)),
            Some(Purpose::Challenge | Purpose::Far | Purpose::Near | Purpose::Asked) | None => {}
        }
        env.log(
            LogLevel::Info,
            format!("connected to peer …{}", peer.fmt_short()),
        );
    }

    pub(crate) fn disconnected(&mut self, env: &mut Env, peer: NodeId) {
        let Some(known) = self.peer_mut(peer) else {
            return;
        };
        let Some(link) = known.link.take() else {
            return;
        };
        let stable = env.now.since(link.since) >= LINK_STABLE;
        if !stable && !link.leaving {
            known.faults.add(env.now);
        }
        known.disconnected(env, stable);
        self.rest(peer);
        env.changed = true;
        env.log(
            LogLevel::Info,
            format!("connection to peer …{} ended", peer.fmt_short()),
        );
    }

    /// The next rung is tried at once; after the last one the peer is let alone for a while.
    pub(crate) fn dial_failed(&mut self, env: &mut Env, peer: NodeId, reason: String) {
        let enough = self.staying_count() >= ENOUGH_PEERS;
        let Some(known) = self.live.get_mut(&peer) else {
            return;
        };
        if known.misses_direct() {
            self.pace.missed();
        }
        known.climb(env, peer, reason, enough);
        if !known.lives() {
            self.pace.failed(env.now, &mut env.rng);
        }
        self.rest(peer);
    }

    /// Our own network has changed: what could not be reached directly may be now.
    pub(crate) fn network_changed(&mut self, env: &mut Env) {
        for known in self.live.values_mut().chain(self.others.values_mut()) {
            known.ladder.hurry(env.now);
        }
        self.pace.network_changed();
        self.rounds.hurry_far(env.now, &mut env.rng);
    }

    /// A relay keeps a place for us: others may be in sight that were not.
    pub(crate) fn relay_returned(&mut self, env: &mut Env) {
        self.rounds.hurry_far(env.now, &mut env.rng);
    }

    pub(crate) fn round_trip(&mut self, env: &mut Env, peer: NodeId, rtt: Millis) {
        if let Some(known) = self.peer_mut(peer) {
            known.rtt = Some(rtt);
            env.changed = true;
        }
    }

    pub(crate) fn measured(&mut self, env: &mut Env, peer: NodeId, measured: LinkView) {
        let link = self.peer_mut(peer).and_then(|it| it.link.as_mut());
        if let Some(link) = link.filter(|link| link.path == Path::Direct) {
            link.measured = Some(measured);
            env.changed = true;
        }
    }

    /// Takes an advert up unless a newer one came before it.
    pub(crate) fn heard(&mut self, env: &mut Env, peer: NodeId, advert: Advert) {
        let Some(known) = self.peer_mut(peer).filter(|peer| peer.link.is_some()) else {
            return;
        };
        let stale = known.heard.as_ref().is_some_and(|heard| {
            let last = heard.advert.sequence;
            advert.sequence <= last && last - advert.sequence <= ADVERT_RESTART.0
        });
        if stale {
            return;
        }
        let was_donating = known.heard.as_ref().is_some_and(|h| h.advert.donating);
        if advert.donating != was_donating {
            let verb = if advert.donating { "takes" } else { "takes no" };
            let message = format!("peer …{} {verb} work", peer.fmt_short());
            env.log(LogLevel::Info, message);
        }
        known.heard = Some(Heard {
            advert,
            at: env.now,
        });
        env.changed = true;
    }

    pub(crate) fn served(&mut self, env: &mut Env, peer: NodeId, measured: Option<u64>) {
        if let Some(known) = self.peer_mut(peer) {
            known.standing.served();
            known.measured = measured.or(known.measured);
            env.changed = true;
        }
    }

    pub(crate) fn faulted(&mut self, env: &mut Env, peer: NodeId) {
        if let Some(known) = self.peer_mut(peer) {
            known.standing.faulted();
            known.faults.add(env.now);
            env.changed = true;
        }
    }

    /// Reports the breach, lowers the score, and ends the connection after too many.
    pub(crate) fn lied(&mut self, env: &mut Env, peer: NodeId, what: &Misbehaviour) {
        let message = format!("peer …{} {what}", peer.fmt_short());
        env.log(LogLevel::Warn, message);
        env.notify(Event::Misbehaviour {
            peer_id: peer,
            what: what.to_string(),
        });
        env.changed = true;
        let Some(known) = self.peer_mut(peer) else {
            return;
        };
        known.standing.lied(env.now);
        known.faults.add(env.now);
        if known.standing.banned(env.now) && known.link.is_some() {
            env.push(Output::Disconnect { peer });
        }
    }

    /// Dials the peer next, even above [`TARGET_PEERS`]: a person asked for it.
    pub(crate) fn hurry(&mut self, env: &mut Env, peer: NodeId) {
        self.dial(env, peer, Purpose::Asked);
    }

    /// Whether a direct dial is a waste of time, as behind a firewall that lets no UDP out.
    fn blocked(&self) -> bool {
        self.pace.blocked() && self.direct_count() == 0
    }

    /// Whether it is worth a dial now, as far as we know.
    pub(crate) fn may_seek(&self, now: Millis, peer: NodeId) -> bool {
        self.peer(peer).is_none_or(|known| known.may_seek(now))
    }

    /// Whether somebody who is waited for may yet be there, or say what it can do.
    pub(crate) fn awaits(&self, now: Millis) -> bool {
        let silent = |peer: &Peer| {
            let fresh = |link: &Link| {
                link.purpose == Some(Purpose::Asked) && now.since(link.since) < ADVERT_TIMEOUT
            };
            peer.heard.is_none() && peer.link.as_ref().is_some_and(fresh)
        };
        self.sought_count() > 0 || self.living().any(|(_, peer)| silent(peer))
    }

    /// Dials to peers that are waited for.
    pub(crate) fn sought_count(&self) -> usize {
        let sought = |(_, peer): &(NodeId, &Peer)| peer.dialled_for(Purpose::Asked);
        self.living().filter(sought).count()
    }

    fn dial(&mut self, env: &mut Env, peer: NodeId, purpose: Purpose) {
        let way = if self.blocked() {
            Way::Relayed
        } else {
            Way::Direct
        };
        let Some(known) = self.peer_mut(peer) else {
            return;
        };
        let asked = purpose == Purpose::Asked;
        if asked && known.is_dialled() {
            known.is_asked_for();
        } else if known.has_address()
            && (known.may_dial(env.now) || (asked && known.may_seek(env.now)))
        {
            known.start_dial(env, peer, way, purpose);
            self.enliven(peer);
        }
    }

    /// Whom to ask to leave, with what to say. A peer that is busy with work of ours, or we with
    /// its, keeps the connection it has.
    pub(crate) fn tick(
        &mut self,
        env: &mut Env,
        online: bool,
        busy: impl Fn(NodeId) -> bool,
    ) -> Option<(NodeId, Hint)> {
        self.tick_living(env, online, &busy);
        let now = env.now;
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP_PERIOD;
            self.wants.expire(now);
            let lasts = |known: &Peer| now.since(known.mentioned) < PEER_FORGOTTEN;
            self.others.retain(|_, known| lasts(known));
        }
        if online {
            self.dial_more(env);
        }
        if self.rounds.churn_is_due(now, &mut env.rng) && online {
            self.challenge(env, &busy);
        }
        if self.rounds.far_is_due(now, &mut env.rng) && online {
            self.look_far(env);
        }
        self.trim(env, &busy)
    }

    fn tick_living(&mut self, env: &mut Env, online: bool, busy: impl Fn(NodeId) -> bool) {
        let now = env.now;
        let enough = self.staying_count() >= ENOUGH_PEERS;
        let mut at_rest = Vec::new();
        for (&peer, known) in &mut self.live {
            if known.dialling().is_some_and(|(_, until)| until <= now) {
                if known.misses_direct() {
                    self.pace.missed();
                }
                known.climb(env, peer, "it took too long".to_owned(), enough);
            }
            if online && known.upgrade_due(now) {
                if busy(peer) {
                    known.ladder.postpone(now + DIRECT_RETRY_BUSY);
                } else if !self.pace.may_probe(now) {
                    known.ladder.postpone(now + DIRECT_RETRY_MIN);
                } else {
                    known.ladder.begun();
                    known.start_dial(env, peer, Way::Direct, Purpose::Near);
                }
            }
            if known.heard.as_ref().is_some_and(|heard| heard.expired(now)) {
                known.heard = None;
                env.changed = true;
            }
            if !known.lives() {
                self.pace.failed(now, &mut env.rng);
                at_rest.push(peer);
            }
        }
        for peer in at_rest {
            self.rest(peer);
        }
    }

    /// It is connected or dialled now.
    fn enliven(&mut self, peer: NodeId) {
        if let Some(known) = self.others.remove(&peer) {
            self.live.insert(peer, known);
        }
    }

    /// It is neither, unless it is.
    fn rest(&mut self, peer: NodeId) {
        if self.live.get(&peer).is_some_and(|known| !known.lives())
            && let Some(known) = self.live.remove(&peer)
        {
            self.others.insert(peer, known);
        }
    }

    /// Who was to leave has work with us now, and stays.
    pub(crate) fn stays_after_all(&mut self, peer: NodeId) {
        if let Some(link) = self.peer_mut(peer).and_then(|it| it.link.as_mut()) {
            link.leaving = false;
        }
    }

    pub(crate) fn next_wake(&self, online: bool) -> Option<Millis> {
        let of_living = self.living().map(|(_, known)| {
            let heard = known.heard.as_ref().map(|heard| heard.at + ADVERT_TTL);
            earlier(known.next_wake(online), heard)
        });
        let own = self.rounds.next_wake().min(self.sweep_at);
        let awake = of_living.fold(Some(own), earlier);
        let dialling = self.dialling_count();
        let may_dial_more =
            online && dialling < MAX_DIALS && self.staying_count() + dialling < self.target();
        if !may_dial_more {
            return awake;
        }
        let from = self.dials_from();
        let dials = self.others.values().map(Peer::may_dial_at);
        let dial = dials.fold(None, earlier);
        earlier(awake, dial.map(|at| at.max(from)))
    }

    /// The record of a peer, made if there is room. A random one makes room, so that those who stay
    /// are a sample of all we were told of; one that could not be reached goes first.
    fn know(&mut self, env: &mut Env, peer: NodeId, source: Source) -> Option<&mut Peer> {
        let now = env.now;
        if peer == env.me {
            return None;
        }
        if self.peer(peer).is_none() {
            self.make_room(env, source)?;
            self.others.insert(peer, Peer::new(now, source));
        }
        let known = self.peer_mut(peer)?;
        known.mentioned = now;
        if source == Source::Met {
            known.source = source;
        }
        Some(known)
    }

    fn make_room(&mut self, env: &mut Env, source: Source) -> Option<()> {
        let hinted = |known: &&Peer| known.source == Source::Hinted;
        let full = self.known_count() >= MAX_KNOWN_PEERS;
        let hints_only = source == Source::Hinted
            && self.known_count() >= MAX_HINTED_KNOWN
            && self.all().filter(|(_, it)| hinted(it)).count() >= MAX_HINTED_KNOWN;
        if !full && !hints_only {
            return Some(());
        }
        let now = env.now;
        let may_go = |known: &Peer| !known.standing.shunned(now) && (!hints_only || hinted(&known));
        let (failing, others): (Vec<_>, Vec<_>) = self
            .others
            .iter()
            .filter(|(_, known)| may_go(known))
            .map(|(&id, known)| (id, known.fails()))
            .partition(|(_, fails)| *fails);
        let from = if failing.is_empty() {
            &others
        } else {
            &failing
        };
        let (gone, _) = mesh::draw(from, &mut env.rng)?;
        self.others.remove(gone);
        Some(())
    }
}
