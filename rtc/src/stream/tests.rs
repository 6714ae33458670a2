//! Streams by themselves and in pairs, over channels that are slow, cut and closed.

#![cfg(not(target_arch = "wasm32"))]

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::{Ready, Stream, StreamError};
use crate::frame::{Decoder, Flag, Frame};
use crate::limits::{
    CLOSE_GRACE, CLOSE_TIMEOUT, FIRST_WINDOW, MAX_BUFFERED, MAX_OPENING, MAX_PAYLOAD, MAX_UNREAD,
    MAX_UNSENT, OPEN_TIMEOUT, RECEIVE_WINDOW,
};

const START: Duration = Duration::from_secs(1_000);

fn open() -> Stream {
    let mut stream = Stream::new(START);
    stream.handle_open();
    stream
}

/// Everything that the stream has to say, to a channel that is empty.
fn said(stream: &mut Stream) -> Vec<Frame> {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    while let Some(message) = stream.transmit(START, 0, true) {
        decoder.push(&message, |frame| frames.push(frame)).unwrap();
    }
    frames
}

fn flags(frames: &[Frame]) -> Vec<Flag> {
    frames.iter().filter_map(|frame| frame.flag).collect()
}

fn hear(stream: &mut Stream, flag: Option<Flag>, payload: &[u8]) {
    let payload = payload.to_vec();
    let max_data = None;
    let frame = Frame {
        flag,
        payload,
        max_data,
    };
    stream.handle_message(&frame.encode());
}

/// Reads what is there: the bytes, and what the next read says.
fn read_all(stream: &mut Stream) -> (Vec<u8>, Result<Ready<usize>, StreamError>) {
    let mut found = Vec::new();
    let mut out = [0; 1000];
    loop {
        match stream.read(&mut out) {
            Ok(Ready::Now(n)) if n > 0 => found.extend_from_slice(&out[..n]),
            end => return (found, end),
        }
    }
}

#[test]
fn fin_is_answered_and_ends_reading_only() {
    let mut stream = open();
    hear(&mut stream, Some(Flag::Fin), b"last");
    assert_eq!(flags(&said(&mut stream)), [Flag::FinAck]);
    assert_eq!(read_all(&mut stream), (b"last".to_vec(), Ok(Ready::Now(0))));
    assert_eq!(stream.write(b"still"), Ok(Ready::Now(5)));
    assert_eq!(said(&mut stream)[0].payload, b"still");
    assert!(!stream.wants_channel_closed());
}

#[test]
fn the_channel_is_closed_when_both_ends_are_answered() {
    let mut stream = open();
    stream.finish();
    assert_eq!(stream.flushed(), Ok(false));
    assert_eq!(flags(&said(&mut stream)), [Flag::Fin]);
    assert_eq!(stream.flushed(), Ok(true));
    hear(&mut stream, Some(Flag::Fin), b"");
    assert_eq!(flags(&said(&mut stream)), [Flag::FinAck]);
    assert!(!stream.wants_channel_closed());
    hear(&mut stream, Some(Flag::FinAck), b"");
    assert!(stream.wants_channel_closed());
    stream.handle_closed();
    assert!(stream.is_closed() && !stream.wants_channel_closed());
}

#[test]
fn who_answers_last_lets_the_other_side_close() {
    let mut stream = open();
    stream.finish();
    said(&mut stream);
    hear(&mut stream, Some(Flag::FinAck), b"");
    hear(&mut stream, Some(Flag::Fin), b"");
    assert!(!stream.wants_channel_closed(), "FIN_ACK is not sent yet");
    assert_eq!(flags(&said(&mut stream)), [Flag::FinAck]);
    assert!(!stream.wants_channel_closed());
    assert_eq!(stream.next_timeout(), Some(START + CLOSE_GRACE));
    stream.handle_timeout(START + CLOSE_GRACE, 0);
    assert!(stream.wants_channel_closed());
}

#[test]
fn a_bare_flag_is_not_the_end() {
    let mut stream = open();
    hear(&mut stream, Some(Flag::FinAck), b"");
    hear(&mut stream, Some(Flag::StopSending), b"");
    assert_eq!(read_all(&mut stream).1, Ok(Ready::Later));
}

