//! Which strangers are dialled and which neighbours go, as [`crate::mesh`] finds them worth it.

use super::Roster;
use crate::env::Env;
use crate::io::Output;
use crate::limits::{
    ENOUGH_PEERS, FAR_LINKS, FULL_PEERS, MAX_CONNECTED_PEERS, MAX_DIALS, PARTED_PAUSE, PRUNE_GRACE,
    PRUNE_SOON, TARGET_PEERS,
};
use crate::mesh::{self, MARGIN, Prospect, Spread};
use crate::peer::{Link, Peer, Purpose};
use thrum_protocol::hint::{Hint, HintedPeer};
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::{MAX_HINTED_ADDRESSES, MAX_HINTED_PEERS};
use thrum_protocol::time::Millis;

impl Roster {
    /// Those of the connected that stay.
    pub(super) fn neighbours(&self, now: Millis) -> Vec<Prospect> {
        self.living()
            .filter(|(_, peer)| peer.stays())
            .map(|(id, peer)| peer.prospect(id, &self.wants, now))
            .collect()
    }

    pub(super) fn strangers(&self, now: Millis) -> Vec<Prospect> {
        self.others
            .iter()
            .filter(|(_, known)| known.may_dial(now))
            .map(|(&id, known)| known.prospect(id, &self.wants, now))
            .collect()
    }

    pub(super) fn dial_more(&mut self, env: &mut Env) {
        let mut dialling = self.dialling_count();
        let mut wanted = self
            .target()
            .saturating_sub(self.staying_count() + dialling);
        if wanted == 0 || dialling >= MAX_DIALS || env.now < self.dials_from() {
            return;
        }
        let mut strangers = self.strangers(env.now);
        let mut far = FAR_LINKS.saturating_sub(self.far_count());
        let spread = Spread::of(&self.neighbours(env.now));
        while wanted > 0 && dialling < MAX_DIALS {
            let drawn = if far > 0 {
                mesh::draw(&strangers, &mut env.rng).copied()
            } else {
                spread
                    .choose(&strangers, &mut env.rng)
                    .map(|(chosen, _)| chosen)
            };
            let Some(chosen) = drawn else {
                return;
            };
            let purpose = if far > 0 { Purpose::Far } else { Purpose::Near };
            strangers.retain(|it| it.peer != chosen.peer);
            self.dial(env, chosen.peer, purpose);
            far = far.saturating_sub(1);
            wanted -= 1;
            dialling += 1;
        }
    }

    /// Links to dial for; where relays carry all of them, no more than it takes.
    pub(super) fn target(&self) -> usize {
        if self.blocked() {
            ENOUGH_PEERS
        } else {
            TARGET_PEERS
        }
    }

    /// When more may be dialled after failures: sooner while we have few links.
    pub(super) fn dials_from(&self) -> Millis {
        self.pace.until(self.staying_count() < ENOUGH_PEERS)
    }

    /// Links drawn by lot, and dials for them.
    pub(super) fn far_count(&self) -> usize {
        let far = |peer: &Peer| {
            let linked = peer.link.as_ref();
            linked.is_some_and(|link| link.purpose == Some(Purpose::Far) && !link.leaving)
                || peer.dialled_for(Purpose::Far)
        };
        self.living().filter(|(_, peer)| far(peer)).count()
    }

    /// Somebody who promises more than the worst neighbour is invited to take its place.
    pub(super) fn challenge(&mut self, env: &mut Env, busy: impl Fn(NodeId) -> bool) {
        let waits = env.now < self.dials_from();
        if waits || self.staying_count() < TARGET_PEERS || self.dialling_count() > 0 {
            return;
        }
        let neighbours = self.neighbours(env.now);
        let spread = Spread::of(&neighbours);
        let worst = self.worst(env.now, &neighbours, &spread, busy);
        let best = spread.choose(&self.strangers(env.now), &mut env.rng);
        if let (Some((_, worth)), Some((stranger, promise))) = (worst, best)
            && promise > worth + MARGIN
        {
            self.dial(env, stranger.peer, Purpose::Challenge);
        }
    }

