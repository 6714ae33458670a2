//! Which links are worth having: near ones, those that can do what we ask for, and those that lead
//! elsewhere than the others.
//!
//! A node keeps eight to sixteen links. It dials until it has [`TARGET_PEERS`](crate::limits::TARGET_PEERS)
//! and takes what comes above that while there is room. Two are drawn by lot and kept whatever they
//! are worth, so that the hive stays an expander: choosing by worth alone makes islands. A link
//! makes room for a better one slowly, for a real gain only, and never while it carries work.

use crate::backoff::jittered;
use crate::limits::{CHURN_PERIOD, FAR_PERIOD, FAULT_HALF_LIFE, MAX_WANTS, WANT_TIME};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use std::collections::BTreeMap;
use thrum_protocol::id::NodeId;
use thrum_protocol::model::ModelOffer;
use thrum_protocol::time::Millis;

/// points; it answers with a model that was asked for here lately.
const SERVES: i64 = 400;
/// points; it takes work.
const DONATES: i64 = 150;
/// points; while nobody connected takes work, a stranger is thought to with this many.
const MAY_DONATE: i64 = 200;
/// points; a round trip of no time. Half of it at [`HALF_NEAR`].
const NEAR: i64 = 240;
/// ms; a round trip of this length counts half.
const HALF_NEAR: Millis = Millis(100);
/// ms; what a stranger's round trip is thought to be: that of another continent.
const EXPECTED_RTT: Millis = Millis(200);
/// points; no relay carries its bytes.
const DIRECT: i64 = 150;
/// points; no other link leads to its part of the id space. Shared among those that do.
const ALONE_IN_BUCKET: i64 = 120;
/// points; no other link depends on its relay. Shared among those that do.
const ALONE_AT_RELAY: i64 = 80;
/// points; the best standing. An unknown one is half of it.
const STANDING: i64 = 100;
/// points; what one fresh fault takes away.
const FAULT: i64 = 120;
/// points; what a newcomer must be better by. Less would be noise of the round trips.
pub(crate) const MARGIN: i64 = 80;
/// count; candidates that are compared for one dial. With all of them everybody would dial the
/// same few.
const CHOICES: usize = 8;
/// count; parts of the id space that links are spread over: the first three bits.
const BUCKETS: usize = 8;
/// count; of one peer's faults that are remembered. More make no difference.
const MAX_FAULTS: u32 = 8;

/// The relay in somebody's address, short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RelayMark(u64);

impl RelayMark {
    /// The relay of an address of the form `…/p2p/<relay>/p2p-circuit…`.
    pub(crate) fn of(address: &str) -> Option<Self> {
        let (before, _) = address.split_once("/p2p-circuit")?;
        let name = before.rsplit('/').next()?;
        // FNV-1a: a mark to compare by, not a secret.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Some(Self(hash))
    }
}

/// What the choice goes by, of a neighbour or of somebody who may become one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prospect {
    pub(crate) peer: NodeId,
    pub(crate) relay: Option<RelayMark>,
    pub(crate) donates: bool,
    /// it answers with a model that we want
    pub(crate) serves: bool,
    pub(crate) rtt: Option<Millis>,
    /// a relay carries its bytes, or would
    pub(crate) relayed: bool,
    /// thousandths
    pub(crate) standing: u32,
    /// thousandths of a fault
    pub(crate) faults: u32,
}

/// How the links we have are spread.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    buckets: [u32; BUCKETS],
    relays: BTreeMap<RelayMark, u32>,
    donors: u32,
}

impl Spread {
    pub(crate) fn of(neighbours: &[Prospect]) -> Self {
        let mut spread = Self::default();
        for it in neighbours {
            spread.buckets[bucket(it.peer)] += 1;
            if let Some(relay) = it.relay {
                *spread.relays.entry(relay).or_default() += 1;
            }
            spread.donors += u32::from(it.donates);
        }
        spread
    }