#[test]
fn an_ack_for_nothing_is_nothing() {
    let mut stream = open();
    hear(&mut stream, Some(Flag::FinAck), b"");
    assert_eq!(stream.write(b"a"), Ok(Ready::Now(1)));
    stream.finish();
    assert_eq!(flags(&said(&mut stream)), [Flag::Fin]);
    hear(&mut stream, Some(Flag::Fin), b"");
    said(&mut stream);
    assert!(!stream.wants_channel_closed());
}

#[test]
fn who_is_asked_to_stop_stops_and_finishes() {
    let mut stream = open();
    stream.write(b"unheard").unwrap();
    hear(&mut stream, Some(Flag::StopSending), b"");
    assert_eq!(stream.write(b"more"), Err(StreamError::Stopped));
    let frames = said(&mut stream);
    assert_eq!(flags(&frames), [Flag::Fin]);
    assert!(frames.iter().all(|frame| frame.payload.is_empty()));
    hear(&mut stream, None, b"the other half goes on");
    assert_eq!(read_all(&mut stream).0, b"the other half goes on");
}

#[test]
fn a_reset_ends_both_halves_after_what_came_before() {
    let mut stream = open();
    hear(&mut stream, None, b"before");
    hear(&mut stream, Some(Flag::Reset), b"");
    let ended = Err(StreamError::ResetByPeer);
    assert_eq!(read_all(&mut stream), (b"before".to_vec(), ended.clone()));
    assert_eq!(stream.write(b"a"), ended);
    assert!(said(&mut stream).is_empty(), "a reset is not answered");
    assert!(stream.wants_channel_closed());
}

#[test]
fn a_stream_that_is_dropped_unfinished_is_reset() {
    let mut stream = open();
    stream.write(b"half a").unwrap();
    stream.release();
    assert_eq!(flags(&said(&mut stream)), [Flag::Reset]);
    assert!(stream.wants_channel_closed());
}

#[test]
fn a_stream_that_is_dropped_after_its_end_ends_well() {
    let mut stream = open();
    stream.write(b"question").unwrap();
    stream.finish();
    said(&mut stream);
    stream.release();
    assert_eq!(flags(&said(&mut stream)), [Flag::StopSending]);
    hear(&mut stream, Some(Flag::FinAck), b"");
    hear(&mut stream, None, b"thrown away");
    assert_eq!(stream.unread(), 0);
    hear(&mut stream, Some(Flag::Fin), b"");
    assert_eq!(flags(&said(&mut stream)), [Flag::FinAck]);
    stream.handle_timeout(START + CLOSE_GRACE, 0);
    assert!(stream.wants_channel_closed());
}

#[test]
fn answers_that_do_not_come_are_not_waited_for() {
    let mut stream = open();
    stream.finish();
    said(&mut stream);
    assert_eq!(
        stream.next_timeout(),
        None,
        "the other half may go on for ever"
    );
    stream.release();
    said(&mut stream);
    let until = stream.next_timeout().unwrap();
    assert_eq!(until, START + CLOSE_TIMEOUT);
    stream.handle_timeout(until - Duration::from_millis(1), 0);
    assert!(!stream.wants_channel_closed());
    stream.handle_timeout(until, 0);
    assert!(stream.wants_channel_closed());
}

#[test]
fn a_slow_channel_is_given_time() {
    let mut stream = open();
    stream.finish();
    stream.release();
    stream.transmit(START, 900_000, true);
    stream.transmit(START, 900_000, true);
    let first = stream.next_timeout().unwrap();
    stream.handle_timeout(first, 500_000);
    let second = stream.next_timeout().unwrap();
    assert_eq!(second, first + CLOSE_TIMEOUT);
    stream.handle_timeout(second, 500_000);
    assert!(stream.wants_channel_closed(), "nothing moved");
}

#[test]
fn a_channel_that_never_opens_fails() {
    let mut stream = Stream::new(START);
    assert_eq!(stream.write(b"early"), Ok(Ready::Now(5)));
    assert_eq!(stream.transmit(START, 0, true), None);
    stream.handle_timeout(START + OPEN_TIMEOUT, 0);
    assert_eq!(stream.write(b"late"), Err(StreamError::NotOpened));
    assert_eq!(read_all(&mut stream).1, Err(StreamError::NotOpened));
}

