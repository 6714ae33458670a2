//! Carrying out what a machine wants, and bringing bytes to the other end.

use crate::peer::PeerIndex;
use crate::traffic::Kind;
use crate::world::{Happening, LOAD_TIME, World};
use std::fmt::Write as _;
use thrum_hive::io::{Input, Output, StreamId, StreamKind};
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::Event;

impl World {
    pub(crate) fn carry_out(&mut self, index: PeerIndex, output: Output) {
        let soon = self.now + self.network.delay(&mut self.rng);
        match output {
            Output::DialRelay(relay) => self.at(soon, Happening::RelayDialled(index, relay)),
            Output::HangUpRelay(relay) => {
                let place = self.peers[index.0].relays[relay.0];
                self.relays[place].drop_peer(index);
            }
            Output::Register(relay) => {
                let place = self.peers[index.0].relays[relay.0];
                let relay = &mut self.relays[place];
                if relay.alive && relay.connected.contains(&index) {
                    relay.registered.insert(index, self.now);
                    self.traffic.add(index, Kind::Relay, 2);
                }
            }
            Output::Offer { place, model } => self.write_down(index, place, model, true),
            Output::Withdraw { place, model } => self.write_down(index, place, model, false),
            Output::LookUp { place, model } => self.look_up(index, place, model, soon),
            // Nobody asks relays for addresses here: what a NAT lets through is the network's to say.
            Output::Gather => {}
            Output::Publish { topic, bytes } => self.publish(index, topic, bytes),
            Output::GossipVerdict { id, verdict } => self.judged(index, id, verdict),
            Output::Discover(relay) => self.discover(index, relay, soon),
            Output::Dial {
                peer,
                addresses: _,
                way,
            } => self.begin_dial(index, peer, way),
            Output::Disconnect { peer } => {
                if let Some(&other) = self.by_id.get(&peer)
                    && self.network.linked(index, other)
                {
                    self.unlink(index, other, false);
                }
            }
            Output::Open { stream, peer, kind } => self.open(index, stream, peer, kind),
            Output::Send { stream, frame } => self.send(index, stream, frame),
            Output::Close(stream) => {
                if let Some((pipe, side)) = self.network.side((index, stream)) {
                    self.network.close(pipe, side);
                    self.end_other(pipe, 1 - side, soon, "closed by the other side");
                }
            }
            Output::LoadModel => self.at(self.now + LOAD_TIME, Happening::EngineLoaded(index)),
            Output::Run { job, prompt, local } => {
                let engine = &mut self.peers[index.0].engine;
                engine.jobs.run(job, &prompt, local);
                self.schedule_step(index);
            }
            // The fake engine's speed is not the matter here.
            Output::Share { percent: _ } => {}
            Output::Cancel(job) => self.peers[index.0].engine.jobs.cancel(job),
            Output::Store { key, value } => {
                self.peers[index.0].store.insert(key, value);
            }
            Output::Load(key) => {
                let value = self.peers[index.0].store.get(&key).cloned();
                let input = Input::Loaded { key, value };
                self.at(self.now, Happening::Tell(index, input));
            }
            Output::Notify(event) => self.notify(index, event),
            Output::WakeAt(at) => {
                let peer = &mut self.peers[index.0];
                assert!(at > self.now, "asks to be woken in the past: a busy loop");
                peer.wake_at = Some(at);
                self.at(at, Happening::Wake(index));
            }
        }
    }

    fn notify(&mut self, index: PeerIndex, event: Event) {
        if self.keeps_log && event != Event::Changed {
            writeln!(self.log, "{} {} {event:?}", self.now.0, index.0)
                .expect("writing to a String cannot fail");
        }
        let now = self.now;
        let peer = &mut self.peers[index.0];
        match event {
            Event::Ask { ask, update } => {
                if let Some(asked) = peer.asks.get_mut(&ask) {
                    asked.updates.push((now, update));
                }
            }
            Event::Misbehaviour { peer_id, what } => peer.misbehaviours.push((peer_id, what)),
            Event::Changed | Event::Log(_) => {}
            other
            @ (Event::Contribution { .. } | Event::Genome { .. } | Event::Progress { .. }) => {
                peer.events.push(other);
            }
        }
    }

    fn open(&mut self, index: PeerIndex, stream: StreamId, peer: NodeId, kind: StreamKind) {
        let other = self.by_id.get(&peer).copied();
        let Some(other) = other.filter(|&other| self.network.linked(index, other)) else {
            let there = self.now + self.network.delay(&mut self.rng);
            let reason = "not connected".to_owned();
            let input = Input::StreamClosed { stream, reason };
            self.at(there, Happening::Tell(index, input));
            return;
        };
        let there = self.now + self.network.delay_between(index, other, &mut self.rng);
        let back = there + self.network.delay_between(index, other, &mut self.rng);
        let acceptor = &mut self.peers[other.0];
        let accepted = StreamId(acceptor.next_stream);
        acceptor.next_stream += 2;
        let from = self.peers[index.0].id;
        if kind == StreamKind::Task
            && let Some(liar) = &mut self.peers[other.0].liar
        {
            liar.accepted(accepted, from);
        }
        let pipe = self.network.open((index, stream), (other, accepted), kind);
        self.network.arrival(pipe, 1, there);
        self.network.arrival(pipe, 0, back);
        let input = Input::StreamAccepted {
            stream: accepted,
            peer: from,
            kind,
        };
        self.at(there, Happening::Tell(other, input));
        let own = self.peers[index.0].liar.as_mut();
        match own.and_then(|liar| liar.opened(stream)) {
            Some(outputs) => {
                for output in outputs {
                    self.carry_out(index, output);
                }
            }
            None => self.at(back, Happening::Tell(index, Input::StreamOpened(stream))),
        }
    }

    fn send(&mut self, index: PeerIndex, stream: StreamId, frame: Vec<u8>) {
        let Some((pipe, side)) = self.network.side((index, stream)) else {
            return;
        };
        let Some(sent) = self.network.pipe(pipe) else {
            return;
        };
        let (kind, other) = (Kind::of(sent.kind), sent.ends[1 - side].0);
        self.traffic.add(index, kind, 1);
        let at = self.now + self.network.delay_between(index, other, &mut self.rng);
        if self.network.breaks(&mut self.rng) {
            self.end_other(pipe, 0, at, "the connection broke");
            self.end_other(pipe, 1, at, "the connection broke");
            return;
        }
        if let Some((end, at)) = self.network.arrival(pipe, 1 - side, at) {
            self.at(at, Happening::Arrive(end, frame));
        }
    }

    /// The given side learns of the end after what is on its way to it.
    pub(crate) fn end_other(&mut self, pipe: u64, side: usize, at: Millis, reason: &'static str) {
        if let Some((_, at)) = self.network.arrival(pipe, side, at) {
            self.at(at, Happening::End { pipe, side, reason });
        }
    }

    pub(crate) fn end_side(&mut self, pipe: u64, side: usize, reason: &'static str) {
        let Some(((peer, stream), _)) = self.network.arrival(pipe, side, self.now) else {
            return;
        };
        if self.network.close(pipe, side) {
            let reason = reason.to_owned();
            self.tell(peer, Input::StreamClosed { stream, reason });
        }
    }
}
