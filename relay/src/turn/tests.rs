//! TURN by a virtual clock: what a browser does, what quotas allow, and what the hostile get.

mod rig;

use proptest::prelude::*;

use super::requests::name_refusal;
use super::secret::REALM;
use super::*;
use crate::limits::{
    ALLOCATION_LIFETIME, CHANNEL_LIFETIME, CREDENTIAL_LIFETIME, MAX_ALLOCATION_AGE,
    MAX_ALLOCATIONS, MAX_ALLOCATIONS_PER_PEER, MAX_PERMISSIONS, NONCE_LIFETIME,
    PERMISSION_LIFETIME, REQUESTS_PER_ADDRESS, TURN_RATE,
};
use rig::{NOON, RELAY, Rig, allocated, client, error_of, with_udp};

/// A channel that clients may bind.
const CHANNEL: u16 = 0x4001;

#[test]
fn a_binding_request_is_told_its_address() {
    let mut rig = Rig::new(false);
    let asked = client("192.0.2.7:4321");
    let draft = Draft::new(Class::Request, Method::Binding, TransactionId([9; 12]));
    let answer = rig.ask(asked, &draft.unsigned()).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert_eq!(message.class, Class::Success);
    assert_eq!(message.transaction.0, [9; 12]);
    let mapped = message.address(attribute::XOR_MAPPED_ADDRESS);
    assert_eq!(mapped, Some(asked.address));

    let draft = Draft::new(Class::Request, Method::Binding, TransactionId([9; 12]));
    let answer = rig
        .ask(asked, &draft.with(0x7FFF, b"?").unsigned())
        .unwrap();
    let message = Message::parse(&answer).unwrap();
    assert_eq!(error_of(&message), 420);
    let unknown = message.value(attribute::UNKNOWN_ATTRIBUTES);
    assert_eq!(unknown, Some(&[0x7F, 0xFF][..]));
}

#[test]
fn an_allocation_carries_both_ways_by_indication_and_by_channel() {
    let mut rig = Rig::new(false);
    let (mut alice, port) = allocated(&mut rig);
    assert_eq!(alice.permit(&mut rig, "1.1.1.1"), 0);
    alice.send(&mut rig, "1.1.1.1:7", b"to the peer");
    let sent = rig.to_peers.pop().unwrap();
    assert_eq!(
        sent,
        (port, "1.1.1.1:7".parse().unwrap(), b"to the peer".to_vec())
    );

    let told = rig.hear_peer(port, "1.1.1.1:8", b"to the client").unwrap();
    let message = Message::parse(&told).unwrap();
    assert_eq!(
        (message.class, message.method),
        (Class::Indication, Method::Data)
    );
    assert_eq!(message.value(attribute::DATA), Some(&b"to the client"[..]));
    let from = message.address(attribute::XOR_PEER_ADDRESS);
    assert_eq!(from, Some("1.1.1.1:8".parse().unwrap()));

    assert_eq!(alice.bind(&mut rig, CHANNEL, "1.1.1.1:8"), 0);
    let told = rig.hear_peer(port, "1.1.1.1:8", b"short").unwrap();
    assert_eq!(told, channel_data(CHANNEL, b"short"));
    rig.ask(alice.client, &channel_data(CHANNEL, b"shorter"));
    let sent = rig.to_peers.pop().unwrap();
    assert_eq!(
        sent,
        (port, "1.1.1.1:8".parse().unwrap(), b"shorter".to_vec())
    );
    assert_eq!(rig.server.stats().n_bytes_to_peers, 11 + 7);
    assert_eq!(rig.server.stats().n_bytes_to_clients, 13 + 5);
}