#[test]
fn messages_may_come_before_the_channel_says_that_it_is_open() {
    let mut stream = Stream::new(START);
    hear(&mut stream, None, b"early");
    assert_eq!(read_all(&mut stream).0, b"early");
}

#[test]
fn a_channel_that_closes_early_is_an_error_and_after_our_end_is_none() {
    let mut early = open();
    hear(&mut early, None, b"half");
    early.handle_closed();
    let (found, end) = read_all(&mut early);
    assert_eq!(
        (&found[..], end),
        (&b"half"[..], Err(StreamError::ChannelClosed))
    );
    assert_eq!(early.write(b"a"), Err(StreamError::ChannelClosed));

    let mut late = open();
    late.finish();
    said(&mut late);
    hear(&mut late, Some(Flag::Fin), b"whole");
    late.handle_closed();
    assert_eq!(read_all(&mut late), (b"whole".to_vec(), Ok(Ready::Now(0))));
    assert_eq!(late.flushed(), Ok(true));
}

#[test]
fn frames_that_are_none_reset_the_stream() {
    let mut stream = open();
    stream.handle_message(&[0xff, 0x7f]);
    let end = read_all(&mut stream).1;
    assert!(matches!(end, Err(StreamError::Frame(_))), "{end:?}");
    assert_eq!(flags(&said(&mut stream)), [Flag::Reset]);
    assert!(stream.wants_channel_closed());
}

#[test]
fn data_after_the_end_resets_the_stream() {
    let mut stream = open();
    hear(&mut stream, Some(Flag::Fin), b"end");
    hear(&mut stream, None, b"more");
    assert_eq!(flags(&said(&mut stream)), [Flag::Reset]);
    assert_eq!(stream.write(b"a"), Err(StreamError::AfterEnd { bytes: 4 }));
}

#[test]
fn a_writer_gets_ahead_by_so_much_and_no_more() {
    let mut stream = open();
    let much = vec![1; 2 * MAX_UNSENT];
    assert_eq!(stream.write(&much), Ok(Ready::Now(MAX_UNSENT)));
    assert_eq!(stream.write(&much), Ok(Ready::Later));
    assert_eq!(stream.transmit(START, MAX_BUFFERED, true), None);
    assert!(stream.transmit(START, MAX_BUFFERED - 1, true).is_some());
    assert_eq!(stream.write(&much), Ok(Ready::Now(MAX_PAYLOAD)));
}

#[test]
fn frames_are_full_unless_flushed() {
    let mut stream = open();
    stream.write(&vec![1; MAX_PAYLOAD + 10]).unwrap();
    assert!(stream.transmit(START, 0, false).is_some());
    assert_eq!(stream.transmit(START, 0, false), None);
    assert_eq!(stream.flushed(), Ok(false));
    assert!(stream.transmit(START, 0, true).is_some());
    assert_eq!(stream.flushed(), Ok(true));
}

#[test]
fn the_first_frame_tells_the_window_and_a_peer_that_knows_none_is_sent_no_other() {
    let mut stream = open();
    stream.write(b"a").unwrap();
    assert_eq!(said(&mut stream)[0].max_data, Some(RECEIVE_WINDOW));
    for _ in 0..200 {
        hear(&mut stream, None, &[0; MAX_PAYLOAD]);
        assert_eq!(read_all(&mut stream).0.len(), MAX_PAYLOAD);
    }
    stream.write(b"b").unwrap();
    let frames = said(&mut stream);
    assert_eq!(frames.len(), 1);
    assert_eq!(frames[0].max_data, None);
}

