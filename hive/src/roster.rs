//! Whom we know, whom we are connected to, and what we think of them.
//!
//! Dials few at a time and backs off per peer, up to [`TARGET_PEERS`]; while none of the connected
//! takes work, one that does not makes room for somebody else. It does not open streams.

use crate::backoff::Backoff;
use crate::env::{Env, earlier};
use crate::io::{Found, Output, Way};
use crate::ladder::Ladder;
use crate::limits::{
    ADVERT_RESTART, DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, DIAL_TIMEOUT, DIRECT_RETRY_BUSY,
    DIRECT_TIMEOUT, LINK_STABLE, MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_CONNECTED_PEERS, MAX_DIALS,
    MAX_KNOWN_PEERS, PEER_FORGOTTEN, ROTATE_PERIOD, ROTATED_PAUSE, TARGET_PEERS,
};
use crate::misbehaviour::Misbehaviour;
use crate::standing::Standing;
use rand_core::Rng as _;
use std::collections::BTreeMap;
use thrum_protocol::advert::Advert;
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::ADVERT_TTL;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{Event, LinkView, LogLevel, Path};

/// Every peer we know.
pub(crate) struct Roster {
    peers: BTreeMap<NodeId, Peer>,
    rotate_at: Millis,
}

/// One of them.
pub(crate) struct Peer {
    pub(crate) link: Option<Link>,
    pub(crate) rtt: Option<Millis>,
    pub(crate) heard: Option<Heard>,
    /// thousandths of a token per second, over the last task it did for us
    pub(crate) measured: Option<u64>,
    pub(crate) standing: Standing,
    addresses: Vec<String>,
    pub(crate) ladder: Ladder,
    dial: Dial,
    backoff: Backoff,
    mentioned: Millis,
}

/// A connection.
pub(crate) struct Link {
    pub(crate) path: Path,
    pub(crate) transport: String,
    pub(crate) since: Millis,
    pub(crate) measured: Option<LinkView>,
}

/// The last advert and when it came.
pub(crate) struct Heard {
    pub(crate) advert: Advert,
    pub(crate) at: Millis,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dial {
    Idle { not_before: Millis },
    Dialling { until: Millis, way: Way },
}

impl Roster {
    pub(crate) fn new(now: Millis) -> Self {
        Self {
            peers: BTreeMap::new(),
            rotate_at: now + ROTATE_PERIOD,
        }
    }

    pub(crate) fn peer(&self, peer: NodeId) -> Option<&Peer> {
        self.peers.get(&peer)
    }

    /// Connected peers, by id.
    pub(crate) fn connected(&self) -> impl Iterator<Item = (NodeId, &Peer, &Link)> {
        self.peers
            .iter()
            .filter_map(|(&id, peer)| Some((id, peer, peer.link.as_ref()?)))
    }

    pub(crate) fn connected_count(&self) -> usize {
        self.connected().count()
    }

    pub(crate) fn is_connected(&self, peer: NodeId) -> bool {
        self.peer(peer).is_some_and(|peer| peer.link.is_some())
    }

    /// Whether somebody new may be heard of soon: a dial is out, or a peer has not advertised yet.
    pub(crate) fn expects_news(&self) -> bool {
        self.peers.values().any(|peer| {
            matches!(peer.dial, Dial::Dialling { .. })
                || (peer.link.is_some() && peer.heard.is_none())
        })
    }

    pub(crate) fn found(&mut self, env: &mut Env, found: Vec<Found>) {
        for Found { peer, addresses } in found.into_iter().take(MAX_KNOWN_PEERS) {
            if peer == env.me {
                continue;
            }
            let Some(known) = self.know(env.now, peer) else {
                continue;
            };
            for address in addresses {
                if known.addresses.len() >= MAX_ADDRESSES {
                    break;
                }
                if address.len() <= MAX_ADDRESS_BYTES && !known.addresses.contains(&address) {
                    known.addresses.push(address);
                }
            }
        }
    }

    pub(crate) fn connect(&mut self, env: &mut Env, peer: NodeId, path: Path, transport: String) {
        let crowded = !self.is_connected(peer) && self.connected_count() >= MAX_CONNECTED_PEERS;
        let now = env.now;
        let known = self.know(now, peer).filter(|_| peer != env.me);
        let Some(known) = known.filter(|known| !crowded && !known.standing.banned(now)) else {
            env.push(Output::Disconnect { peer });
            return;
        };
        known.dial = Dial::Idle { not_before: now };
        known.ladder.reached(path, now, &mut env.rng);
        env.changed = true;
        if let Some(link) = &mut known.link {
            link.path = path;
            link.transport = transport;
            link.measured = None;
            return;
        }
        known.link = Some(Link {
            path,
            transport,
            since: now,
            measured: None,
        });
        env.log(
            LogLevel::Info,
            format!("connected to peer …{}", peer.fmt_short()),
        );
    }