#[test]
fn two_clients_of_one_relay_meet_inside_it() {
    let mut rig = Rig::new(false);
    let (mut alice, a) = allocated(&mut rig);
    let mut bob = rig.user("203.0.113.2:2000", "bob");
    let b = bob.allocate(&mut rig).unwrap();
    let (at_a, at_b) = (format!("{RELAY}:{a}"), format!("{RELAY}:{b}"));
    assert_eq!(alice.permit(&mut rig, &RELAY.to_string()), 0);
    alice.send(&mut rig, &at_b, b"too early");
    assert!(rig.to_clients.is_empty(), "bob permitted nobody");
    assert_eq!(bob.bind(&mut rig, CHANNEL, &at_a), 0);
    let bytes = Draft::new(Class::Indication, Method::Send, TransactionId([0; 12]))
        .with_address(attribute::XOR_PEER_ADDRESS, at_b.parse().unwrap())
        .with(attribute::DATA, b"hello")
        .unsigned();
    rig.handle(Input::FromClient {
        client: alice.client,
        bytes: &bytes,
    });
    let (to, bytes) = rig.to_clients.pop().unwrap();
    assert_eq!((to, bytes), (bob.client, channel_data(CHANNEL, b"hello")));
    assert!(rig.to_peers.is_empty(), "nothing left the machine");
}

#[test]
fn nothing_is_relayed_into_the_relays_network() {
    let mut rig = Rig::new(false);
    let (mut alice, _) = allocated(&mut rig);
    for ip in [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "0.0.0.0",
    ] {
        assert_eq!(alice.permit(&mut rig, ip), 403, "{ip}");
        let peer = format!("{ip}:53");
        assert_eq!(alice.bind(&mut rig, CHANNEL, &peer), 403, "{ip}");
        alice.send(&mut rig, &peer, b"x");
    }
    assert_eq!(alice.permit(&mut rig, "2606:4700::1"), 443);
    // The relay's own address is permitted for its relayed ports, and for nothing else there.
    assert_eq!(alice.permit(&mut rig, &RELAY.to_string()), 0);
    alice.send(&mut rig, &format!("{RELAY}:8080"), b"GET /metrics");
    alice.send(&mut rig, &format!("{RELAY}:0"), b"x");
    assert!(rig.to_peers.is_empty());

    let mut rig = Rig::new(true);
    let (mut alice, _) = allocated(&mut rig);
    assert_eq!(alice.permit(&mut rig, "127.0.0.1"), 0);
    alice.send(&mut rig, "127.0.0.1:53", b"x");
    assert_eq!(rig.to_peers.len(), 1);
    assert_eq!(alice.permit(&mut rig, "224.0.0.1"), 403);
}

#[test]
fn only_the_permitted_are_heard_and_only_for_a_while() {
    let mut rig = Rig::new(false);
    let (mut alice, port) = allocated(&mut rig);
    assert_eq!(rig.hear_peer(port, "1.1.1.1:1", b"x"), None);
    assert_eq!(alice.permit(&mut rig, "1.1.1.1"), 0);
    assert!(rig.hear_peer(port, "1.1.1.1:1", b"x").is_some());
    assert_eq!(rig.hear_peer(port, "1.1.1.2:1", b"x"), None);
    rig.pass(PERMISSION_LIFETIME);
    assert_eq!(rig.hear_peer(port, "1.1.1.1:1", b"x"), None);

    assert_eq!(alice.bind(&mut rig, CHANNEL, "1.1.1.1:1"), 0);
    assert!(rig.hear_peer(port, "1.1.1.1:1", b"x").is_some());
    assert_eq!(alice.refresh(&mut rig, 600), 0);
    rig.pass(CHANNEL_LIFETIME - Duration::from_secs(1));
    assert_eq!(alice.refresh(&mut rig, 600), 0);
    rig.pass(Duration::from_secs(1));
    rig.ask(alice.client, &channel_data(CHANNEL, b"x"));
    assert!(rig.to_peers.is_empty(), "the channel is no longer bound");
    assert_eq!(rig.n_refused(Refusal::NoPermission), 3);
}

#[test]
fn a_channel_and_its_peer_are_bound_to_each_other() {
    let mut rig = Rig::new(false);
    let (mut alice, _) = allocated(&mut rig);
    assert_eq!(alice.bind(&mut rig, CHANNEL, "1.1.1.1:1"), 0);
    assert_eq!(
        alice.bind(&mut rig, CHANNEL, "1.1.1.1:1"),
        0,
        "again is a refresh"
    );
    assert_eq!(alice.bind(&mut rig, CHANNEL, "1.1.1.1:2"), 400);
    assert_eq!(alice.bind(&mut rig, CHANNEL + 1, "1.1.1.1:1"), 400);
    assert_eq!(alice.bind(&mut rig, 0x3FFF, "1.1.1.1:3"), 400);
    assert_eq!(alice.bind(&mut rig, 0x5000, "1.1.1.1:3"), 400);
}

