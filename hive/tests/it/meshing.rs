//! Which links are made, kept, exchanged and given up.

use crate::bench::{Bench, Remote, a_prompt, request};
use thrum_hive::io::{Input, Output, StreamId, StreamKind};
use thrum_hive::limits::{
    CHURN_PERIOD, DIAL_BACKOFF_MAX, ENOUGH_PEERS, FULL_PEERS, MAX_CONNECTED_PEERS,
    MAX_HINTED_KNOWN, PART_TIMEOUT, PARTED_PAUSE, PRUNE_GRACE, PRUNE_SOON, TARGET_PEERS,
};
use thrum_protocol::SigningKey;
use thrum_protocol::hint::{Hint, HintedPeer};
use thrum_protocol::id::NodeId;
use thrum_protocol::limits::MAX_HINTED_PEERS;
use thrum_protocol::time::Millis;
use thrum_protocol::view::{Command, Route};

#[test]
fn above_a_full_table_the_worst_is_told_of_others_and_leaves() {
    let mut bench = full(FULL_PEERS + 1);
    let worst = Remote::new(5).id;
    far_away(&mut bench, worst);
    let early = bench.pass(Millis(PRUNE_GRACE.0 - 1));
    assert_eq!(parted(&early), []);
    let late = bench.pass(Millis(1));
    let [(stream, peer)] = parted(&late)[..] else {
        panic!("one is asked to leave");
    };
    assert_eq!(peer, worst);
    let said = bench.tell(Input::StreamOpened(stream));
    let hint = hint_in(&said, stream);
    assert_eq!(hint.peers.len(), MAX_HINTED_PEERS);
    let neighbours: Vec<NodeId> = (1..=15).map(|byte| Remote::new(byte).id).collect();
    for hinted in &hint.peers {
        assert!(neighbours.contains(&hinted.peer_id), "neighbours first");
        assert_ne!(hinted.peer_id, worst);
        assert!(!hinted.addresses.is_empty());
    }
    assert!(said.contains(&Output::Close(stream)));
    // It stays all the same: it is disconnected.
    let outputs = bench.pass(PART_TIMEOUT);
    assert!(outputs.contains(&Output::Disconnect { peer: worst }));
    bench.tell(Input::Disconnected { peer: worst });
    assert_eq!(bench.snapshot().peers.len(), FULL_PEERS);
    assert_eq!(parted(&bench.pass(Millis(60_000))), [], "enough is enough");
}

#[test]
fn a_link_with_work_on_it_is_never_given_up() {
    let mut bench = full(FULL_PEERS + 1);
    bench.donate(8);
    for byte in 1..=15 {
        let remote = Remote::new(byte);
        far_away(&mut bench, remote.id);
        bench.prompt(&remote, byte, a_prompt());
    }
    let working: Vec<NodeId> = bench
        .snapshot()
        .peers
        .iter()
        .filter(|peer| peer.activity.is_some())
        .map(|peer| peer.peer_id)
        .collect();
    assert!(!working.is_empty());
    let outputs = bench.pass(PRUNE_GRACE);
    let asked = parted(&outputs);
    assert_eq!(asked.len(), 1);
    assert!(!working.contains(&asked[0].1));
}

#[test]
fn work_that_begins_while_a_peer_is_asked_to_leave_keeps_it() {
    let mut bench = full(FULL_PEERS + 1);
    bench.donate(8);
    let worst = Remote::new(5);
    far_away(&mut bench, worst.id);
    let asked = parted(&bench.pass(PRUNE_GRACE));
    assert_eq!(asked[0].1, worst.id);
    bench.prompt(&worst, 9, a_prompt());
    let outputs = bench.pass(PART_TIMEOUT);
    let peer = worst.id;
    assert!(!outputs.contains(&Output::Disconnect { peer }));
}

#[test]
fn a_peer_too_many_for_the_browser_is_refused_at_once() {
    let mut bench = full(MAX_CONNECTED_PEERS);
    let peer = Remote::new(99).id;
    assert!(bench.connect(peer).contains(&Output::Disconnect { peer }));
}

#[test]
fn a_table_without_a_free_place_gets_one_soon() {
    let mut bench = full(MAX_CONNECTED_PEERS);
    // Once the links are old enough to be judged.
    let mut asked = parted(&bench.pass(PRUNE_GRACE)).len();
    asked += parted(&bench.pass(Millis(2 * PRUNE_SOON.0))).len();
    assert!(asked >= 1, "{asked}");
    assert!(asked <= MAX_CONNECTED_PEERS - FULL_PEERS, "{asked}");
}

