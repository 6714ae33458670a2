//! Relays and peers: dialled, lost, tried again, and never too many at once.

use crate::bench::{Bench, RELAY, Remote};
use thrum_hive::io::{Input, Output, StreamKind, Way};
use thrum_hive::limits::{
    DIAL_BACKOFF_MAX, DIAL_BACKOFF_MIN, DIRECT_RETRY_MAX, DIRECT_RETRY_MIN, MAX_CONNECTED_PEERS,
    MAX_DIALS, RELAY_BACKOFF_MAX, RELAY_BACKOFF_MIN, RELAY_TIMEOUT,
};
use thrum_protocol::id::NodeId;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{LinkView, Path, RelayState, State, Through};

#[test]
fn the_relay_is_dialled_at_once() {
    let (bench, outputs) = Bench::with(1, false);
    assert!(outputs.contains(&Output::DialRelay(RELAY)));
    let view = bench.snapshot();
    assert_eq!(view.status.state, State::Connecting);
    assert_eq!(view.relays[0].state, RelayState::Connecting);
}

#[test]
fn waits_grow_with_jitter_and_stay_in_bounds() {
    let waits = |seed| {
        let (mut bench, _) = Bench::with(seed, false);
        let mut waits = Vec::new();
        for _ in 0..12 {
            lose(&mut bench);
            let wait = bench.snapshot().relays[0]
                .retry_in_millis
                .expect("it waits");
            waits.push(wait.0);
            let outputs = bench.pass(wait);
            assert!(outputs.contains(&Output::DialRelay(RELAY)));
        }
        waits
    };
    let (first, second) = (waits(1), waits(2));
    assert_ne!(
        first, second,
        "peers that lose a relay together would return together"
    );
    for waits in [first, second] {
        let bounds = RELAY_BACKOFF_MIN.0..=RELAY_BACKOFF_MAX.0;
        assert!(waits.iter().all(|wait| bounds.contains(wait)), "{waits:?}");
        assert!(waits[10] >= RELAY_BACKOFF_MAX.0 / 2, "{waits:?}");
    }
}

#[test]
fn a_relay_that_held_resets_the_wait() {
    let mut bench = Bench::new();
    for _ in 0..8 {
        lose(&mut bench);
        bench.pass(RELAY_BACKOFF_MAX);
    }
    bench.reserve();
    bench.pass(Millis(20_000));
    lose(&mut bench);
    let wait = bench.snapshot().relays[0].retry_in_millis;
    assert_eq!(wait, Some(RELAY_BACKOFF_MIN));
}

#[test]
fn a_relay_that_flaps_does_not_reset_the_wait() {
    let mut bench = Bench::new();
    for _ in 0..8 {
        bench.reserve();
        lose(&mut bench);
        bench.pass(RELAY_BACKOFF_MAX);
    }
    bench.reserve();
    lose(&mut bench);
    let wait = bench.snapshot().relays[0].retry_in_millis;
    assert!(wait > Some(Millis(20_000)), "{wait:?}");
}

#[test]
fn offline_stops_dialling_and_online_dials_at_once() {
    let mut bench = Bench::new();
    bench.tell(Input::Online(false));
    lose(&mut bench);
    let outputs = bench.pass(Millis(600_000));
    assert!(!outputs.contains(&Output::DialRelay(RELAY)));
    assert!(bench.snapshot().status.reason.contains("offline"));
    let outputs = bench.tell(Input::Online(true));
    assert!(outputs.contains(&Output::DialRelay(RELAY)));
}

#[test]
fn a_thawed_page_dials_at_once_and_tries_what_is_up() {
    let mut bench = Bench::new();
    lose(&mut bench);
    let outputs = bench.tell(Input::Resumed);
    assert!(outputs.contains(&Output::DialRelay(RELAY)));
    bench.reserve();
    let outputs = bench.tell(Input::Resumed);
    assert!(outputs.contains(&Output::Discover(RELAY)));
}

#[test]
fn a_relay_that_never_reserves_is_hung_up_on() {
    let mut bench = Bench::new();
    bench.tell(Input::RelayConnected(RELAY));
    let outputs = bench.pass(RELAY_TIMEOUT);
    assert!(outputs.contains(&Output::HangUpRelay(RELAY)));
    let view = bench.snapshot();
    assert_eq!(view.relays[0].state, RelayState::Waiting);
    assert!(view.relays[0].error.is_some());
}

