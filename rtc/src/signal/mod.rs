//! How two browsers that can reach each other through somebody agree on a direct connection.
//!
//! Protocol `/webrtc-signaling/0.0.1` of the libp2p specification: who opened the stream makes an
//! offer, the other answers, both send the candidates that their browsers find, until the
//! connection stands.
//!
//! [`Handshake`] decides; it knows neither the stream nor the browser. What they say is told to it
//! as an [`Event`]; [`Handshake::poll`] says what to do next.

mod message;
#[cfg(test)]
mod tests;

pub use message::{Message, MessageError, Wire};

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::{ConnectError, Stage};
use crate::limits::{CONNECT_TIMEOUT, DESCRIPTION_TIMEOUT, MAX_CANDIDATES, PART_TIMEOUT};

/// The protocol of signalling streams.
pub const PROTOCOL: &str = "/webrtc-signaling/0.0.1";

/// The label of the channel that an offerer makes so that there is something to offer.
pub const INIT_LABEL: &str = "init";

/// Which side of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opened the stream.
    Offerer,
    /// Accepted it.
    Answerer,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The browser has made the description that was asked for.
    Described(String),
    /// The peer's description is set.
    RemoteSet,
    /// The browser has found a candidate, as JSON of `RTCIceCandidate.toJSON()`.
    Candidate(String),
    /// The peer has sent a message.
    Message(Message),
    /// The peer sends no more, or the stream broke.
    StreamEnded,
    /// Data can go from browser to browser.
    Connected,
    /// The browser has given up, or refused what it was asked to do.
    Failed(String),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make an offer; [`Event::Described`] brings it.
    Offer,
    /// Make an answer; [`Event::Described`] brings it.
    Answer,
    /// Use the description that was made.
    SetLocal(String),
    /// Use the peer's description; [`Event::RemoteSet`] follows.
    SetRemote(String),
    /// Use a candidate of the peer, as JSON. One that is bad does no harm.
    AddCandidate(String),
    /// Send a message.
    Send(Message),
    /// The connection stands: hand it over.
    Done,
    /// Say on the stream that no more is sent.
    Finish,
    /// The stream is of no more use.
    Close,
    /// The connection is not made: close it and reset the stream.
    Fail(ConnectError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// the browser makes our offer
    Offering,
    /// the peer makes its offer
    AwaitingOffer,
    /// the peer makes its answer
    AwaitingAnswer,
    /// the browser takes the peer's description
    Setting,
    /// the browser makes our answer
    Answering,
    /// ICE, DTLS and SCTP are at work
    Connecting,
    /// it stands, and the stream is being ended
    Parting,
    Over,
}

/// One side's part in making a connection.
#[derive(Debug)]
pub struct Handshake {
    role: Role,
    phase: Phase,
    deadline: Option<Duration>,
    actions: VecDeque<Action>,
    /// candidates of ours that wait until our description is sent; then none wait
    found: Option<Vec<String>>,
    n_found: usize,
    /// candidates of the peer that wait until its description is set; then none wait
    heard: Option<Vec<String>>,
    n_heard: usize,
    connected: bool,
    stream_ended: bool,
}

impl Handshake {
    /// Begins.
    pub fn new(role: Role, now: Duration) -> Self {
        let (phase, actions) = match role {
            Role::Offerer => (Phase::Offering, VecDeque::from([Action::Offer])),
            Role::Answerer => (Phase::AwaitingOffer, VecDeque::new()),
        };
        Self {
            role,
            phase,
            deadline: Some(now + DESCRIPTION_TIMEOUT),
            actions,
            found: Some(Vec::new()),
            n_found: 0,
            heard: Some(Vec::new()),
            n_heard: 0,
            connected: false,
            stream_ended: false,
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.deadline
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Parting => self.part(),
            Phase::Over => {}
            Phase::Offering
            | Phase::AwaitingOffer
            | Phase::AwaitingAnswer
            | Phase::Setting
            | Phase::Answering
            | Phase::Connecting => self.fail("it took too long"),
        }
    }

    /// Something has happened.
    pub fn handle(&mut self, now: Duration, event: Event) {
        if self.phase == Phase::Over {
            return;
        }
        match event {
            Event::Described(sdp) => self.described(now, sdp),
            Event::RemoteSet => self.remote_set(now),
            Event::Candidate(candidate) => self.found(candidate),
            Event::Message(message) => self.message(now, message),
            Event::StreamEnded => self.stream_ended(),
            Event::Connected => self.connected(now),
            // What becomes of the connection after it stood is its owner's concern.
            Event::Failed(_) if self.phase == Phase::Parting => {}
            Event::Failed(reason) => self.fail(&reason),
        }
    }

