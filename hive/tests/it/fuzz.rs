//! Inputs in any order, from an edge that is wrong about everything: never a panic, never a wake in
//! the past, never outputs without end.

use crate::bench::{Bench, Remote, offer, request, token};
use proptest::collection::vec;
use proptest::prelude::*;
use thrum_hive::io::{
    Found, GossipId, Input, JobId, Place, RelayIndex, StoreKey, StreamId, StreamKind, Topic,
};
use thrum_protocol::capability::{CapabilityRecord, SpeedClass};
use thrum_protocol::model::Backend;
use thrum_protocol::task::FinishReason;
use thrum_protocol::time::Millis;
use thrum_protocol::truncation::Discarded;
use thrum_protocol::view::{AskRequest, Command, DonateLimits, Path, Route};

/// count; outputs of one input. The most come from a first discovery or a pause.
const MAX_OUTPUTS: usize = 1_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_order_of_inputs_breaks_the_machine(story in vec((any_input(), 0..20_000_u64), 1..80)) {
        let (mut bench, _) = Bench::with(3, true);
        for (input, wait) in story {
            prop_assert!(bench.tell(input).len() < MAX_OUTPUTS);
            bench.pass(Millis(wait));
            bench.snapshot();
        }
        // Every ask ends by its deadline.
        bench.pass(Millis(60_000));
        let state = bench.snapshot().status.reason;
        prop_assert!(!state.contains("Your prompt") && !state.contains("Looking for"), "{}", state);
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => any_command().prop_map(Input::Command),
        2 => relay().prop_map(Input::RelayConnected),
        2 => relay().prop_map(Input::RelayReserved),
        1 => relay().prop_map(|relay| Input::RelayLost { relay, reason: "lost".to_owned() }),
        2 => vec(peer(), 0..40).prop_map(|peers| Input::Discovered {
            relay: RelayIndex(0),
            found: peers.into_iter().map(|peer| Found {
                peer,
                addresses: vec!["x".repeat(600), "/a".to_owned()],
            }).collect(),
        }),
        6 => peer().prop_map(|peer| Input::Connected {
            peer,
            path: Path::Direct,
            transport: "webrtc".to_owned(),
        }),
        1 => peer().prop_map(|peer| Input::Disconnected { peer }),
        1 => peer().prop_map(|peer| Input::DialFailed { peer, reason: "no".to_owned() }),
        1 => peer().prop_map(|peer| Input::RoundTrip { peer, rtt: Millis(9) }),
        1 => any::<bool>().prop_map(Input::Online),
        1 => Just(Input::Resumed),
        2 => (0..u64::MAX).prop_map(|today| Input::WallClock(Millis(today))),
        1 => (relay(), peer()).prop_map(|(relay, id)| Input::RelayIdentified { relay, id }),
        1 => Just(Input::NotPublished(Topic::Announce)),
        2 => (place(), vec(peer(), 0..40)).prop_map(|(place, peers)| Input::LookedUp {
            place,
            model: offer().id,
            found: peers.into_iter().map(|peer| Found {
                peer,
                addresses: vec!["/a".to_owned()],
            }).collect(),
        }),
        6 => (peer(), 1..40_u8, record()).prop_map(|(from, author, record)| {
            let key = thrum_protocol::SigningKey::from_bytes(&[author; 32]);
            let bytes = record.seal(&key);
            Input::Gossip { from, topic: Topic::Announce, bytes, id: GossipId(0) }
        }),
        2 => (peer(), vec(any::<u8>(), 0..50)).prop_map(|(from, bytes)| {
            Input::Gossip { from, topic: Topic::Announce, bytes, id: GossipId(0) }
        }),
        6 => (stream(), peer(), any::<bool>()).prop_map(|(stream, peer, advert)| {
            let kind = if advert { StreamKind::Advert } else { StreamKind::Task };
            Input::StreamAccepted { stream, peer, kind }
        }),
        6 => stream().prop_map(Input::StreamOpened),
        4 => (stream(), vec(any::<u8>(), 0..50)).prop_map(|(stream, bytes)| Input::Frame { stream, bytes }),
        6 => (stream(), 1..6_u8).prop_map(|(stream, byte)| {
            let advert = crate::bench::donor_advert();
            let key = thrum_protocol::SigningKey::from_bytes(&[byte; 32]);
            Input::Frame { stream, bytes: advert.seal(&key) }
        }),
        2 => stream().prop_map(|stream| Input::StreamClosed { stream, reason: "end".to_owned() }),
        3 => Just(Input::EngineReady {
            model: offer(),
            backend: Backend::Webgpu,
            threads: None,
            millitokens_per_second: 1,
        }),
        1 => Just(Input::EngineLost { reason: "lost".to_owned() }),
        1 => Just(Input::EngineRestoring { reason: "lost".to_owned() }),
        3 => job().prop_map(|job| Input::JobTokens { job, tokens: vec![token(b"\xf0x"); 3] }),
        2 => job().prop_map(|job| Input::JobDone {
            job,
            finish_reason: FinishReason::Stop,
            prompt_tokens: u32::MAX,
            trimmed_bytes: u32::MAX,
            discarded: Discarded::default(),
        }),
        1 => (job(), any::<bool>()).prop_map(|(job, invalid_request)| Input::JobFailed {
            job,
            invalid_request,
            message: "é".repeat(600),
        }),
        1 => vec(any::<u8>(), 0..20).prop_map(|value| Input::Loaded {
            key: StoreKey::Donation,
            value: Some(value),
        }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (0..12_u64, 0..4_u8, 1..6_u8).prop_map(|(ask, route, byte)| {
            let route = match route {
                0 => Route::Auto,
                1 => Route::Local,
                2 => Route::Peer,
                _ => Route::PeerId(Remote::new(byte).id),
            };
            Command::Ask(AskRequest {
                route,
                ..request(ask)
            })
        }),
        (0..12_u64).prop_map(|ask| Command::CancelAsk { ask }),
        any::<[u32; 3]>().prop_map(|[slots, max_new_tokens, share_percent]| {
            Command::Donate(DonateLimits {
                slots,
                max_new_tokens,
                share_percent,
            })
        }),
        Just(Command::Finish),
        Just(Command::Pause),
    ]
}

fn record() -> impl Strategy<Value = CapabilityRecord> {
    let moments = (0..100_000_u64, 0..=700_000_u64);
    (moments, vec(peer(), 0..6), any::<bool>()).prop_map(|((sequence, life), relays, offers)| {
        CapabilityRecord {
            sequence,
            expires: sequence + life,
            relays,
            models: offers.then(offer).into_iter().collect(),
            backend: None,
            speed: SpeedClass(u8::MAX),
            slots: u32::MAX,
        }
    })
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![relay().prop_map(Place::Rendezvous), Just(Place::Kad)]
}

fn relay() -> impl Strategy<Value = RelayIndex> {
    (0..3_usize).prop_map(RelayIndex)
}

fn peer() -> impl Strategy<Value = thrum_protocol::id::NodeId> {
    (1..40_u8).prop_map(|byte| Remote::new(byte).id)
}

fn stream() -> impl Strategy<Value = StreamId> {
    (0..40_u64).prop_map(StreamId)
}

fn job() -> impl Strategy<Value = JobId> {
    (0..6_u64).prop_map(JobId)
}