    pub(crate) fn disconnected(&mut self, env: &mut Env, peer: NodeId) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let Some(link) = known.link.take() else {
            return;
        };
        if env.now.since(link.since) >= LINK_STABLE {
            known.backoff.reset();
        }
        known.heard = None;
        known.rtt = None;
        known.ladder.lost();
        known.rest(env);
        env.changed = true;
        env.log(
            LogLevel::Info,
            format!("connection to peer …{} ended", peer.fmt_short()),
        );
    }

    /// The next rung is tried at once; after the last one the peer is let alone for a while.
    pub(crate) fn dial_failed(&mut self, env: &mut Env, peer: NodeId, reason: String) {
        if let Some(known) = self.peers.get_mut(&peer)
            && let Dial::Dialling { way, .. } = known.dial
        {
            known.climb(env, peer, way, reason);
        }
    }

    /// Our own network has changed: what could not be reached directly may be now.
    pub(crate) fn network_changed(&mut self, now: Millis) {
        for known in self.peers.values_mut() {
            known.ladder.hurry(now);
        }
    }

    pub(crate) fn round_trip(&mut self, env: &mut Env, peer: NodeId, rtt: Millis) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.rtt = Some(rtt);
            env.changed = true;
        }
    }

    pub(crate) fn measured(&mut self, env: &mut Env, peer: NodeId, measured: LinkView) {
        let link = self.peers.get_mut(&peer).and_then(|it| it.link.as_mut());
        if let Some(link) = link.filter(|link| link.path == Path::Direct) {
            link.measured = Some(measured);
            env.changed = true;
        }
    }

    /// Takes an advert up unless a newer one came before it.
    pub(crate) fn heard(&mut self, env: &mut Env, peer: NodeId, advert: Advert) {
        let Some(known) = self.peers.get_mut(&peer).filter(|peer| peer.link.is_some()) else {
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
        if let Some(known) = self.peers.get_mut(&peer) {
            known.standing.served();
            known.measured = measured.or(known.measured);
            env.changed = true;
        }
    }

    pub(crate) fn faulted(&mut self, env: &mut Env, peer: NodeId) {
        if let Some(known) = self.peers.get_mut(&peer) {
            known.standing.faulted();
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
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.standing.lied(env.now);
        if known.standing.banned(env.now) && known.link.is_some() {
            env.push(Output::Disconnect { peer });
        }
    }

    /// Dials the peer next, even above [`TARGET_PEERS`]: a person asked for it.
    pub(crate) fn hurry(&mut self, env: &mut Env, peer: NodeId) {
        if let Some(known) = self.peers.get_mut(&peer)
            && known.may_dial(env.now)
        {
            known.start_dial(env, peer, known.ladder.first());
        }
    }

    /// A peer that is busy with work of ours, or we with its, keeps the connection it has.
    pub(crate) fn tick(&mut self, env: &mut Env, online: bool, busy: impl Fn(NodeId) -> bool) {
        let now = env.now;
        for (&peer, known) in &mut self.peers {
            if let Dial::Dialling { until, way } = known.dial
                && until <= now
            {
                known.climb(env, peer, way, "it took too long".to_owned());
            }
            if online && known.upgrade_due(now) {
                if busy(peer) {
                    known.ladder.postpone(now + DIRECT_RETRY_BUSY);
                } else {
                    known.ladder.begun();
                    known.start_dial(env, peer, Way::Direct);
                }
            }
            if known.heard.as_ref().is_some_and(|heard| heard.expired(now)) {
                known.heard = None;
                env.changed = true;
            }
        }
        self.peers
            .retain(|_, known| known.link.is_some() || now.since(known.mentioned) < PEER_FORGOTTEN);
        if self.rotate_at <= now {
            self.rotate_at = now + ROTATE_PERIOD;
            self.make_room(env);
        }
        if online {
            self.dial_more(env);
        }
    }

    fn dial_more(&mut self, env: &mut Env) {
        let mut dialling = self.dialling_count();
        let mut wanted = TARGET_PEERS.saturating_sub(self.connected_count() + dialling);
        let now = env.now;
        let mut candidates: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(_, known)| known.may_dial(now))
            .map(|(&peer, _)| peer)
            .collect();
        while wanted > 0 && dialling < MAX_DIALS && !candidates.is_empty() {
            let drawn = env.rng.next_u64() % candidates.len() as u64;
            let peer = candidates.swap_remove(drawn as usize);
            if let Some(known) = self.peers.get_mut(&peer) {
                known.start_dial(env, peer, known.ladder.first());
            }
            wanted -= 1;
            dialling += 1;
        }
    }

    /// While we are full and nobody connected takes work, the longest connected idler goes.
    fn make_room(&mut self, env: &mut Env) {
        let full = self.connected_count() >= TARGET_PEERS;
        let others = self.peers.values().any(|known| known.may_dial(env.now));
        let anyone_donates = self.connected().any(|(_, peer, _)| peer.donates());
        if !full || !others || anyone_donates {
            return;
        }
        let idler = self
            .connected()
            .filter(|(_, peer, _)| peer.heard.is_some())
            .min_by_key(|(_, _, link)| link.since)
            .map(|(id, _, _)| id);
        if let Some(peer) = idler
            && let Some(known) = self.peers.get_mut(&peer)
        {
            known.mentioned = env.now;
            known.dial = Dial::Idle {
                not_before: env.now + ROTATED_PAUSE,
            };
            env.push(Output::Disconnect { peer });
        }
    }

    fn dialling_count(&self) -> usize {
        let dialling = |known: &&Peer| matches!(known.dial, Dial::Dialling { .. });
        self.peers.values().filter(dialling).count()
    }

    pub(crate) fn next_wake(&self, online: bool) -> Option<Millis> {
        let may_dial_more = online
            && self.dialling_count() < MAX_DIALS
            && self.connected_count() + self.dialling_count() < TARGET_PEERS;
        let of_peers = self.peers.values().map(|known| {
            let dial = match known.dial {
                Dial::Dialling { until, .. } => Some(until),
                Dial::Idle { .. } if known.link.is_some() => known
                    .ladder
                    .again()
                    .filter(|_| online && known.has_address()),
                Dial::Idle { not_before } => {
                    let waits = may_dial_more && known.has_address();
                    waits.then_some(not_before.max(known.standing.ban_ends()))
                }
            };
            let heard = known.heard.as_ref().map(|heard| heard.at + ADVERT_TTL);
            earlier(dial, heard)
        });
        of_peers.fold(Some(self.rotate_at), earlier)
    }

    /// The record of a peer, made if there is room; the longest unmentioned unconnected one makes
    /// room.
    fn know(&mut self, now: Millis, peer: NodeId) -> Option<&mut Peer> {
        if !self.peers.contains_key(&peer) && self.peers.len() >= MAX_KNOWN_PEERS {
            let oldest = self
                .peers
                .iter()
                .filter(|(_, known)| known.link.is_none() && !known.standing.shunned(now))
                .min_by_key(|(_, known)| known.mentioned)
                .map(|(&id, _)| id)?;
            self.peers.remove(&oldest);
        }
        let known = self.peers.entry(peer).or_insert_with(|| Peer::new(now));
        known.mentioned = now;
        Some(known)
    }
}

