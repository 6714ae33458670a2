//! One peer: whether it is connected or dialled, what it said, and what we think of it.

use crate::backoff::Backoff;
use crate::env::Env;
use crate::io::{Output, Way};
use crate::ladder::Ladder;
use crate::limits::{
    DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, DIAL_TIMEOUT, DIRECT_TIMEOUT, MAX_ADDRESS_BYTES,
    MAX_ADDRESSES,
};
use crate::mesh::{Faults, Prospect, RelayMark, Wants};
use crate::standing::Standing;
use thrum_protocol::advert::Advert;
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::ADVERT_TTL;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{LinkView, Path};

/// A peer we know.
pub(crate) struct Peer {
    pub(crate) link: Option<Link>,
    pub(crate) rtt: Option<Millis>,
    pub(crate) heard: Option<Heard>,
    /// thousandths of a token per second, over the last task it did for us
    pub(crate) measured: Option<u64>,
    pub(crate) standing: Standing,
    pub(crate) ladder: Ladder,
    pub(crate) faults: Faults,
    /// where we heard of it
    pub(crate) source: Source,
    pub(crate) mentioned: Millis,
    addresses: Vec<String>,
    /// of the first address
    relay: Option<RelayMark>,
    dial: Dial,
    purpose: Purpose,
    backoff: Backoff,
    /// the last dial was given up before every way was tried
    half_tried: bool,
}

/// A connection.
pub(crate) struct Link {
    pub(crate) path: Path,
    pub(crate) transport: String,
    pub(crate) since: Millis,
    pub(crate) measured: Option<LinkView>,
    /// what we dialled it for; `None` where it dialled us
    pub(crate) purpose: Option<Purpose>,
    /// it was told to look elsewhere and goes in a moment
    pub(crate) leaving: bool,
}

/// The last advert and when it came.
pub(crate) struct Heard {
    pub(crate) advert: Advert,
    pub(crate) at: Millis,
}

/// Who told us of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// a relay, or the peer itself by connecting
    Met,
    /// another peer, whose word is worth less
    Hinted,
}

/// What a peer is dialled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// one of the links that are chosen by worth
    Near,
    /// one of those drawn by lot, which keep the hive in one piece
    Far,
    /// to take the place of a worse one
    Challenge,
    /// somebody waits for it: any way will do
    Asked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dial {
    Idle { not_before: Millis },
    Dialling { until: Millis, way: Way },
}

impl Heard {
    pub(crate) fn expired(&self, now: Millis) -> bool {
        now.since(self.at) >= ADVERT_TTL
    }
}