#[test]
fn a_reservation_registers_and_discovers_again_and_again() {
    let mut bench = Bench::new();
    let outputs = bench.reserve();
    assert!(outputs.contains(&Output::Register(RELAY)));
    assert!(outputs.contains(&Output::Discover(RELAY)));
    let outputs = bench.pass(Millis(10 * 60_000));
    let count = |wanted: &Output| outputs.iter().filter(|output| *output == wanted).count();
    assert!(count(&Output::Register(RELAY)) >= 2);
    assert!(
        count(&Output::Discover(RELAY)) >= 100,
        "alone, it asks often"
    );
}

#[test]
fn few_peers_are_dialled_at_once_and_never_ourselves() {
    let mut bench = Bench::new();
    bench.reserve();
    let own = bench.id;
    let outputs = bench.find((1..60).map(|byte| Remote::new(byte).id).chain([own]));
    assert_eq!(dials(&outputs).len(), MAX_DIALS);
    assert!(!dials(&outputs).contains(&own));
}

#[test]
fn a_peer_that_fails_is_dialled_later_and_later() {
    let mut bench = Bench::new();
    bench.reserve();
    let peer = Remote::new(1).id;
    bench.find([peer]);
    let mut waits = Vec::new();
    for _ in 0..10 {
        for rung in [Way::Direct, Way::Turn, Way::Relayed] {
            let reason = format!("no way by {rung:?}");
            bench.tell(Input::DialFailed { peer, reason });
        }
        let failed = bench.now;
        while dials(&bench.pass(Millis(100))).is_empty() {}
        waits.push(bench.now.since(failed));
    }
    assert!(waits[0] >= DIAL_BACKOFF_MIN, "{waits:?}");
    assert!(waits[9] >= Millis(DIAL_BACKOFF_MAX.0 / 2), "{waits:?}");
    assert!(waits[9] <= DIAL_BACKOFF_MAX + Millis(100), "{waits:?}");
}

#[test]
fn a_peer_that_cannot_be_reached_directly_is_reached_through_a_relay() {
    let mut bench = Bench::new();
    bench.reserve();
    let peer = Remote::new(1).id;
    let outputs = bench.find([peer]);
    assert_eq!(ways(&outputs), [Way::Direct]);
    let reason = "no way works".to_owned();
    let outputs = bench.tell(Input::DialFailed { peer, reason });
    assert_eq!(ways(&outputs), [Way::Turn]);
    let reason = "no TURN".to_owned();
    let outputs = bench.tell(Input::DialFailed { peer, reason });
    assert_eq!(ways(&outputs), [Way::Relayed]);
    bench.tell(connected(peer, Path::Relayed, "circuit"));
    let view = &bench.snapshot().peers[0];
    assert_eq!(view.path, Path::Relayed);
    let why = view.direct_error.as_deref();
    assert_eq!(why, Some("no way works; by TURN: no TURN"));
}

#[test]
fn a_relayed_peer_is_dialled_directly_again() {
    let mut bench = Bench::new();
    bench.reserve();
    let peer = Remote::new(1).id;
    bench.tell(connected(peer, Path::Relayed, "circuit"));
    bench.find([peer]);
    let outputs = bench.pass(Millis(DIRECT_RETRY_MIN.0 - 1));
    assert_eq!(ways(&outputs), []);
    let outputs = bench.pass(Millis(2));
    assert_eq!(ways(&outputs), [Way::Direct]);
    // It failed: it stays connected, and is let alone for longer.
    let reason = "no way works".to_owned();
    let again = reason.clone();
    let outputs = bench.tell(Input::DialFailed { peer, reason });
    assert_eq!(ways(&outputs), [Way::Turn]);
    let reason = again;
    let outputs = bench.tell(Input::DialFailed { peer, reason });
    assert_eq!(ways(&outputs), []);
    assert_eq!(ways(&bench.pass(DIRECT_RETRY_MIN)), []);
    // The network is another one: at once.
    let outputs = bench.tell(Input::Online(true));
    assert_eq!(ways(&outputs), [Way::Direct]);
    bench.tell(connected(peer, Path::Direct, "webrtc"));
    let link = LinkView {
        through: Through::Nat,
        bytes_in: 7,
        bytes_out: 9,
    };
    bench.tell(Input::LinkMeasured { peer, link });
    let view = &bench.snapshot().peers[0];
    assert_eq!((view.path, &view.direct_error), (Path::Direct, &None));
    assert_eq!(view.link, Some(link));
    assert_eq!(ways(&bench.pass(DIRECT_RETRY_MAX)), []);
}