#[test]
fn a_full_table_makes_room_for_whom_it_asked_for() {
    let mut bench = full(FULL_PEERS);
    let peer = Remote::new(99).id;
    bench.pass(PRUNE_GRACE);
    bench.find([peer]);
    let mut ask = request(1);
    ask.route = Route::PeerId(peer);
    assert_eq!(dials(&bench.command(Command::Ask(ask))), [peer]);
    for byte in 50..52 {
        bench.connect(Remote::new(byte).id);
    }
    assert_eq!(bench.snapshot().peers.len(), MAX_CONNECTED_PEERS);
    let outputs = bench.connect(peer);
    let gone = |output: &Output| match output {
        Output::Disconnect { peer } => Some(*peer),
        _ => None,
    };
    let gone: Vec<NodeId> = outputs.iter().filter_map(gone).collect();
    assert_eq!(gone.len(), 1);
    assert_ne!(gone[0], peer);
}

#[test]
fn who_is_asked_to_leave_does_and_dials_those_it_was_told_of() {
    let mut bench = Bench::new();
    bench.reserve();
    let full = Remote::new(1);
    bench.find([full.id]);
    bench.connect(full.id);
    let others = [Remote::new(2).id, Remote::new(3).id];
    let outputs = hear(&mut bench, &full, others.into_iter().chain([bench_id()]));
    assert!(outputs.contains(&Output::Disconnect { peer: full.id }));
    let mut dialled = dials(&outputs);
    dialled.sort();
    let mut expected = others.to_vec();
    expected.sort();
    assert_eq!(dialled, expected, "and never ourselves");
    bench.tell(Input::Disconnected { peer: full.id });
    let outputs = bench.pass(Millis(PARTED_PAUSE.0 - 1));
    assert!(!dials(&outputs).contains(&full.id));
    let outputs = bench.pass(DIAL_BACKOFF_MAX);
    assert!(dials(&outputs).contains(&full.id), "it has room again");
}