#[test]
fn an_allocation_ends_unless_refreshed_and_at_an_age_in_any_case() {
    let mut rig = Rig::new(false);
    let (mut alice, _) = allocated(&mut rig);
    rig.pass(ALLOCATION_LIFETIME - Duration::from_secs(1));
    assert_eq!(rig.open.len(), 1);
    rig.pass(Duration::from_secs(1));
    assert!(rig.open.is_empty());
    assert_eq!(alice.refresh(&mut rig, 600), 437);

    let (mut alice, _) = allocated(&mut rig);
    let began = rig.elapsed;
    while alice.refresh(&mut rig, 600) == 0 {
        rig.pass(ALLOCATION_LIFETIME / 2);
    }
    assert!(rig.open.is_empty());
    assert_eq!(rig.elapsed - began, MAX_ALLOCATION_AGE);

    let (mut alice, _) = allocated(&mut rig);
    assert_eq!(alice.refresh(&mut rig, 0), 0);
    assert!(rig.open.is_empty(), "a lifetime of zero ends it at once");
}

#[test]
fn credentials_that_ran_out_open_nothing_and_keep_what_is_open() {
    let mut rig = Rig::new(false);
    let (mut alice, _) = allocated(&mut rig);
    let mut late = rig.user("192.0.2.9:9", "alice");
    rig.pass(CREDENTIAL_LIFETIME - Duration::from_secs(1));
    assert_eq!(alice.refresh(&mut rig, 600), 0);
    rig.pass(Duration::from_secs(1));
    assert_eq!(late.allocate(&mut rig), Err(401));
    assert_eq!(alice.refresh(&mut rig, 600), 0);
    assert_eq!(alice.permit(&mut rig, "1.1.1.1"), 0);
    assert_eq!(rig.open.len(), 1);
}

#[test]
fn only_whoever_has_credentials_and_a_nonce_gets_a_port() {
    let mut rig = Rig::new(false);
    let asked = client("192.0.2.1:1000");
    let draft = with_udp(Draft::new(
        Class::Request,
        Method::Allocate,
        TransactionId([1; 12]),
    ));
    let answer = rig.ask(asked, &draft.unsigned()).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert_eq!(error_of(&message), 401);
    assert_eq!(message.text(attribute::REALM), Some(REALM));
    assert!(message.text(attribute::NONCE).is_some());

    let mut liar = rig.user("192.0.2.1:1000", "alice");
    liar.credentials.password.push('x');
    assert_eq!(liar.allocate(&mut rig), Err(401));
    let mut liar = rig.user("192.0.2.1:1000", "alice");
    liar.credentials.username = liar.credentials.username.replace("alice", "bob");
    assert_eq!(liar.allocate(&mut rig), Err(401));

    let (mut alice, _) = allocated(&mut rig);
    let mut mallory = rig.user("192.0.2.1:1000", "mallory");
    assert_eq!(
        mallory.refresh(&mut rig, 0),
        441,
        "another's allocation at one's address"
    );
    // A request read off the wire is of no use at another address, nor later.
    let draft = alice.draft(Method::Refresh);
    let stolen = alice.signed(draft);
    let answer = rig.ask(client("192.0.2.66:6"), &stolen).unwrap();
    assert_eq!(error_of(&Message::parse(&answer).unwrap()), 438);
    rig.pass(NONCE_LIFETIME - Duration::from_secs(60));
    assert_eq!(alice.refresh(&mut rig, 600), 0);
    rig.pass(Duration::from_secs(120));
    let answer = rig.ask(alice.client, &stolen).unwrap();
    assert_eq!(error_of(&Message::parse(&answer).unwrap()), 438);
    assert_eq!(rig.open.len(), 1);
}