#[test]
fn a_peer_that_knows_no_windows_is_heard_up_to_the_bound() {
    let mut stream = open();
    let frames = MAX_UNREAD / MAX_PAYLOAD;
    for _ in 0..frames {
        hear(&mut stream, None, &[7; MAX_PAYLOAD]);
    }
    assert_eq!(stream.unread(), frames * MAX_PAYLOAD);
    hear(&mut stream, None, &[7; MAX_PAYLOAD]);
    assert_eq!(flags(&said(&mut stream)), [Flag::Reset]);
    let (found, end) = read_all(&mut stream);
    assert_eq!(found.len(), frames * MAX_PAYLOAD, "what was taken is kept");
    assert!(matches!(end, Err(StreamError::Unread { .. })), "{end:?}");
}

#[test]
fn a_peer_that_breaks_its_window_is_reset() {
    let mut stream = open();
    let told = Frame {
        max_data: Some(RECEIVE_WINDOW),
        ..Frame::default()
    };
    stream.handle_message(&told.encode());
    for _ in 0..=RECEIVE_WINDOW as usize / MAX_PAYLOAD {
        hear(&mut stream, None, &[7; MAX_PAYLOAD]);
    }
    let end = read_all(&mut stream).1;
    assert!(
        matches!(end, Err(StreamError::BeyondWindow { .. })),
        "{end:?}"
    );
}

#[test]
fn before_the_peer_speaks_only_the_first_window_is_sent() {
    let mut stream = open();
    let mut sent = 0;
    while let Ok(Ready::Now(_)) = stream.write(&[1; MAX_UNSENT]) {
        let frames = said(&mut stream);
        sent += frames
            .iter()
            .map(|frame| frame.payload.len())
            .sum::<usize>();
    }
    assert_eq!(sent as u64, FIRST_WINDOW);
    // One that knows no windows lets it go on.
    hear(&mut stream, None, b"ok");
    assert!(!said(&mut stream).is_empty());
}

/// Two streams and the channels between them.
struct Pair {
    now: Duration,
    sides: [Side; 2],
}

struct Side {
    stream: Stream,
    /// messages on their way to this side
    arriving: VecDeque<Vec<u8>>,
    written: Vec<u8>,
    read: Vec<u8>,
    /// what reading said last, when it was an end
    end: Option<Result<(), StreamError>>,
    given_up: bool,
}

impl Pair {
    fn new() -> Self {
        let side = || Side {
            stream: open(),
            arriving: VecDeque::new(),
            written: Vec::new(),
            read: Vec::new(),
            end: None,
            given_up: false,
        };
        Self {
            now: START,
            sides: [side(), side()],
        }
    }

    fn buffered(&self, at: usize) -> usize {
        self.sides[1 - at].arriving.iter().map(Vec::len).sum()
    }

    fn transmit(&mut self, at: usize, flush: bool) -> bool {
        for n in 0.. {
            let buffered = self.buffered(at);
            let message = self.sides[at].stream.transmit(self.now, buffered, flush);
            let Some(message) = message else {
                return n > 0;
            };
            self.sides[1 - at].arriving.push_back(message);
        }
        unreachable!("channels are bounded")
    }

    fn deliver(&mut self, at: usize, count: usize) -> bool {
        for _ in 0..count {
            let Some(message) = self.sides[at].arriving.pop_front() else {
                return false;
            };
            self.sides[at].stream.handle_message(&message);
        }
        true
    }

    fn write(&mut self, at: usize, len: usize) {
        let side = &mut self.sides[at];
        let from = side.written.len();
        let bytes: Vec<u8> = (from..from + len)
            .map(|n| (n % 251) as u8 ^ at as u8)
            .collect();
        if let Ok(Ready::Now(n)) = side.stream.write(&bytes) {
            side.written.extend_from_slice(&bytes[..n]);
        }
    }

    fn read(&mut self, at: usize, len: usize) -> bool {
        let side = &mut self.sides[at];
        let mut out = vec![0; len];
        match side.stream.read(&mut out) {
            Ok(Ready::Now(0)) => side.end = Some(Ok(())),
            Ok(Ready::Now(n)) => {
                side.read.extend_from_slice(&out[..n]);
                return true;
            }
            Ok(Ready::Later) => {}
            Err(error) => side.end = Some(Err(error)),
        }
        false
    }