#[test]
fn hints_without_end_fill_only_their_part_of_the_memory() {
    let mut bench = Bench::new();
    bench.reserve();
    bench.tell(Input::Online(false));
    let liar = Remote::new(1);
    let honest: Vec<NodeId> = (2..60).map(|byte| Remote::new(byte).id).collect();
    bench.find(honest.iter().copied());
    for round in 0..40_u8 {
        bench.connect(liar.id);
        let invented = (0..8).map(|number| made_up(round, number));
        hear(&mut bench, &liar, invented);
        bench.tell(Input::Disconnected { peer: liar.id });
        bench.pass(Millis(1_000));
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut dialled = dials(&bench.tell(Input::Online(true)));
    for _ in 0..900 {
        while let Some(peer) = dialled.pop() {
            seen.insert(peer);
            let reason = "nobody".to_owned();
            dialled.extend(dials(&bench.tell(Input::DialFailed { peer, reason })));
        }
        dialled.extend(dials(&bench.pass(Millis(1_000))));
    }
    let invented = seen.iter().filter(|peer| !honest.contains(peer)).count();
    assert!(invented <= MAX_HINTED_KNOWN + 1, "{invented}");
    assert!(
        honest.iter().all(|peer| seen.contains(peer)),
        "none was pushed out"
    );
}

#[test]
fn a_hint_over_its_limit_is_a_breach() {
    let mut bench = Bench::new();
    let liar = Remote::new(1);
    bench.connect(liar.id);
    let outputs = hear(&mut bench, &liar, (0..9).map(|number| made_up(1, number)));
    let breach = |output: &Output| {
        matches!(
            output,
            Output::Notify(thrum_protocol::view::Event::Misbehaviour { .. })
        )
    };
    assert!(outputs.iter().any(breach));
    assert!(!outputs.contains(&Output::Disconnect { peer: liar.id }));
}

#[test]
fn good_links_are_kept_and_bad_ones_exchanged_slowly() {
    let strangers = || (100..160).map(|byte| Remote::new(byte).id);
    let mut good = full(TARGET_PEERS);
    for byte in 1..=12 {
        let peer = Remote::new(byte).id;
        good.tell(Input::RoundTrip {
            peer,
            rtt: Millis(1),
        });
        good.connect_donor(&Remote::new(byte));
    }
    good.find(strangers());
    let hour = Millis(60 * 60_000);
    let few = dials(&good.pass(hour)).len();
    let mut bad = full(TARGET_PEERS);
    for byte in 1..=12 {
        far_away(&mut bad, Remote::new(byte).id);
    }
    bad.find(strangers());
    assert_eq!(dials(&bad.pass(Millis(CHURN_PERIOD.0 / 2 - 1))), []);
    let first = dials(&bad.pass(CHURN_PERIOD));
    assert_eq!(first.len(), 1, "one at a time");
    // Only the links drawn by lot are ever drawn anew: half of those dials are due in an hour.
    assert!((8..=30).contains(&few), "{few} dials in an hour");
    // The newcomer is near: a far one makes room for it.
    bad.connect(first[0]);
    bad.tell(Input::RoundTrip {
        peer: first[0],
        rtt: Millis(5),
    });
    let asked = parted(&bad.pass(PRUNE_GRACE));
    assert_eq!(asked.len(), 1);
    assert_ne!(asked[0].1, first[0]);
}

#[test]
fn with_links_enough_no_relay_is_burdened_with_another() {
    let ladder = |links: usize| {
        let mut bench = Bench::new();
        bench.reserve();
        for byte in 1..=links {
            bench.connect(Remote::new(u8::try_from(byte).unwrap()).id);
        }
        let peer = Remote::new(99).id;
        let mut outputs = bench.find([peer]);
        for _ in 0..3 {
            let reason = "no way".to_owned();
            outputs.extend(bench.tell(Input::DialFailed { peer, reason }));
        }
        dials(&outputs).len()
    };
    assert_eq!(ladder(ENOUGH_PEERS - 1), 3);
    assert_eq!(ladder(ENOUGH_PEERS), 1);
}

/// A machine with so many neighbours, whose addresses it knows.
fn full(count: usize) -> Bench {
    let mut bench = Bench::new();
    bench.reserve();
    bench.tell(Input::Online(false));
    let count = u8::try_from(count).expect("few");
    bench.find((1..=count).map(|byte| Remote::new(byte).id));
    for byte in 1..=count {
        let peer = Remote::new(byte).id;
        bench.connect(peer);
        bench.tell(Input::RoundTrip {
            peer,
            rtt: Millis(20),
        });
    }
    bench.tell(Input::Online(true));
    bench
}

fn far_away(bench: &mut Bench, peer: NodeId) {
    let rtt = Millis(5_000);
    bench.tell(Input::RoundTrip { peer, rtt });
}

fn bench_id() -> NodeId {
    Bench::new().id
}

fn made_up(round: u8, number: u8) -> NodeId {
    let mut secret = [77; 32];
    secret[0] = round;
    secret[1] = number;
    let key = SigningKey::from_bytes(&secret);
    NodeId::from_public_key(key.verifying_key().to_bytes()).expect("a public half")
}

fn hear(bench: &mut Bench, from: &Remote, peers: impl IntoIterator<Item = NodeId>) -> Vec<Output> {
    let hinted = |peer_id| HintedPeer {
        peer_id,
        addresses: vec!["/addr".to_owned()],
    };
    let hint = Hint {
        peers: peers.into_iter().map(hinted).collect(),
    };
    let stream = bench.accept(from.id, StreamKind::Hint).0;
    let bytes = hint.seal(from.key());
    bench.tell(Input::Frame { stream, bytes })
}

fn parted(outputs: &[Output]) -> Vec<(StreamId, NodeId)> {
    let part = |output: &Output| match output {
        Output::Open {
            stream,
            peer,
            kind: StreamKind::Hint,
        } => Some((*stream, *peer)),
        _ => None,
    };
    outputs.iter().filter_map(part).collect()
}

fn hint_in(outputs: &[Output], on: StreamId) -> Hint {
    let said = |output: &Output| match output {
        Output::Send { stream, frame } if *stream == on => Hint::open(frame).ok(),
        _ => None,
    };
    outputs.iter().find_map(said).expect("a hint is sent").1
}

fn dials(outputs: &[Output]) -> Vec<NodeId> {
    let dial = |output: &Output| match output {
        Output::Dial { peer, .. } => Some(*peer),
        _ => None,
    };
    outputs.iter().filter_map(dial).collect()
}