    /// What one of the neighbours is worth, in points.
    pub(crate) fn worth(&self, it: &Prospect) -> i64 {
        self.points(it, 0)
    }

    /// What a stranger would be worth as a neighbour.
    pub(crate) fn promise(&self, it: &Prospect) -> i64 {
        let hope = if self.donors == 0 && !it.donates {
            MAY_DONATE
        } else {
            0
        };
        self.points(it, 1) + hope
    }

    /// `more`: how many there will be than are counted.
    fn points(&self, it: &Prospect, more: u32) -> i64 {
        let rtt = i64::try_from(it.rtt.unwrap_or(EXPECTED_RTT).0.min(10_000)).unwrap_or(10_000);
        let half = HALF_NEAR.0.cast_signed();
        let near = NEAR * half / (half + rtt);
        let share = |whole: i64, sharers: u32| whole / i64::from((sharers + more).max(1));
        let at_relay = it
            .relay
            .and_then(|relay| self.relays.get(&relay))
            .copied()
            .unwrap_or(0);
        let known_relay = i64::from(it.relay.is_some());
        near + i64::from(it.serves) * SERVES
            + i64::from(it.donates) * DONATES
            + i64::from(!it.relayed) * DIRECT
            + share(ALONE_IN_BUCKET, self.buckets[bucket(it.peer)])
            + known_relay * share(ALONE_AT_RELAY, at_relay)
            + STANDING * i64::from(it.standing) / 1_000
            - FAULT * i64::from(it.faults) / 1_000
    }

    /// The best of a few drawn from `strangers`.
    pub(crate) fn choose(
        &self,
        strangers: &[Prospect],
        rng: &mut ChaCha8Rng,
    ) -> Option<(Prospect, i64)> {
        let draws = CHOICES.min(strangers.len());
        let drawn = (0..draws).filter_map(|_| draw(strangers, rng));
        drawn
            .map(|it| (*it, self.promise(it)))
            .max_by_key(|(it, points)| (*points, it.peer))
    }
}

/// One of them.
pub(crate) fn draw<'a, T>(items: &'a [T], rng: &mut ChaCha8Rng) -> Option<&'a T> {
    let drawn = rng.next_u64().checked_rem(items.len() as u64)?;
    items.get(usize::try_from(drawn).ok()?)
}

fn bucket(peer: NodeId) -> usize {
    usize::from(peer.public_key()[0] >> 5)
}

/// Faults of a peer, each of which counts half after [`FAULT_HALF_LIFE`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    thousandths: u32,
    since: Millis,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        thousandths: 0,
        since: Millis(0),
    };

    pub(crate) fn add(&mut self, now: Millis) {
        self.thousandths = (self.at(now) + 1_000).min(MAX_FAULTS * 1_000);
        self.since = now;
    }

    /// Thousandths that are left.
    pub(crate) fn at(self, now: Millis) -> u32 {
        let halvings = now.since(self.since).0 / FAULT_HALF_LIFE.0;
        let shift = u32::try_from(halvings).unwrap_or(u32::MAX);
        self.thousandths.checked_shr(shift).unwrap_or(0)
    }
}

/// The models that were asked for here lately: links to those who have them are worth more.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    /// name or id, and until when it counts
    models: Vec<(String, Millis)>,
}

impl Wants {
    pub(crate) fn add(&mut self, model: &str, now: Millis) {
        self.models.retain(|(known, _)| known != model);
        if self.models.len() >= MAX_WANTS {
            self.models.remove(0);
        }
        self.models.push((model.to_owned(), now + WANT_TIME));
    }

    pub(crate) fn expire(&mut self, now: Millis) {
        self.models.retain(|(_, until)| now < *until);
    }

    pub(crate) fn accept(&self, offer: &ModelOffer) -> bool {
        let named = |(wanted, _): &(String, Millis)| {
            *wanted == offer.name || (wanted.len() > 32 && *wanted == offer.id.to_string())
        };
        self.models.iter().any(named)
    }
}