#[test]
fn a_peer_that_falls_back_to_a_relay_ends_no_search_for_something_better() {
    let mut bench = Bench::new();
    bench.reserve();
    let peer = Remote::new(1).id;
    assert_eq!(ways(&bench.find([peer])), [Way::Direct]);
    let outputs = bench.tell(connected(peer, Path::Relayed, "circuit"));
    assert_eq!(ways(&outputs), []);
    let failed = || Input::DialFailed {
        peer,
        reason: "no way works".to_owned(),
    };
    assert_eq!(ways(&bench.tell(failed())), [Way::Turn]);
    assert_eq!(ways(&bench.tell(failed())), []);
    assert_eq!(bench.snapshot().peers[0].path, Path::Relayed);
    let again = ways(&bench.pass(DIRECT_RETRY_MAX));
    assert_eq!(again.first(), Some(&Way::Direct));
}

#[test]
fn nobody_is_dialled_offline() {
    let mut bench = Bench::new();
    bench.reserve();
    bench.tell(Input::Online(false));
    let outputs = bench.find([Remote::new(1).id]);
    assert_eq!(dials(&outputs), []);
}

#[test]
fn a_peer_too_many_is_disconnected() {
    let mut bench = Bench::new();
    let limit = u8::try_from(MAX_CONNECTED_PEERS).expect("a small number");
    for byte in 1..=limit {
        let peer = Remote::new(byte).id;
        let outputs = bench.connect(peer);
        assert!(!outputs.contains(&Output::Disconnect { peer }));
    }
    let peer = Remote::new(limit + 1).id;
    assert!(bench.connect(peer).contains(&Output::Disconnect { peer }));
    assert_eq!(bench.snapshot().peers.len(), MAX_CONNECTED_PEERS);
}

#[test]
fn a_connected_peer_is_told_what_we_can_do() {
    let mut bench = Bench::new();
    let peer = Remote::new(1).id;
    let outputs = bench.connect(peer);
    let opened = outputs.iter().any(|output| {
        matches!(output, Output::Open { peer: to, kind: StreamKind::Advert, .. } if *to == peer)
    });
    assert!(opened);
}

#[test]
fn an_advert_shows_in_the_view_and_expires() {
    let mut bench = Bench::new();
    let donor = Remote::new(1);
    bench.connect_donor(&donor);
    let can = bench.snapshot().peers[0]
        .capabilities
        .clone()
        .expect("it advertised");
    assert!(can.donating);
    assert_eq!(can.tokens_per_second, 50.0);
    assert_eq!(can.models[0].name, "bee");
    bench.pass(thrum_protocol::limits::ADVERT_TTL);
    assert_eq!(bench.snapshot().peers[0].capabilities, None);
}

fn lose(bench: &mut Bench) {
    let reason = "refused".to_owned();
    bench.tell(Input::RelayLost {
        relay: RELAY,
        reason,
    });
}

fn connected(peer: NodeId, path: Path, transport: &str) -> Input {
    let transport = transport.to_owned();
    Input::Connected {
        peer,
        path,
        transport,
    }
}

fn ways(outputs: &[Output]) -> Vec<Way> {
    let way = |output: &Output| match output {
        Output::Dial { way, .. } => Some(*way),
        _ => None,
    };
    outputs.iter().filter_map(way).collect()
}

fn dials(outputs: &[Output]) -> Vec<NodeId> {
    let dial = |output: &Output| match output {
        Output::Dial { peer, .. } => Some(*peer),
        _ => None,
    };
    outputs.iter().filter_map(dial).collect()
}