    /// One of the links drawn by lot is drawn anew; the oldest is worth what it is worth from now.
    pub(super) fn look_far(&mut self, env: &mut Env) {
        let strangers = self.strangers(env.now);
        let Some(drawn) = mesh::draw(&strangers, &mut env.rng).map(|it| it.peer) else {
            return;
        };
        if self.staying_count() >= TARGET_PEERS && self.far_count() >= FAR_LINKS {
            let far = |link: &&mut Link| link.purpose == Some(Purpose::Far);
            let links = self.live.values_mut().filter_map(|it| it.link.as_mut());
            if let Some(oldest) = links.filter(far).min_by_key(|link| link.since) {
                oldest.purpose = Some(Purpose::Near);
            }
        }
        self.dial(env, drawn, Purpose::Far);
    }

    /// While there are too many links, the worst goes.
    pub(super) fn trim(
        &mut self,
        env: &mut Env,
        busy: impl Fn(NodeId) -> bool,
    ) -> Option<(NodeId, Hint)> {
        let now = env.now;
        if self.rounds.trim_at.is_none_or(|at| now < at) {
            return None;
        }
        self.rounds.trim_at = None;
        let staying = self.staying_count();
        let challenged = std::mem::take(&mut self.rounds.challenged);
        let most = if challenged { TARGET_PEERS } else { FULL_PEERS };
        if staying <= most {
            return None;
        }
        if staying > FULL_PEERS {
            self.rounds.trim_within(now, prune_after(staying));
        }
        let neighbours = self.neighbours(now);
        let spread = Spread::of(&neighbours);
        let (worst, _) = self.worst(now, &neighbours, &spread, busy)?;
        let hint = self.hint_for(env, worst.peer);
        let known = self.peer_mut(worst.peer)?;
        known.let_alone(now + PARTED_PAUSE);
        known.link.as_mut()?.leaving = true;
        Some((worst.peer, hint))
    }

    /// Whether the worst neighbour goes at once because somebody waits for this peer.
    pub(super) fn yield_to(
        &mut self,
        env: &mut Env,
        peer: NodeId,
        busy: impl Fn(NodeId) -> bool,
    ) -> bool {
        if !self
            .peer(peer)
            .is_some_and(|it| it.dialled_for(Purpose::Asked))
        {
            return false;
        }
        let neighbours = self.neighbours(env.now);
        let spread = Spread::of(&neighbours);
        let worst = self.worst(env.now, &neighbours, &spread, busy);
        let Some((worst, _)) = worst else {
            return false;
        };
        if let Some(known) = self.live.get_mut(&worst.peer) {
            known.let_alone(env.now + PARTED_PAUSE);
        }
        env.push(Output::Disconnect { peer: worst.peer });
        true
    }

    /// The neighbour that is worth least, among those that may go.
    pub(super) fn worst(
        &self,
        now: Millis,
        neighbours: &[Prospect],
        spread: &Spread,
        busy: impl Fn(NodeId) -> bool,
    ) -> Option<(Prospect, i64)> {
        let may_go = |it: &&Prospect| {
            let link = self.peer(it.peer).and_then(|peer| peer.link.as_ref());
            link.is_some_and(|link| {
                link.purpose != Some(Purpose::Far) && now.since(link.since) >= PRUNE_GRACE
            }) && !busy(it.peer)
        };
        neighbours
            .iter()
            .filter(may_go)
            .map(|it| (*it, spread.worth(it)))
            .min_by_key(|(it, points)| (*points, it.peer))
    }

    /// Others that a peer may turn to: our neighbours, who are alive, and then those we know.
    pub(super) fn hint_for(&self, env: &mut Env, peer: NodeId) -> Hint {
        let named = |(id, known): &(NodeId, &Peer)| {
            *id != peer && known.has_address() && !known.standing.shunned(env.now)
        };
        let (mut first, mut then): (Vec<_>, Vec<_>) = self
            .all()
            .filter(named)
            .filter(|(_, known)| !known.fails())
            .partition(|(_, known)| known.stays());
        let mut peers = Vec::new();
        while peers.len() < MAX_HINTED_PEERS {
            let from = if first.is_empty() {
                &mut then
            } else {
                &mut first
            };
            let Some((id, known)) = mesh::draw(from, &mut env.rng).copied() else {
                break;
            };
            from.retain(|(other, _)| *other != id);
            let addresses = known.addresses().iter().take(MAX_HINTED_ADDRESSES);
            peers.push(HintedPeer {
                peer_id: id,
                addresses: addresses.cloned().collect(),
            });
        }
        Hint { peers }
    }
}

/// How long there may be too many links: where there is no room for a guest at all, not for long.
pub(super) fn prune_after(staying: usize) -> Millis {
    if staying >= MAX_CONNECTED_PEERS {
        PRUNE_SOON
    } else {
        PRUNE_GRACE
    }
}