/// When links are looked over next.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// a worse link may make room for a better
    pub(crate) churn_at: Millis,
    /// one of the links drawn by lot is drawn anew
    pub(crate) far_at: Millis,
    /// there are too many links: the worst goes
    pub(crate) trim_at: Option<Millis>,
    /// down to [`TARGET_PEERS`](crate::limits::TARGET_PEERS): somebody was invited to take a place
    pub(crate) challenged: bool,
}

impl Rounds {
    pub(crate) fn new(now: Millis, rng: &mut ChaCha8Rng) -> Self {
        Self {
            churn_at: now + around(rng, CHURN_PERIOD),
            far_at: now + around(rng, FAR_PERIOD),
            trim_at: None,
            challenged: false,
        }
    }

    /// Whether it is time, once.
    pub(crate) fn churn_is_due(&mut self, now: Millis, rng: &mut ChaCha8Rng) -> bool {
        let due = self.churn_at <= now;
        if due {
            self.churn_at = now + around(rng, CHURN_PERIOD);
        }
        due
    }

    /// Whether it is time, once.
    pub(crate) fn far_is_due(&mut self, now: Millis, rng: &mut ChaCha8Rng) -> bool {
        let due = self.far_at <= now;
        if due {
            self.far_at = now + around(rng, FAR_PERIOD);
        }
        due
    }

    /// The way to others may be open that was not: one of them is tried soon.
    pub(crate) fn hurry_far(&mut self, now: Millis, rng: &mut ChaCha8Rng) {
        let soon = now + jittered(rng, CHURN_PERIOD);
        self.far_at = self.far_at.min(soon);
    }

    pub(crate) fn trim_within(&mut self, now: Millis, wait: Millis) {
        let at = now + wait;
        self.trim_at = Some(self.trim_at.map_or(at, |earlier| earlier.min(at)));
    }

    pub(crate) fn next_wake(&self) -> Millis {
        let looked_over = self.churn_at.min(self.far_at);
        self.trim_at.map_or(looked_over, |at| at.min(looked_over))
    }
}

