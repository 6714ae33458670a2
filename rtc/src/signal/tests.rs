//! Handshakes between two machines, and with peers that do not keep to the rules.

#![cfg(not(target_arch = "wasm32"))]

use std::time::Duration;

use proptest::prelude::*;
use prost::Message as _;

use super::{Action, Event, Handshake, Message, MessageError, Role, Wire};
use crate::error::Stage;
use crate::limits::{
    CONNECT_TIMEOUT, DESCRIPTION_TIMEOUT, MAX_CANDIDATE, MAX_CANDIDATES, PART_TIMEOUT,
};

const NOW: Duration = Duration::from_secs(50);

fn drain(handshake: &mut Handshake) -> Vec<Action> {
    std::iter::from_fn(|| handshake.poll()).collect()
}

fn begun(role: Role) -> Handshake {
    Handshake::new(role, NOW)
}

/// An offerer whose offer is out.
fn offered() -> Handshake {
    let mut offerer = begun(Role::Offerer);
    assert_eq!(drain(&mut offerer), [Action::Offer]);
    offerer.handle(NOW, Event::Described("offer".into()));
    let expected = [
        Action::Send(Message::Offer("offer".into())),
        Action::SetLocal("offer".into()),
    ];
    assert_eq!(drain(&mut offerer), expected);
    offerer
}

fn stage_of_failure(handshake: &mut Handshake) -> Stage {
    match &drain(handshake)[..] {
        [Action::Fail(error)] => error.stage,
        actions => panic!("{actions:?}"),
    }
}

#[test]
fn the_type_of_an_offer_is_written_though_it_is_zero() {
    let bytes = Wire::from(Message::Offer("v".into())).encode_to_vec();
    assert_eq!(bytes, [0x08, 0, 0x12, 1, b'v']);
}

#[test]
fn messages_that_cannot_be_meant_are_refused() {
    let wire = |kind, data: Option<&str>| {
        let data = data.map(str::to_owned);
        Message::try_from(Wire { kind, data })
    };
    assert_eq!(wire(None, Some("v")), Err(MessageError::Kind(None)));
    assert_eq!(wire(Some(3), Some("v")), Err(MessageError::Kind(Some(3))));
    assert_eq!(wire(Some(0), None), Err(MessageError::Empty));
    let long = "x".repeat(MAX_CANDIDATE + 1);
    let refused = Err(MessageError::Long(MAX_CANDIDATE + 1));
    assert_eq!(wire(Some(2), Some(&long)), refused);
    for end in [None, Some(""), Some("null"), Some("\"\"")] {
        assert_eq!(wire(Some(2), end), Ok(Message::EndOfCandidates));
    }
}

#[test]
fn candidates_of_the_peer_wait_for_its_description() {
    let mut offerer = offered();
    offerer.handle(NOW, Event::Message(Message::Candidate("{1}".into())));
    assert!(drain(&mut offerer).is_empty());
    offerer.handle(NOW, Event::Message(Message::Answer("answer".into())));
    offerer.handle(NOW, Event::Message(Message::Candidate("{2}".into())));
    assert_eq!(drain(&mut offerer), [Action::SetRemote("answer".into())]);
    offerer.handle(NOW, Event::RemoteSet);
    offerer.handle(NOW, Event::Message(Message::Candidate("{3}".into())));
    let expected = ["{1}", "{2}", "{3}"].map(|it| Action::AddCandidate(it.into()));
    assert_eq!(drain(&mut offerer), expected);
}

#[test]
fn candidates_of_ours_go_after_our_description() {
    let mut answerer = begun(Role::Answerer);
    answerer.handle(NOW, Event::Message(Message::Offer("offer".into())));
    answerer.handle(NOW, Event::RemoteSet);
    answerer.handle(NOW, Event::Candidate("{1}".into()));
    let expected = [Action::SetRemote("offer".into()), Action::Answer];
    assert_eq!(drain(&mut answerer), expected);
    answerer.handle(NOW, Event::Described("answer".into()));
    answerer.handle(NOW, Event::Candidate("{2}".into()));
    let expected = [
        Action::Send(Message::Answer("answer".into())),
        Action::SetLocal("answer".into()),
        Action::Send(Message::Candidate("{1}".into())),
        Action::Send(Message::Candidate("{2}".into())),
    ];
    assert_eq!(drain(&mut answerer), expected);
}

