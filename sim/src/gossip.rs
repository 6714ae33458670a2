//! What goes to everybody, as gossipsub carries it: each peer passes on what its machine accepts to
//! its part of the mesh, and tells a few others what there is. Only direct connections carry gossip.
//!
//! Nothing is lost between living peers here, so what those others miss need not be fetched; that
//! they are told is counted.

use crate::peer::PeerIndex;
use crate::traffic::Kind;
use crate::world::{Happening, World};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use thrum_hive::io::{GossipId, Input, Topic, Verdict};
use thrum_protocol::time::Millis;

/// count; neighbours that each message is passed on to (`node-wasm/src/net/gossip.rs`).
const MESH: usize = 6;
/// count; with fewer, others are asked in.
const MESH_LOW: usize = 4;
/// count; nobody lets in more.
const MESH_HIGH: usize = 10;
/// count; neighbours outside the mesh that are told at each heartbeat what there is.
const LAZY: u64 = 3;
/// ms; from one heartbeat to the next.
const HEARTBEAT: u64 = 4_000;
/// count; heartbeats at which a message is spoken of.
const HISTORY: u64 = 2;
/// ms; what is older has arrived wherever it can.
const REMEMBERED: Millis = Millis(5 * 60_000);

/// Everybody's part of the mesh, and the messages on their way.
#[derive(Debug, Default)]
pub struct Gossip {
    mesh: BTreeMap<PeerIndex, BTreeSet<PeerIndex>>,
    /// until when a peer has something to speak of
    talks_until: BTreeMap<PeerIndex, Millis>,
    messages: BTreeMap<u64, Message>,
    /// what waits for a verdict: it follows at once
    unjudged: BTreeMap<GossipId, Unjudged>,
    next: u64,
}

#[derive(Debug)]
struct Message {
    topic: Topic,
    bytes: Rc<[u8]>,
    since: Millis,
    /// by peer
    seen: Vec<bool>,
}

#[derive(Debug)]
struct Unjudged {
    message: u64,
    from: PeerIndex,
}

impl Message {
    /// Whether the peer sees it for the first time.
    fn reaches(&mut self, peer: PeerIndex) -> bool {
        if self.seen.len() <= peer.0 {
            self.seen.resize(peer.0 + 1, false);
        }
        !std::mem::replace(&mut self.seen[peer.0], true)
    }
}

impl Gossip {
    fn degree(&self, peer: PeerIndex) -> usize {
        self.mesh.get(&peer).map_or(0, BTreeSet::len)
    }

    fn graft(&mut self, a: PeerIndex, b: PeerIndex) {
        self.mesh.entry(a).or_default().insert(b);
        self.mesh.entry(b).or_default().insert(a);
    }

    fn prune(&mut self, a: PeerIndex, b: PeerIndex) {
        for (here, there) in [(a, b), (b, a)] {
            if let Some(mesh) = self.mesh.get_mut(&here) {
                mesh.remove(&there);
            }
        }
    }
}

impl World {
    /// Two peers are connected directly.
    pub(crate) fn gossip_linked(&mut self, a: PeerIndex, b: PeerIndex) {
        let (here, there) = (self.gossip.degree(a), self.gossip.degree(b));
        if here.min(there) < MESH && here.max(there) < MESH_HIGH {
            self.gossip.graft(a, b);
        }
    }

    /// They are not any more.
    pub(crate) fn gossip_unlinked(&mut self, a: PeerIndex, b: PeerIndex) {
        self.gossip.prune(a, b);
        for peer in [a, b] {
            if self.gossip.degree(peer) >= MESH_LOW || !self.peers[peer.0].alive {
                continue;
            }
            let neighbours: Vec<PeerIndex> = self.direct(peer).collect();
            for other in neighbours {
                if self.gossip.degree(peer) < MESH && self.gossip.degree(other) < MESH_HIGH {
                    self.gossip.graft(peer, other);
                }
            }
        }
    }

    fn direct(&self, peer: PeerIndex) -> impl Iterator<Item = PeerIndex> {
        let neighbours = self.network.neighbours(peer).iter().copied();
        neighbours.filter(move |&other| self.network.linked_directly(peer, other))
    }

    pub(crate) fn publish(&mut self, index: PeerIndex, topic: Topic, bytes: Vec<u8>) {
        if self.gossip.degree(index) == 0 {
            let input = Input::NotPublished(topic);
            self.at(self.now, Happening::Tell(index, input));
            return;
        }
        let now = self.now;
        let fresh = |message: &Message| now.since(message.since) < REMEMBERED;
        self.gossip.messages.retain(|_, message| fresh(message));
        let number = self.gossip.next;
        self.gossip.next += 1;
        let mut message = Message {
            topic,
            bytes: bytes.into(),
            since: now,
            seen: vec![false; self.peers.len()],
        };
        message.reaches(index);
        self.gossip.messages.insert(number, message);
        self.pass_on(index, number, None);
    }

    fn pass_on(&mut self, index: PeerIndex, message: u64, except: Option<PeerIndex>) {
        let mesh = self.gossip.mesh.get(&index).cloned().unwrap_or_default();
        for &to in mesh.iter().filter(|to| Some(**to) != except) {
            self.traffic.add(index, Kind::Gossip, 1);
            let at = self.now + self.network.delay_between(index, to, &mut self.rng);
            let from = index;
            self.at(at, Happening::Gossip { from, to, message });
        }
        let others = self.direct(index).filter(|it| !mesh.contains(it)).count() as u64;
        let ends = self.now + Millis(HEARTBEAT * HISTORY);
        let talks = self.gossip.talks_until.entry(index).or_default();
        let more = ends.since((*talks).max(self.now)).0.div_ceil(HEARTBEAT);
        *talks = (*talks).max(self.now) + Millis(more * HEARTBEAT);
        self.traffic
            .add(index, Kind::GossipControl, more * others.min(LAZY));
    }

    pub(crate) fn gossip_arrives(&mut self, from: PeerIndex, to: PeerIndex, number: u64) {
        if !self.peers[to.0].alive || !self.network.linked_directly(from, to) {
            return;
        }
        let Some(message) = self.gossip.messages.get_mut(&number) else {
            return;
        };
        if !message.reaches(to) {
            return;
        }
        let (topic, bytes) = (message.topic, message.bytes.to_vec());
        let id = GossipId(self.gossip.next);
        self.gossip.next += 1;
        let message = number;
        self.gossip.unjudged.insert(id, Unjudged { message, from });
        let neighbour = self.peers[from.0].id;
        let input = Input::Gossip {
            from: neighbour,
            topic,
            bytes,
            id,
        };
        self.tell(to, input);
    }

    /// What is accepted is passed on; who brings what is rejected is in nobody's mesh any more.
    pub(crate) fn judged(&mut self, index: PeerIndex, id: GossipId, verdict: Verdict) {
        let Some(Unjudged { message, from }) = self.gossip.unjudged.remove(&id) else {
            return;
        };
        match verdict {
            Verdict::Accept => self.pass_on(index, message, Some(from)),
            Verdict::Ignore => {}
            Verdict::Reject => self.gossip.prune(index, from),
        }
    }
}