#[test]
fn an_allocate_that_comes_twice_is_answered_twice_and_done_once() {
    let mut rig = Rig::new(false);
    let (mut alice, _) = allocated(&mut rig);
    alice.n_asked -= 1; // The same transaction again.
    let draft = with_udp(alice.draft(Method::Allocate));
    let again = alice.signed(draft);
    let answer = rig.ask(alice.client, &again).unwrap();
    let message = Message::parse(&answer).unwrap();
    assert_eq!(message.class, Class::Success);
    assert!(message.address(attribute::XOR_RELAYED_ADDRESS).is_some());
    assert_eq!(rig.open.len(), 1);
    assert_eq!(alice.allocate(&mut rig), Err(437), "another transaction");
}

#[test]
fn wishes_that_the_relay_does_not_grant_are_named() {
    let mut rig = Rig::new(false);
    let mut check = |kinds: &[(u16, &[u8])], expected| {
        let mut tester = rig.user("192.0.2.1:1000", "alice");
        let fill = |draft: Draft| {
            let with = |draft: Draft, (kind, value): &(u16, &[u8])| draft.with(*kind, value);
            kinds.iter().fold(draft, with)
        };
        assert_eq!(
            tester.ask(&mut rig, Method::Allocate, fill),
            expected,
            "{kinds:?}"
        );
    };
    let udp: (u16, &[u8]) = (attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
    check(&[], 400);
    check(&[(attribute::REQUESTED_TRANSPORT, &[17])], 400);
    check(&[(attribute::REQUESTED_TRANSPORT, &[6, 0, 0, 0])], 442);
    check(
        &[udp, (attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])],
        440,
    );
    check(&[udp, (0x0018, &[0x80, 0, 0, 0])], 420); // EVEN-PORT
    check(&[udp, (0x0022, &[0; 8])], 420); // RESERVATION-TOKEN
    check(
        &[udp, (attribute::REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0])],
        0,
    );
}

#[test]
fn quotas_hold_per_peer_per_address_and_in_all() {
    let mut rig = Rig::new(false);
    for n in 0..MAX_ALLOCATIONS_PER_PEER {
        let mut tester = rig.user(&format!("1.0.0.{n}:1"), "greedy");
        tester.allocate(&mut rig).unwrap();
    }
    let mut tester = rig.user("1.0.1.1:1", "greedy");
    assert_eq!(tester.allocate(&mut rig), Err(486));

    let mut rig = Rig::new(false);
    for n in 0..MAX_ALLOCATIONS_PER_IP {
        rig.pass(Duration::from_secs(1)); // The address's requests are counted as well.
        let mut tester = rig.user(&format!("[2001:db8::{n:x}]:1"), &n.to_string());
        tester.allocate(&mut rig).unwrap();
    }
    rig.pass(Duration::from_secs(1));
    let mut tester = rig.user("[2001:db8::ffff]:1", "another");
    assert_eq!(tester.allocate(&mut rig), Err(486));
    let mut tester = rig.user("[2001:db8:0:1::1]:1", "another");
    tester.allocate(&mut rig).unwrap();

    let mut rig = Rig::new(false);
    for n in 0..MAX_ALLOCATIONS {
        let mut tester = rig.user(&format!("1.{}.{}.1:1", n / 256, n % 256), &n.to_string());
        tester.allocate(&mut rig).unwrap();
    }
    let mut tester = rig.user("2.0.0.1:1", "late");
    assert_eq!(tester.allocate(&mut rig), Err(508));
    rig.pass(ALLOCATION_LIFETIME);
    let mut tester = rig.user("2.0.0.1:1", "late");
    tester.allocate(&mut rig).unwrap();
    assert_eq!(rig.open.len(), 1);
}

#[test]
fn permissions_have_an_end() {
    let mut rig = Rig::new(false);
    let (mut alice, _) = allocated(&mut rig);
    for n in 0..MAX_PERMISSIONS {
        rig.pass(Duration::from_secs(1));
        assert_eq!(alice.permit(&mut rig, &format!("1.1.1.{n}")), 0);
    }
    assert_eq!(alice.permit(&mut rig, "2.2.2.2"), 508);
    assert_eq!(
        alice.permit(&mut rig, "1.1.1.0"),
        0,
        "one that is permitted already"
    );
    rig.pass(PERMISSION_LIFETIME);
    assert_eq!(alice.permit(&mut rig, "2.2.2.2"), 0);
}