/// Half of `span` to one and a half of it.
fn around(rng: &mut ChaCha8Rng, span: Millis) -> Millis {
    jittered(rng, span) + Millis(rng.next_u64() % (span.0 / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;
    use thrum_protocol::SigningKey;
    use thrum_protocol::id::ModelId;

    fn peer(byte: u8) -> NodeId {
        let key = SigningKey::from_bytes(&[byte; 32]);
        NodeId::from_public_key(key.verifying_key().to_bytes()).unwrap()
    }

    fn plain(byte: u8) -> Prospect {
        Prospect {
            peer: peer(byte),
            relay: None,
            donates: false,
            serves: false,
            rtt: Some(Millis(100)),
            relayed: false,
            standing: 500,
            faults: 0,
        }
    }

    fn alone(it: &Prospect) -> i64 {
        Spread::of(std::slice::from_ref(it)).worth(it)
    }

    #[test]
    fn what_makes_a_link_better_makes_it_worth_more() {
        let base = plain(1);
        let better = [
            Prospect {
                donates: true,
                ..base
            },
            Prospect {
                rtt: Some(Millis(10)),
                ..base
            },
            Prospect {
                standing: 900,
                ..base
            },
        ];
        for it in better {
            assert!(alone(&it) > alone(&base), "{it:?}");
        }
        let worse = [
            Prospect {
                rtt: Some(Millis(900)),
                ..base
            },
            Prospect { rtt: None, ..base },
            Prospect {
                relayed: true,
                ..base
            },
            Prospect {
                faults: 1_000,
                ..base
            },
        ];
        for it in worse {
            assert!(alone(&it) < alone(&base), "{it:?}");
        }
        let serves = Prospect {
            donates: true,
            serves: true,
            rtt: Some(Millis(300)),
            ..base
        };
        let near = Prospect {
            donates: true,
            rtt: Some(Millis(1)),
            ..base
        };
        assert!(
            alone(&serves) > alone(&near),
            "what is asked for counts most"
        );
    }

    #[test]
    fn a_link_that_leads_where_no_other_does_is_worth_more() {
        let relay = RelayMark::of("/dns4/one/tcp/443/wss/p2p/A/p2p-circuit/p2p/X");
        let other = RelayMark::of("/ip4/1.2.3.4/udp/4/webrtc-direct/p2p/B/p2p-circuit");
        let same = RelayMark::of("/ip4/9.9.9.9/tcp/1/ws/p2p/A/p2p-circuit");
        assert_eq!((relay, relay != other), (same, true));
        assert_eq!(RelayMark::of("/ip4/1.2.3.4/tcp/1/ws/p2p/A"), None);
        let crowd: Vec<_> = (0..4).map(|_| Prospect { relay, ..plain(1) }).collect();
        let spread = Spread::of(&crowd);
        let elsewhere = (2..60)
            .find(|&byte| bucket(peer(byte)) != bucket(peer(1)))
            .unwrap();
        let same_bucket = Prospect { relay, ..plain(1) };
        let other_bucket = Prospect {
            relay,
            ..plain(elsewhere)
        };
        let other_relay = Prospect {
            relay: other,
            ..plain(1)
        };
        assert!(spread.promise(&other_bucket) > spread.promise(&same_bucket));
        assert!(spread.promise(&other_relay) > spread.promise(&same_bucket));
    }

    #[test]
    fn while_nobody_takes_work_a_stranger_may() {
        let stranger = plain(2);
        let idlers = Spread::of(&[plain(1)]);
        let donors = Spread::of(&[Prospect {
            donates: true,
            ..plain(1)
        }]);
        assert!(idlers.promise(&stranger) > donors.promise(&stranger));
    }

    #[test]
    fn the_best_of_a_few_is_chosen_not_always_the_best_of_all() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let strangers: Vec<_> = (0..100)
            .map(|byte| Prospect {
                standing: u32::from(byte) * 10,
                ..plain(byte)
            })
            .collect();
        let spread = Spread::default();
        let mut chosen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let (it, points) = spread.choose(&strangers, &mut rng).unwrap();
            assert_eq!(points, spread.promise(&it));
            chosen.insert(it.peer);
        }
        assert!(chosen.len() > 10, "{} of 100", chosen.len());
        assert!(spread.choose(&[], &mut rng).is_none());
    }

    #[test]
    fn faults_fade_and_are_bounded() {
        let mut faults = Faults::NONE;
        assert_eq!(faults.at(Millis(0)), 0);
        for _ in 0..100 {
            faults.add(Millis(1_000));
        }
        let worst = faults.at(Millis(1_000));
        assert_eq!(worst, MAX_FAULTS * 1_000);
        assert_eq!(faults.at(Millis(1_000) + FAULT_HALF_LIFE), worst / 2);
        assert_eq!(faults.at(Millis(u64::MAX / 2)), 0);
    }

    #[test]
    fn wants_are_few_and_pass() {
        let offer = |name: &str| ModelOffer {
            id: ModelId([7; 32]),
            name: name.to_owned(),
            context_tokens: 1,
        };
        let mut wants = Wants::default();
        for number in 0..=MAX_WANTS {
            wants.add(&format!("m{number}"), Millis(0));
        }
        assert!(!wants.accept(&offer("m0")), "the oldest made room");
        assert!(wants.accept(&offer("m1")));
        wants.add(&ModelId([7; 32]).to_string(), Millis(1));
        assert!(wants.accept(&offer("any")), "by id");
        wants.expire(WANT_TIME);
        assert_eq!(wants.models.len(), 1, "the last one");
    }
}