#[test]
fn a_peer_that_floods_candidates_is_heard_up_to_the_bound() {
    let mut offerer = offered();
    for _ in 0..10 * MAX_CANDIDATES {
        offerer.handle(NOW, Event::Message(Message::Candidate("{}".into())));
    }
    offerer.handle(NOW, Event::Message(Message::Answer("answer".into())));
    offerer.handle(NOW, Event::RemoteSet);
    assert_eq!(drain(&mut offerer).len(), 1 + MAX_CANDIDATES);
}

#[test]
fn what_comes_out_of_turn_fails_at_its_stage() {
    let mut offerer = offered();
    offerer.handle(NOW, Event::Message(Message::Offer("offer".into())));
    assert_eq!(stage_of_failure(&mut offerer), Stage::Answer);

    let mut answerer = begun(Role::Answerer);
    answerer.handle(NOW, Event::Message(Message::Answer("answer".into())));
    assert_eq!(stage_of_failure(&mut answerer), Stage::Offer);

    let mut silent = begun(Role::Answerer);
    silent.handle(NOW, Event::StreamEnded);
    assert_eq!(stage_of_failure(&mut silent), Stage::Offer);
}

#[test]
fn every_stage_ends_by_itself() {
    let mut offerer = offered();
    offerer.handle_timeout(NOW + DESCRIPTION_TIMEOUT - Duration::from_millis(1));
    assert!(drain(&mut offerer).is_empty());
    offerer.handle_timeout(NOW + DESCRIPTION_TIMEOUT);
    assert_eq!(stage_of_failure(&mut offerer), Stage::Answer);
    assert_eq!(offerer.next_timeout(), None);

    let mut offerer = offered();
    offerer.handle(NOW, Event::Message(Message::Answer("answer".into())));
    offerer.handle(NOW, Event::RemoteSet);
    drain(&mut offerer);
    offerer.handle_timeout(NOW + CONNECT_TIMEOUT);
    assert_eq!(stage_of_failure(&mut offerer), Stage::Connect);
}

#[test]
fn a_stream_that_breaks_after_the_descriptions_does_no_harm() {
    let mut offerer = offered();
    offerer.handle(NOW, Event::Message(Message::Answer("answer".into())));
    offerer.handle(NOW, Event::StreamEnded);
    offerer.handle(NOW, Event::RemoteSet);
    offerer.handle(NOW, Event::Connected);
    let actions = drain(&mut offerer);
    let expected = [
        Action::SetRemote("answer".into()),
        Action::Done,
        Action::Finish,
        Action::Close,
    ];
    assert_eq!(actions, expected);
}

#[test]
fn the_stream_stays_until_the_peer_is_as_far() {
    let mut offerer = offered();
    offerer.handle(NOW, Event::Message(Message::Answer("answer".into())));
    offerer.handle(NOW, Event::RemoteSet);
    offerer.handle(NOW, Event::Connected);
    let actions = drain(&mut offerer);
    assert_eq!(actions[1..], [Action::Done, Action::Finish]);
    offerer.handle(NOW, Event::Failed("later".into()));
    assert!(drain(&mut offerer).is_empty());
    assert_eq!(offerer.next_timeout(), Some(NOW + PART_TIMEOUT));
    offerer.handle(NOW, Event::StreamEnded);
    assert_eq!(drain(&mut offerer), [Action::Close]);
}

/// A browser and a stream, as one side sees them.
struct Side {
    handshake: Handshake,
    /// what the browser and the stream have yet to tell, in the order of each
    browser: Vec<Event>,
    stream: Vec<Event>,
    local: Option<String>,
    remote: Option<String>,
    candidates: Vec<String>,
    done: usize,
    closed: usize,
    failed: Vec<String>,
}