impl Heard {
    fn expired(&self, now: Millis) -> bool {
        now.since(self.at) >= ADVERT_TTL
    }
}

impl Peer {
    fn new(now: Millis) -> Self {
        Self {
            link: None,
            rtt: None,
            heard: None,
            measured: None,
            standing: Standing::NEW,
            addresses: Vec::new(),
            ladder: Ladder::new(),
            dial: Dial::Idle { not_before: now },
            backoff: Backoff::new(DIAL_BACKOFF_MIN, DIAL_BACKOFF_MAX),
            mentioned: now,
        }
    }

    pub(crate) fn donates(&self) -> bool {
        self.heard.as_ref().is_some_and(|h| h.advert.donating)
    }

    /// Thousandths of a token per second: measured where we know, claimed where we do not.
    pub(crate) fn speed(&self) -> u64 {
        let claimed = |heard: &Heard| heard.advert.millitokens_per_second;
        self.measured
            .or(self.heard.as_ref().map(claimed))
            .unwrap_or(0)
    }

    fn has_address(&self) -> bool {
        !self.addresses.is_empty()
    }

    fn may_dial(&self, now: Millis) -> bool {
        let idle = matches!(self.dial, Dial::Idle { not_before } if not_before <= now);
        idle && self.link.is_none() && self.has_address() && !self.standing.banned(now)
    }

    /// Whether a peer behind a relay is to be tried directly again.
    fn upgrade_due(&self, now: Millis) -> bool {
        let idle = matches!(self.dial, Dial::Idle { .. });
        let due = self.ladder.again().is_some_and(|again| again <= now);
        idle && due && self.link.is_some() && self.has_address()
    }

    fn start_dial(&mut self, env: &mut Env, peer: NodeId, way: Way) {
        let timeout = match way {
            Way::Direct | Way::Turn => DIRECT_TIMEOUT,
            Way::Relayed => DIAL_TIMEOUT,
        };
        let until = env.now + timeout;
        self.dial = Dial::Dialling { until, way };
        env.push(Output::Dial {
            peer,
            addresses: self.addresses.clone(),
            way,
        });
    }

    fn climb(&mut self, env: &mut Env, peer: NodeId, way: Way, reason: String) {
        let connected = self.link.is_some();
        env.changed = true;
        let (now, rng) = (env.now, &mut env.rng);
        match self.ladder.failed(way, reason, connected, now, rng) {
            Some(next) => self.start_dial(env, peer, next),
            None if connected => self.dial = Dial::Idle { not_before: now },
            None => self.rest(env),
        }
    }

    /// Waits before the next dial, at least as long as it waits already.
    fn rest(&mut self, env: &mut Env) {
        let waits = match self.dial {
            Dial::Idle { not_before } => not_before,
            Dial::Dialling { .. } => Millis(0),
        };
        let not_before = waits.max(env.now + self.backoff.fail(&mut env.rng));
        self.dial = Dial::Idle { not_before };
    }
}
