//! The first byte is the role; then come events, each a byte that says which and what it needs.
//!
//! Whatever comes, a handshake says its last word once and asks for no more than its bounds allow.

use std::time::Duration;

use prost::Message as _;
use thrum_rtc::limits::MAX_CANDIDATES;
use thrum_rtc::signal::{Action, Event, Handshake, Message, Role, Wire};

/// Goes through `data`; true when the connection stood.
pub fn run(mut data: &[u8]) -> bool {
    let role = match byte(&mut data) % 2 {
        0 => Role::Offerer,
        _ => Role::Answerer,
    };
    let mut now = Duration::from_secs(1_000);
    let mut handshake = Handshake::new(role, now);
    let mut seen = Seen::default();
    seen.drain(&mut handshake);
    while !data.is_empty() {
        let event = match byte(&mut data) % 8 {
            0 => Event::Described("v=0".to_owned()),
            1 => Event::RemoteSet,
            2 => Event::Candidate("{}".to_owned()),
            3 => Event::StreamEnded,
            4 => Event::Connected,
            5 => Event::Failed("it said so".to_owned()),
            6 => {
                now += Duration::from_secs(u64::from(byte(&mut data)));
                handshake.handle_timeout(now);
                seen.drain(&mut handshake);
                continue;
            }
            _ => {
                let length = usize::from(byte(&mut data)).min(data.len());
                let (message, rest) = data.split_at(length);
                data = rest;
                let wire = Wire::decode(message).ok();
                match wire.and_then(|wire| Message::try_from(wire).ok()) {
                    Some(message) => again(message),
                    None => Event::StreamEnded,
                }
            }
        };
        handshake.handle(now, event);
        seen.drain(&mut handshake);
    }
    seen.done
}

/// What is read is what would be written.
fn again(message: Message) -> Event {
    let bytes = Wire::from(message.clone()).encode_to_vec();
    let wire = Wire::decode(&*bytes).expect("it was just encoded");
    assert_eq!(Message::try_from(wire).as_ref(), Ok(&message));
    Event::Message(message)
}

#[derive(Default)]
struct Seen {
    done: bool,
    over: bool,
    n_added: usize,
    n_sent: usize,
}

impl Seen {
    fn drain(&mut self, handshake: &mut Handshake) {
        while let Some(action) = handshake.poll() {
            assert!(!self.over, "{action:?} after the last word");
            match action {
                Action::Done => {
                    assert!(!self.done, "it stands once");
                    self.done = true;
                }
                Action::Close => self.over = true,
                Action::Fail(_) => {
                    assert!(!self.done, "what stands does not fail here");
                    self.over = true;
                }
                Action::AddCandidate(_) => self.n_added += 1,
                Action::Send(Message::Candidate(_)) => self.n_sent += 1,
                Action::Offer
                | Action::Answer
                | Action::SetLocal(_)
                | Action::SetRemote(_)
                | Action::Send(_)
                | Action::Finish => {}
            }
        }
        assert!(self.n_added <= MAX_CANDIDATES && self.n_sent <= MAX_CANDIDATES);
        assert_eq!(handshake.next_timeout().is_none(), self.over);
    }
}

fn byte(data: &mut &[u8]) -> u8 {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    *data = rest;
    *first
}