impl Side {
    fn new(role: Role) -> Self {
        Self {
            handshake: begun(role),
            browser: Vec::new(),
            stream: Vec::new(),
            local: None,
            remote: None,
            candidates: Vec::new(),
            done: 0,
            closed: 0,
            failed: Vec::new(),
        }
    }

    /// Does what is asked; what it sends comes back.
    fn act(&mut self, name: &str) -> Vec<Event> {
        let mut sent = Vec::new();
        while let Some(action) = self.handshake.poll() {
            match action {
                Action::Offer | Action::Answer => {
                    self.browser
                        .push(Event::Described(format!("sdp of {name}")));
                }
                Action::SetLocal(sdp) => {
                    self.local = Some(sdp);
                    for n in 0..3 {
                        let candidate = format!("{{{name} {n}}}");
                        self.browser.push(Event::Candidate(candidate));
                    }
                }
                Action::SetRemote(sdp) => {
                    self.remote = Some(sdp);
                    self.browser.push(Event::RemoteSet);
                }
                Action::AddCandidate(candidate) => {
                    assert!(self.remote.is_some(), "a browser refuses it");
                    self.candidates.push(candidate);
                }
                Action::Send(message) => sent.push(Event::Message(message)),
                Action::Finish => sent.push(Event::StreamEnded),
                Action::Done => self.done += 1,
                Action::Close => self.closed += 1,
                Action::Fail(error) => self.failed.push(error.to_string()),
            }
        }
        sent
    }
}

proptest! {
    #[test]
    fn both_sides_connect_whatever_comes_first(order in proptest::collection::vec(0_usize..4, 200)) {
        let mut sides = [Side::new(Role::Offerer), Side::new(Role::Answerer)];
        let names = ["offerer", "answerer"];
        let mut told = [false; 2];
        for pick in order.into_iter().chain((0..400).map(|n| n % 4)) {
            let at = pick % 2;
            let sent = sides[at].act(names[at]);
            sides[1 - at].stream.extend(sent);
            let side = &mut sides[at];
            let queue = if pick < 2 { &mut side.browser } else { &mut side.stream };
            if !queue.is_empty() {
                let event = queue.remove(0);
                side.handshake.handle(NOW, event);
            }
            // A browser connects when both have both descriptions and a candidate came across.
            let ready = sides.iter().all(|it| it.local.is_some() && it.remote.is_some())
                && sides.iter().any(|it| !it.candidates.is_empty());
            if ready && !told[at] {
                told[at] = true;
                sides[at].browser.push(Event::Connected);
            }
        }
        for side in &sides {
            prop_assert_eq!(&side.failed, &Vec::<String>::new());
            prop_assert_eq!((side.done, side.closed), (1, 1));
        }
        prop_assert_eq!(&sides[0].remote, &sides[1].local);
        prop_assert_eq!(&sides[1].remote, &sides[0].local);
    }

    #[test]
    fn whatever_happens_it_ends_once(
        offerer in any::<bool>(),
        events in proptest::collection::vec(0_usize..9, 0..60),
    ) {
        let mut handshake = begun(if offerer { Role::Offerer } else { Role::Answerer });
        let mut ends = 0;
        let mut now = NOW;
        for event in events {
            let event = match event {
                0 => Event::Described("sdp".into()),
                1 => Event::RemoteSet,
                2 => Event::Candidate("{}".into()),
                3 => Event::Message(Message::Offer("offer".into())),
                4 => Event::Message(Message::Answer("answer".into())),
                5 => Event::Message(Message::Candidate("{}".into())),
                6 => Event::StreamEnded,
                7 => Event::Connected,
                _ => Event::Failed("no".into()),
            };
            now += Duration::from_millis(10);
            handshake.handle(now, event);
            ends += drain(&mut handshake)
                .iter()
                .filter(|it| matches!(it, Action::Close | Action::Fail(_)))
                .count();
        }
        while let Some(deadline) = handshake.next_timeout() {
            handshake.handle_timeout(deadline);
            ends += drain(&mut handshake)
                .iter()
                .filter(|it| matches!(it, Action::Close | Action::Fail(_)))
                .count();
        }
        prop_assert_eq!(ends, 1);
    }
}
