//! What happens to a stream, a byte each that says what, and what that needs.
//!
//! Whatever the peer sends, the stream holds no more than its bounds, what it says is whole frames
//! of the specification's size, and after the channel is closed it says nothing.

use std::time::Duration;

use thrum_rtc::frame::{Decoder, Frame};
use thrum_rtc::limits::{MAX_FRAME, MAX_UNREAD};
use thrum_rtc::stream::{Peer, Ready, Stream};

/// Goes through `data`; true when something of the peer could be read.
pub fn run(mut data: &[u8]) -> bool {
    let mut now = Duration::from_secs(1_000);
    let mut stream = Stream::new(now);
    let mut heard = Decoder::default();
    let (mut n_written, mut n_sent, mut has_read) = (0, 0, false);
    while !data.is_empty() {
        let op = byte(&mut data);
        match op {
            250 => stream.handle_mute(),
            251 => {
                if stream.start_over(now) {
                    assert!(!has_read, "the peer has said nothing");
                    n_sent = 0;
                    heard = Decoder::default();
                }
            }
            _ => match op % 12 {
                0 => stream.handle_open(),
                1 => stream.handle_closed(),
                2 => {
                    now += Duration::from_millis(u64::from(byte(&mut data)) * 100);
                    stream.handle_timeout(now, usize::from(op));
                }
                3 => {
                    let mut out = [0; 300];
                    if let Ok(Ready::Now(n)) = stream.read(&mut out) {
                        has_read |= n > 0;
                    }
                }
                4 => {
                    let bytes = vec![op; usize::from(byte(&mut data)) * 100];
                    if let Ok(Ready::Now(n)) = stream.write(&bytes) {
                        n_written += n;
                    }
                }
                5 => stream.finish(),
                6 => stream.stop(),
                7 => stream.release(),
                8 => stream.set_peer(
                    [Peer::Full, Peer::Unknown, Peer::Plain][usize::from(byte(&mut data) % 3)],
                ),
                9 => stream.reset(),
                _ => {
                    let length = usize::from(byte(&mut data)).min(data.len());
                    let (message, rest) = data.split_at(length);
                    data = rest;
                    stream.handle_message(message);
                }
            },
        }
        n_sent += said(&mut stream, now, usize::from(op) * 8_192, &mut heard);
        assert!(stream.unread() <= MAX_UNREAD);
        assert!(n_sent <= n_written, "nothing is sent that was not written");
    }
    has_read
}

/// bytes; the payload of all that the stream says now.
fn said(stream: &mut Stream, now: Duration, buffered: usize, heard: &mut Decoder) -> usize {
    let mut n_payload = 0;
    while let Some(message) = stream.transmit(now, buffered, buffered.is_multiple_of(3)) {
        assert!(!stream.is_closed(), "nothing is said on a closed channel");
        assert!(!message.is_empty() && message.len() <= MAX_FRAME);
        let mut n_frames = 0;
        let take = |frame: Frame| {
            n_frames += 1;
            n_payload += frame.payload.len();
            let says =
                frame.flag.is_some() || !frame.payload.is_empty() || frame.max_data.is_some();
            assert!(says, "a frame says something");
            let both = frame.flag.is_some() && !frame.payload.is_empty();
            assert!(!both, "some peers lose a payload that comes with a flag");
        };
        heard
            .push(&message, take)
            .expect("what is sent can be read");
        assert_eq!(n_frames, 1, "one frame in one message");
    }
    n_payload
}

fn byte(data: &mut &[u8]) -> u8 {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    *data = rest;
    *first
}