    /// Lets everything happen that can; closes channels as a browser would.
    fn settle(&mut self, reads: bool) {
        for _ in 0..100_000 {
            let mut moved = false;
            for at in 0..2 {
                moved |= self.transmit(at, true);
                moved |= self.deliver(at, 1);
                if reads && !self.sides[at].given_up {
                    moved |= self.read(at, 1 << 16);
                }
                let nothing_on_its_way = self.buffered(at) == 0;
                if self.sides[at].stream.wants_channel_closed() && nothing_on_its_way {
                    self.sides[at].stream.handle_closed();
                    // What arrives before the other side sees the close is delivered first.
                    let other = 1 - at;
                    while self.deliver(other, 1) {}
                    self.sides[other].stream.handle_closed();
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
        panic!("it does not come to rest");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Read(usize, usize),
    Transmit(usize, bool),
    Deliver(usize, usize),
    Finish(usize),
    Stop(usize),
    Reset(usize),
    Release(usize),
}

fn step(gentle: bool) -> impl Strategy<Value = Step> {
    let at = || 0_usize..2;
    let moves = prop_oneof![
        4 => (at(), 1_usize..80_000).prop_map(|(at, len)| Step::Write(at, len)),
        4 => (at(), 1_usize..80_000).prop_map(|(at, len)| Step::Read(at, len)),
        4 => (at(), any::<bool>()).prop_map(|(at, flush)| Step::Transmit(at, flush)),
        4 => (at(), 1_usize..40).prop_map(|(at, count)| Step::Deliver(at, count)),
    ];
    let ends = if gentle {
        at().prop_map(Step::Finish).boxed()
    } else {
        prop_oneof![
            at().prop_map(Step::Finish),
            at().prop_map(Step::Stop),
            at().prop_map(Step::Reset),
            at().prop_map(Step::Release),
        ]
        .boxed()
    };
    prop_oneof![16 => moves, 1 => ends]
}

fn run(pair: &mut Pair, steps: &[Step]) {
    for step in steps {
        match *step {
            Step::Write(at, len) => pair.write(at, len),
            Step::Read(at, len) => {
                if !pair.sides[at].given_up {
                    pair.read(at, len);
                }
            }
            Step::Transmit(at, flush) => {
                pair.transmit(at, flush);
            }
            Step::Deliver(at, count) => {
                pair.deliver(at, count);
            }
            Step::Finish(at) => pair.sides[at].stream.finish(),
            Step::Stop(at) => {
                pair.sides[at].stream.stop();
                pair.sides[at].given_up = true;
            }
            Step::Reset(at) => pair.sides[at].stream.reset(),
            Step::Release(at) => {
                pair.sides[at].stream.release();
                pair.sides[at].given_up = true;
            }
        }
        for side in &pair.sides {
            assert!(
                side.stream.unread() as u64 <= RECEIVE_WINDOW,
                "windows hold"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn streams_that_are_finished_carry_every_byte_and_close(
        steps in proptest::collection::vec(step(true), 0..120),
    ) {
        let mut pair = Pair::new();
        run(&mut pair, &steps);
        pair.settle(true);
        for at in 0..2 {
            pair.sides[at].stream.finish();
        }
        pair.settle(true);
        for at in 0..2 {
            let (here, there) = (&pair.sides[at], &pair.sides[1 - at]);
            prop_assert_eq!(&here.read, &there.written);
            prop_assert_eq!(&here.end, &Some(Ok(())));
            prop_assert!(here.stream.is_closed());
            prop_assert_eq!(here.stream.next_timeout(), None);
        }
    }

    #[test]
    fn a_reader_that_pauses_loses_nothing(
        lens in proptest::collection::vec(1_usize..MAX_UNSENT, 60..120),
    ) {
        let mut pair = Pair::new();
        // Both have spoken, as they have after the protocol of a stream is agreed.
        for at in 0..2 {
            pair.write(at, 10);
        }
        pair.settle(true);
        for len in lens {
            pair.write(0, len);
            pair.settle(false);
            prop_assert!(pair.sides[1].stream.unread() as u64 <= RECEIVE_WINDOW);
        }
        pair.sides[0].stream.finish();
        pair.settle(true);
        prop_assert_eq!(&pair.sides[1].read, &pair.sides[0].written);
        prop_assert_eq!(&pair.sides[1].end, &Some(Ok(())));
    }

    #[test]
    fn whatever_is_done_what_is_read_is_what_was_written_and_every_stream_ends(
        steps in proptest::collection::vec(step(false), 0..120),
    ) {
        let mut pair = Pair::new();
        run(&mut pair, &steps);
        pair.settle(true);
        for at in 0..2 {
            pair.sides[at].stream.release();
            pair.sides[at].given_up = true;
        }
        pair.settle(false);
        for _ in 0..4 {
            pair.now += CLOSE_TIMEOUT;
            for at in 0..2 {
                let buffered = pair.buffered(at);
                pair.sides[at].stream.handle_timeout(pair.now, buffered);
            }
            pair.settle(false);
        }
        for at in 0..2 {
            let (here, there) = (&pair.sides[at], &pair.sides[1 - at]);
            prop_assert!(there.written.starts_with(&here.read));
            prop_assert!(here.stream.is_closed(), "{:?}", here.stream);
            if here.end == Some(Ok(())) && !here.given_up {
                prop_assert_eq!(&here.read, &there.written);
            }
        }
    }

    #[test]
    fn any_messages_are_survived(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..60),
    ) {
        let mut stream = open();
        for message in &messages {
            stream.handle_message(message);
            said(&mut stream);
        }
        stream.release();
        said(&mut stream);
        for n in 1..5 {
            stream.handle_timeout(START + CLOSE_TIMEOUT * n, 0);
            said(&mut stream);
        }
        prop_assert!(stream.wants_channel_closed());
    }
}

#[test]
fn a_beginning_that_nobody_answered_is_said_again() {
    let mut stream = open();
    assert_eq!(stream.write(b"ask"), Ok(Ready::Now(3)));
    stream.finish();
    let first = said(&mut stream);
    assert_eq!(first.last().and_then(|frame| frame.flag), Some(Flag::Fin));
    assert!(stream.start_over(START));
    assert_eq!(said(&mut stream), [], "the other channel is not open yet");
    assert_eq!(stream.next_timeout(), Some(START + OPEN_TIMEOUT));
    stream.handle_open();
    assert_eq!(said(&mut stream), first);
    hear(&mut stream, Some(Flag::FinAck), b"");
    hear(&mut stream, Some(Flag::Fin), b"answer");
    let answer = (b"answer".to_vec(), Ok(Ready::Now(0)));
    assert_eq!(read_all(&mut stream), answer);
    assert!(!stream.start_over(START), "the peer has answered");
}

#[test]
fn what_is_written_meanwhile_follows_what_is_said_again() {
    let mut stream = open();
    stream.write(b"first").unwrap();
    said(&mut stream);
    assert!(stream.start_over(START));
    stream.write(b"second").unwrap();
    assert!(
        stream.start_over(START),
        "the second channel was of no use either"
    );
    stream.handle_open();
    let frames = said(&mut stream);
    let payloads: Vec<_> = frames.iter().map(|frame| &*frame.payload).collect();
    assert_eq!(payloads, [&b"first"[..], b"second"]);
}

#[test]
fn a_beginning_that_is_long_or_given_up_is_not_said_again() {
    let mut stream = open();
    for _ in 0..=MAX_OPENING / 1000 {
        stream.write(&[0; 1000]).unwrap();
        said(&mut stream);
    }
    assert!(!stream.start_over(START));
    let mut stream = open();
    stream.write(b"ask").unwrap();
    stream.finish();
    said(&mut stream);
    stream.release();
    assert!(!stream.start_over(START), "nobody waits for the answer");
    let mut stream = open();
    hear(&mut stream, None, b"");
    assert!(!stream.start_over(START), "the peer has spoken");
}

#[test]
fn what_came_on_a_mute_channel_is_not_read() {
    let mut stream = open();
    hear(&mut stream, Some(Flag::Fin), b"ask");
    stream.handle_mute();
    let end = Err(StreamError::ChannelClosed);
    assert_eq!(read_all(&mut stream), (Vec::new(), end));
    assert!(stream.is_closed());
    assert_eq!(said(&mut stream), []);
}