#[test]
fn a_peer_is_carried_at_its_rate() {
    let mut rig = Rig::new(false);
    let (mut alice, _) = allocated(&mut rig);
    assert_eq!(alice.permit(&mut rig, "1.1.1.1"), 0);
    for _ in 0..1000 {
        alice.send(&mut rig, "1.1.1.1:1", &[0; 1000]);
    }
    let n_bytes = 1000 * rig.to_peers.len() as u64;
    assert_eq!(n_bytes, TURN_RATE.burst);
    rig.to_peers.clear();
    for _ in 0..1000 {
        rig.pass(Duration::from_millis(1));
        alice.send(&mut rig, "1.1.1.1:1", &[0; 1000]);
    }
    assert_eq!(1000 * rig.to_peers.len() as u64, TURN_RATE.per_sec);
}

#[test]
fn a_flood_without_credentials_takes_no_memory() {
    let mut rig = Rig::new(false);
    let n_flooders = 100_000_u32;
    for n in 0..n_flooders {
        let mut tester = rig.user("192.0.2.1:1", "nobody");
        tester.client.address = SocketAddr::from((n.to_be_bytes(), 1));
        let draft = with_udp(tester.draft(Method::Allocate));
        let forged = tester.signed(draft);
        let bare = with_udp(tester.draft(Method::Allocate)).unsigned();
        for bytes in [&forged, &bare] {
            rig.handle(Input::FromClient {
                client: tester.client,
                bytes,
            });
        }
        rig.to_clients.clear();
    }
    let n_answered = rig.n_refused(Refusal::Unauthorized) + rig.n_refused(Refusal::StaleNonce);
    assert!(n_answered > 0);
    assert_eq!(
        n_answered + rig.n_refused(Refusal::RateLimit),
        2 * u64::from(n_flooders)
    );
    assert_eq!(rig.server.n_allocations(), 0);
    assert_eq!(rig.server.accounts.len(), 0);
    assert!(rig.server.outputs.is_empty());
    assert_eq!(rig.server.next_wake(), None);
}

#[test]
fn one_address_is_answered_at_a_rate_whatever_ports_it_uses() {
    let mut rig = Rig::new(false);
    let draft = || Draft::new(Class::Request, Method::Binding, TransactionId([1; 12])).unsigned();
    let mut n_answered = 0;
    for port in 1..5000 {
        let asked = client(&format!("192.0.2.1:{port}"));
        n_answered += u64::from(rig.ask(asked, &draft()).is_some());
    }
    assert_eq!(n_answered, REQUESTS_PER_ADDRESS.burst);
    // Whoever has an allocation is heard all the same.
    rig.pass(Duration::from_secs(3));
    let (mut alice, _) = allocated(&mut rig);
    for port in 1..5000 {
        rig.ask(client(&format!("192.0.2.1:{port}")), &draft());
    }
    assert_eq!(alice.refresh(&mut rig, 600), 0);
}

#[test]
fn without_terms_there_is_stun_and_no_turn() {
    let mut rig = Rig::new(false);
    rig.server = Server::new(None, rig.secret.clone(), 1);
    let mut tester = rig.user("192.0.2.1:1", "alice");
    assert_eq!(tester.allocate(&mut rig), Err(u16::MAX), "no answer");
    assert_eq!(tester.ask(&mut rig, Method::Binding, |draft| draft), 0);
}

#[test]
fn a_port_that_cannot_be_had_is_told_and_forgotten() {
    let mut server = Rig::new(false).server;
    let rig = Rig::new(false);
    let mut tester = rig.user("192.0.2.1:1", "alice");
    let now = Now {
        elapsed: Duration::ZERO,
        unix_secs: NOON,
    };
    tester.nonce = rig.secret.nonce(tester.client.address, NOON);
    let draft = with_udp(tester.draft(Method::Allocate));
    let bytes = tester.signed(draft);
    server.handle(
        now,
        Input::FromClient {
            client: tester.client,
            bytes: &bytes,
        },
    );
    let Some(Output::Open { relay }) = server.poll() else {
        panic!("it asks for a socket");
    };
    server.handle(now, Input::Opened { relay, port: None });
    let Some(Output::ToClient { bytes, .. }) = server.poll() else {
        panic!("it tells the client");
    };
    assert_eq!(error_of(&Message::parse(&bytes).unwrap()), 508);
    assert_eq!(server.n_allocations(), 0);
    assert_eq!(server.accounts.n_allocations("alice"), 0);
}