    fn described(&mut self, now: Duration, sdp: String) {
        let (message, next, wait) = match self.phase {
            Phase::Offering => {
                let message = Message::Offer(sdp.clone());
                (message, Phase::AwaitingAnswer, DESCRIPTION_TIMEOUT)
            }
            Phase::Answering => {
                let message = Message::Answer(sdp.clone());
                (message, Phase::Connecting, CONNECT_TIMEOUT)
            }
            Phase::AwaitingOffer
            | Phase::AwaitingAnswer
            | Phase::Setting
            | Phase::Connecting
            | Phase::Parting
            | Phase::Over => return,
        };
        // Candidates come only once the description is set, and go after it.
        self.actions.push_back(Action::Send(message));
        self.actions.push_back(Action::SetLocal(sdp));
        let found = self.found.take().unwrap_or_default();
        let found = found.into_iter().map(Message::Candidate).map(Action::Send);
        self.actions.extend(found);
        self.enter(next, now + wait);
        self.hand_over_if_connected(now);
    }

    fn remote_set(&mut self, now: Duration) {
        if self.phase != Phase::Setting {
            return;
        }
        let heard = self.heard.take().unwrap_or_default();
        self.actions
            .extend(heard.into_iter().map(Action::AddCandidate));
        match self.role {
            Role::Offerer => self.enter(Phase::Connecting, now + CONNECT_TIMEOUT),
            Role::Answerer => {
                self.actions.push_back(Action::Answer);
                self.enter(Phase::Answering, now + DESCRIPTION_TIMEOUT);
            }
        }
        self.hand_over_if_connected(now);
    }

    fn found(&mut self, candidate: String) {
        if self.connected || self.stream_ended || self.n_found == MAX_CANDIDATES {
            return;
        }
        self.n_found += 1;
        match &mut self.found {
            Some(waiting) => waiting.push(candidate),
            None => {
                let message = Message::Candidate(candidate);
                self.actions.push_back(Action::Send(message));
            }
        }
    }

    fn message(&mut self, now: Duration, message: Message) {
        match (self.phase, message) {
            (Phase::AwaitingOffer, Message::Offer(sdp))
            | (Phase::AwaitingAnswer, Message::Answer(sdp)) => {
                self.actions.push_back(Action::SetRemote(sdp));
                self.enter(Phase::Setting, now + DESCRIPTION_TIMEOUT);
            }
            (Phase::Parting | Phase::Over, _) | (_, Message::EndOfCandidates) => {}
            (_, Message::Candidate(candidate)) => self.heard(candidate),
            (_, Message::Offer(_)) => self.fail("the peer sent an offer out of turn"),
            (_, Message::Answer(_)) => self.fail("the peer sent an answer out of turn"),
        }
    }

    fn heard(&mut self, candidate: String) {
        if self.n_heard == MAX_CANDIDATES {
            return;
        }
        self.n_heard += 1;
        match &mut self.heard {
            Some(waiting) => waiting.push(candidate),
            None => self.actions.push_back(Action::AddCandidate(candidate)),
        }
    }

    fn stream_ended(&mut self) {
        self.stream_ended = true;
        match self.phase {
            Phase::AwaitingOffer | Phase::AwaitingAnswer => {
                self.fail("the peer ended the signalling");
            }
            Phase::Offering | Phase::Answering => self.fail("the signalling broke off"),
            // All that is needed may have been said.
            Phase::Setting if self.role == Role::Offerer => {}
            Phase::Setting => self.fail("the signalling broke off"),
            Phase::Connecting => {}
            Phase::Parting => self.part(),
            Phase::Over => {}
        }
    }

    fn connected(&mut self, now: Duration) {
        self.connected = true;
        self.hand_over_if_connected(now);
    }

    fn hand_over_if_connected(&mut self, now: Duration) {
        if !self.connected || self.phase != Phase::Connecting {
            return;
        }
        self.actions.push_back(Action::Done);
        self.actions.push_back(Action::Finish);
        self.enter(Phase::Parting, now + PART_TIMEOUT);
        if self.stream_ended {
            self.part();
        }
    }

    /// Both have said that they send no more, or one has waited long enough: a peer that is not as
    /// far as this side still needs the stream.
    fn part(&mut self) {
        self.actions.push_back(Action::Close);
        self.phase = Phase::Over;
        self.deadline = None;
    }

    fn enter(&mut self, phase: Phase, deadline: Duration) {
        self.phase = phase;
        self.deadline = Some(deadline);
    }

    fn fail(&mut self, reason: &str) {
        let stage = self.stage();
        self.actions.clear();
        let error = ConnectError::new(stage, reason);
        self.actions.push_back(Action::Fail(error));
        self.phase = Phase::Over;
        self.deadline = None;
    }

    fn stage(&self) -> Stage {
        match (self.phase, self.role) {
            (Phase::Offering | Phase::AwaitingOffer, _) => Stage::Offer,
            (Phase::Setting, Role::Answerer) => Stage::Offer,
            (Phase::Setting, Role::Offerer) => Stage::Answer,
            (Phase::AwaitingAnswer | Phase::Answering, _) => Stage::Answer,
            (Phase::Connecting | Phase::Parting | Phase::Over, _) => Stage::Connect,
        }
    }
}