impl Peer {
    pub(crate) fn new(now: Millis, source: Source) -> Self {
        Self {
            link: None,
            rtt: None,
            heard: None,
            measured: None,
            standing: Standing::NEW,
            ladder: Ladder::new(),
            faults: Faults::NONE,
            source,
            mentioned: now,
            addresses: Vec::new(),
            relay: None,
            dial: Dial::Idle { not_before: now },
            purpose: Purpose::Near,
            backoff: Backoff::new(DIAL_BACKOFF_MIN, DIAL_BACKOFF_MAX),
            half_tried: false,
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

    /// Whether it stays, for all we know.
    pub(crate) fn stays(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.leaving)
    }

    /// What the choice of links goes by.
    pub(crate) fn prospect(&self, peer: NodeId, wants: &Wants, now: Millis) -> Prospect {
        let relayed = self.link.as_ref().map(|link| link.path == Path::Relayed);
        let serves = |heard: &Heard| heard.advert.models.iter().any(|offer| wants.accept(offer));
        Prospect {
            peer,
            relay: self.relay,
            donates: self.donates(),
            serves: self.donates() && self.heard.as_ref().is_some_and(serves),
            rtt: self.rtt,
            relayed: relayed.unwrap_or(self.ladder.failure().is_some()),
            standing: self.standing.score(),
            faults: self.faults.at(now),
        }
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub(crate) fn has_address(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub(crate) fn learn(&mut self, addresses: Vec<String>) {
        for address in addresses {
            if self.addresses.len() >= MAX_ADDRESSES {
                break;
            }
            if address.len() <= MAX_ADDRESS_BYTES && !self.addresses.contains(&address) {
                self.addresses.push(address);
            }
        }
        self.relay = self.addresses.first().and_then(|it| RelayMark::of(it));
    }

    pub(crate) fn is_dialled(&self) -> bool {
        matches!(self.dial, Dial::Dialling { .. })
    }

    /// Whether it is connected or dialled.
    pub(crate) fn lives(&self) -> bool {
        self.link.is_some() || self.is_dialled()
    }

    pub(crate) fn dialled_for(&self, purpose: Purpose) -> bool {
        self.is_dialled() && self.purpose == purpose
    }

    /// Whether a dial is under way that may lead to something better than a relay.
    fn climbs(&self) -> bool {
        self.dialling()
            .is_some_and(|(way, _)| matches!(way, Way::Direct | Way::Turn))
    }

    /// Whether the dial under way failed to reach it directly and it was reached otherwise.
    pub(crate) fn missed_direct(&self) -> bool {
        let relayed = self.dialling().is_some_and(|(way, _)| way == Way::Relayed);
        relayed && self.ladder.failure().is_some()
    }

    /// Whether it is connected through a relay and a direct dial is under way.
    pub(crate) fn misses_direct(&self) -> bool {
        let direct = self.dialling().is_some_and(|(way, _)| way == Way::Direct);
        direct && self.link.is_some()
    }

    /// The way a dial is on, and until when it may be.
    pub(crate) fn dialling(&self) -> Option<(Way, Millis)> {
        match self.dial {
            Dial::Dialling { until, way } => Some((way, until)),
            Dial::Idle { .. } => None,
        }
    }

    /// When it may be dialled, where it is neither connected nor dialled.
    pub(crate) fn may_dial_at(&self) -> Option<Millis> {
        match self.dial {
            Dial::Idle { not_before } if self.link.is_none() && self.has_address() => {
                Some(not_before.max(self.standing.ban_ends()))
            }
            Dial::Idle { .. } | Dial::Dialling { .. } => None,
        }
    }

    pub(crate) fn may_dial(&self, now: Millis) -> bool {
        self.may_dial_at().is_some_and(|at| at <= now)
    }

    /// Whether it may be dialled now by any way, once an address is known.
    pub(crate) fn may_seek(&self, now: Millis) -> bool {
        let waits = match self.dial {
            Dial::Idle { not_before } => now < not_before && !self.half_tried,
            Dial::Dialling { .. } => self.purpose == Purpose::Asked,
        };
        self.link.is_none() && !waits && !self.standing.banned(now)
    }

    /// Whether a dial of it failed since it was last connected.
    pub(crate) fn fails(&self) -> bool {
        self.backoff.failures() > 0
    }

    /// Whether a peer behind a relay is to be tried directly again.
    pub(crate) fn upgrade_due(&self, now: Millis) -> bool {
        let idle = matches!(self.dial, Dial::Idle { .. });
        let due = self.ladder.again().is_some_and(|again| again <= now);
        idle && due && self.link.is_some() && self.has_address()
    }

    /// When a connected one wants something done.
    pub(crate) fn next_wake(&self, online: bool) -> Option<Millis> {
        match self.dial {
            Dial::Dialling { until, .. } => Some(until),
            Dial::Idle { .. } => self
                .ladder
                .again()
                .filter(|_| online && self.link.is_some() && self.has_address()),
        }
    }

    pub(crate) fn start_dial(&mut self, env: &mut Env, peer: NodeId, way: Way, purpose: Purpose) {
        let timeout = match way {
            Way::Direct | Way::Turn => DIRECT_TIMEOUT,
            Way::Relayed => DIAL_TIMEOUT,
        };
        let until = env.now + timeout;
        self.dial = Dial::Dialling { until, way };
        self.purpose = purpose;
        self.half_tried = false;
        env.push(Output::Dial {
            peer,
            addresses: self.addresses.clone(),
            way,
        });
    }

    /// Somebody waits for it now: the dial that is out goes on to the last rung.
    pub(crate) fn is_asked_for(&mut self) {
        self.purpose = Purpose::Asked;
    }

    /// A rung failed. `enough`: we have links enough to leave this one be, unless somebody waits.
    pub(crate) fn climb(&mut self, env: &mut Env, peer: NodeId, reason: String, enough: bool) {
        let Dial::Dialling { way, .. } = self.dial else {
            return;
        };
        let connected = self.link.is_some();
        env.changed = true;
        let now = env.now;
        let next = self
            .ladder
            .failed(way, reason, connected, now, &mut env.rng);
        let worth_it = connected || !enough || self.purpose == Purpose::Asked;
        self.half_tried = next.is_some() && !worth_it;
        match next.filter(|_| worth_it) {
            Some(next) => self.start_dial(env, peer, next, self.purpose),
            None if connected => self.dial = Dial::Idle { not_before: now },
            None => {
                self.faults.add(now);
                self.rest(env);
            }
        }
    }

    /// It is connected, for the first time or by another path; whether it is new.
    pub(crate) fn connected(&mut self, env: &mut Env, path: Path, transport: String) -> bool {
        let purpose = self.is_dialled().then_some(self.purpose);
        // What the peer had to fall back to does not end our search for something better.
        if path == Path::Direct || !self.climbs() {
            self.dial = Dial::Idle {
                not_before: env.now,
            };
            self.ladder.reached(path, env.now, &mut env.rng);
        }
        env.changed = true;
        if let Some(link) = &mut self.link {
            link.path = path;
            link.transport = transport;
            link.measured = None;
            return false;
        }
        self.link = Some(Link {
            path,
            transport,
            since: env.now,
            measured: None,
            purpose,
            leaving: false,
        });
        true
    }

    /// Its last connection has ended, after a time that proved it good or not.
    pub(crate) fn disconnected(&mut self, env: &mut Env, stable: bool) {
        if stable {
            self.backoff.reset();
        }
        self.heard = None;
        self.rtt = None;
        self.ladder.lost();
        self.rest(env);
    }

    /// It is not dialled before then.
    pub(crate) fn let_alone(&mut self, until: Millis) {
        if let Dial::Idle { not_before } = &mut self.dial {
            *not_before = until.max(*not_before);
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