#[test]
fn oversized_and_garbled_datagrams_are_dropped() {
    let mut rig = Rig::new(false);
    let (alice, port) = allocated(&mut rig);
    let long = vec![0; MAX_DATAGRAM_BYTES + 1];
    for bytes in [
        &long[..],
        b"",
        b"x",
        &[0x40],
        &[0x40, 1, 0xFF, 0xFF, 1],
        &[0xFF; 40],
        &[0; 20],
    ] {
        assert_eq!(rig.ask(alice.client, bytes), None);
    }
    assert_eq!(rig.hear_peer(port, "1.1.1.1:1", &long), None);
    assert_eq!(rig.n_refused(Refusal::Oversized), 2);
    let answer = Draft::new(Class::Error, Method::Allocate, TransactionId([1; 12]));
    let answer = name_refusal(answer, Refusal::Forbidden).unsigned();
    assert_eq!(
        rig.ask(alice.client, &answer),
        None,
        "answers are not answered"
    );
}

/// What a hostile or confused client may do.
#[derive(Debug, Clone)]
enum Act {
    Allocate,
    Bind(u16, u8),
    Channel(u16, Vec<u8>),
    Garbage(Vec<u8>),
    Pass(u16),
    Peer(u8, Vec<u8>),
    Permit(u8),
    Refresh(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        Just(Act::Allocate),
        (0x3FFE_u16..0x4004, 0_u8..4).prop_map(|(channel, peer)| Act::Bind(channel, peer)),
        (0x4000_u16..0x4004, bytes()).prop_map(|(channel, data)| Act::Channel(channel, data)),
        bytes().prop_map(Act::Garbage),
        (0_u16..400).prop_map(Act::Pass),
        (0_u8..4, bytes()).prop_map(|(peer, data)| Act::Peer(peer, data)),
        (0_u8..4).prop_map(Act::Permit),
        (0_u32..1000).prop_map(Act::Refresh),
    ]
}

proptest! {
    /// Whatever clients do and in which order: no panic, a socket for each allocation and none
    /// else, nothing over a quota, and in the end nothing is left.
    #[test]
    fn any_sequence_keeps_the_books(acts in prop::collection::vec((0_usize..6, act()), 0..120)) {
        let mut rig = Rig::new(false);
        let mut testers: Vec<_> = (0..6)
            .map(|n| rig.user(&format!("192.0.2.1:{}", 100 + n), "one peer"))
            .collect();
        for (who, act) in acts {
            let tester = &mut testers[who];
            match act {
                Act::Allocate => _ = tester.allocate(&mut rig),
                Act::Bind(channel, peer) => _ = tester.bind(&mut rig, channel, &format!("1.1.1.{peer}:1")),
                Act::Channel(channel, data) => _ = rig.ask(tester.client, &channel_data(channel, &data)),
                Act::Garbage(bytes) => _ = rig.ask(tester.client, &bytes),
                Act::Pass(secs) => rig.pass(Duration::from_secs(secs.into())),
                Act::Peer(peer, data) => {
                    if let Some(port) = rig.open.values().next().copied() {
                        rig.hear_peer(port, &format!("1.1.1.{peer}:1"), &data);
                    }
                }
                Act::Permit(peer) => _ = tester.permit(&mut rig, &format!("1.1.1.{peer}")),
                Act::Refresh(secs) => _ = tester.refresh(&mut rig, secs),
            }
            prop_assert_eq!(rig.open.len(), rig.server.n_allocations());
            prop_assert!(rig.open.len() <= MAX_ALLOCATIONS_PER_PEER);
            prop_assert_eq!(rig.server.accounts.n_allocations("one peer"), rig.open.len());
        }
        rig.pass(MAX_ALLOCATION_AGE);
        prop_assert!(rig.open.is_empty());
        prop_assert_eq!(rig.server.accounts.n_allocations("one peer"), 0);
    }
}
