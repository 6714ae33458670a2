//! What the store promises, by a clock that the test moves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::PeerRecord;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use proptest::prelude::*;

use super::wire::{Discover, Kind, Message, Register, Status, Unregister};
use super::{Claim, Outcome, Refusal, Store};
use crate::limits::{
    MAX_DISCOVERED, MAX_FOREIGN_PER_RELAY, MAX_RECORD_BYTES, MAX_REGISTRATION_SECS,
    MAX_REGISTRATIONS_PER_PEER, MAX_REMEMBERED_DROPS, MIN_REGISTRATION_SECS,
};

const START: Duration = Duration::from_secs(1_000);
const TTL: u64 = 120;

fn peer_of(key: &Keypair) -> PeerId {
    key.public().to_peer_id()
}

/// A record that leads through a relay, in its envelope.
fn envelope(key: &Keypair, relay: PeerId) -> Arc<[u8]> {
    let address: Multiaddr = "/ip4/192.0.2.1/tcp/1/ws".parse().unwrap();
    let address = address
        .with(Protocol::P2p(relay))
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(peer_of(key)));
    let record = PeerRecord::new(key, vec![address]).unwrap();
    record
        .into_signed_envelope()
        .into_protobuf_encoding()
        .into()
}

fn claim(key: &Keypair, relay: PeerId, namespace: &str) -> Claim {
    Claim {
        namespace: namespace.to_owned(),
        envelope: envelope(key, relay),
        ttl_secs: TTL,
    }
}

fn key() -> Keypair {
    Keypair::generate_ed25519()
}

/// Who is told in a page, and the cookie that came with it.
#[expect(
    clippy::unwrap_in_result,
    reason = "only what the relay says is an error; what it cannot say ends the test"
)]
fn discover(
    store: &mut Store,
    now: Duration,
    namespace: Option<&str>,
    limit: Option<u64>,
    cookie: Option<Vec<u8>>,
) -> Result<(Vec<PeerId>, Vec<u8>), Status> {
    let request = Message {
        kind: Some(Kind::Discover.into()),
        discover: Some(Discover {
            namespace: namespace.map(str::to_owned),
            limit,
            cookie,
        }),
        ..Message::default()
    };
    let (_, answer) = store.answer(now, PeerId::random(), request);
    let response = answer.unwrap().discover_response.unwrap();
    let status = Status::try_from(response.status.unwrap()).unwrap();
    if status != Status::Ok {
        return Err(status);
    }
    let peers = response.registrations.iter().map(|it| {
        let record = super::Record::open(it.record.as_ref().unwrap()).unwrap();
        assert!(it.ttl.unwrap() > 0);
        record.peer
    });
    Ok((peers.collect(), response.cookie.unwrap()))
}

fn all(store: &mut Store, now: Duration) -> BTreeSet<PeerId> {
    let (peers, _) = discover(store, now, Some("n"), None, None).unwrap();
    peers.into_iter().collect()
}

fn store() -> Store {
    Store::new(1)
}

#[test]
fn a_registration_lives_until_its_time_is_up() {
    let (mut store, peer, relay) = (store(), key(), PeerId::random());
    let ttl = store.register(START, peer_of(&peer), claim(&peer, relay, "n"));
    assert_eq!(ttl, Ok(TTL));
    let end = START + Duration::from_secs(TTL);
    assert_eq!(
        all(&mut store, end - Duration::from_millis(1)),
        [peer_of(&peer)].into()
    );
    assert_eq!(all(&mut store, end), [].into());
    assert_eq!((store.n_own(), store.n_foreign()), (0, 0));
}

#[test]
fn what_cannot_be_is_refused() {
    let (mut store, peer, relay) = (store(), key(), PeerId::random());
    let own = peer_of(&peer);
    let good = claim(&peer, relay, "n");
    let mut refused = |claim: Claim| store.register(START, own, claim).unwrap_err();
    for ttl_secs in [0, MIN_REGISTRATION_SECS - 1, MAX_REGISTRATION_SECS + 1] {
        let bad = Claim {
            ttl_secs,
            ..good.clone()
        };
        assert_eq!(refused(bad), Refusal::Ttl);
    }
    for namespace in [String::new(), "n".repeat(256)] {
        let bad = Claim {
            namespace,
            ..good.clone()
        };
        assert_eq!(refused(bad), Refusal::Namespace);
    }
    let mut forged = good.envelope.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    for envelope in [vec![], vec![0; MAX_RECORD_BYTES + 1], vec![7; 100], forged] {
        let envelope = envelope.into();
        assert_eq!(
            refused(Claim {
                envelope,
                ..good.clone()
            }),
            Refusal::Unsigned
        );
    }
    assert_eq!(refused(claim(&key(), relay, "n")), Refusal::NotTheirs);
    assert_eq!(all(&mut store, START), [].into());
}

#[test]
fn a_peer_has_its_namespaces_and_gives_them_back() {
    let (mut store, peer, relay) = (store(), key(), PeerId::random());
    let own = peer_of(&peer);
    for n in 0..MAX_REGISTRATIONS_PER_PEER {
        let claim = claim(&peer, relay, &n.to_string());
        store.register(START, own, claim).unwrap();
    }
    let more = claim(&peer, relay, "more");
    let refused = store.register(START, own, more.clone());
    assert_eq!(refused, Err(Refusal::TooManyOfPeer));
    store
        .register(START, own, claim(&peer, relay, "0"))
        .unwrap();
    let request = Message {
        kind: Some(Kind::Unregister.into()),
        unregister: Some(Unregister {
            namespace: Some("0".to_owned()),
        }),
        ..Message::default()
    };
    assert_eq!(
        store.answer(START, own, request),
        (Outcome::Unregistered, None)
    );
    store.register(START, own, more).unwrap();
}

#[test]
fn everybody_is_met_page_by_page_and_each_asker_begins_elsewhere() {
    let (mut store, relay) = (store(), PeerId::random());
    let peers: Vec<_> = (0..50).map(|_| key()).collect();
    for peer in &peers {
        store
            .register(START, peer_of(peer), claim(peer, relay, "n"))
            .unwrap();
    }
    let mut first_pages = BTreeSet::new();
    for _ in 0..20 {
        let (page, cookie) = discover(&mut store, START, Some("n"), Some(8), None).unwrap();
        assert_eq!(page.len(), 8);
        first_pages.insert(page.clone());
        let (mut met, mut cookie) = (page, cookie);
        while met.len() < peers.len() {
            let (page, next) =
                discover(&mut store, START, Some("n"), Some(8), Some(cookie)).unwrap();
            met.extend(page);
            cookie = next;
        }
        assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), peers.len());
        let (nothing, cookie) = discover(&mut store, START, Some("n"), None, Some(cookie)).unwrap();
        assert_eq!(nothing, []);
        // What changes later is told, and nothing else.
        let later = peer_of(&peers[7]);
        store
            .register(START, later, claim(&peers[7], relay, "n"))
            .unwrap();
        let (news, _) = discover(&mut store, START, Some("n"), None, Some(cookie)).unwrap();
        assert_eq!(news, [later]);
    }
    assert!(first_pages.len() > 10, "{}", first_pages.len());
}

#[test]
fn a_page_has_an_end_and_a_cookie_its_namespace() {
    let (mut store, relay) = (store(), PeerId::random());
    for _ in 0..=MAX_DISCOVERED {
        let peer = key();
        let claim = claim(&peer, relay, "n");
        store.learn(START, relay, claim).unwrap();
    }
    for (limit, expected) in [
        (None, MAX_DISCOVERED),
        (Some(u64::MAX), MAX_DISCOVERED),
        (Some(0), 1),
    ] {
        let (page, cookie) = discover(&mut store, START, Some("n"), limit, None).unwrap();
        assert_eq!(page.len(), expected);
        for other in [None, Some("m"), Some("nn")] {
            let wrong = discover(&mut store, START, other, None, Some(cookie.clone()));
            assert_eq!(wrong, Err(Status::InvalidCookie));
        }
    }
    for cookie in [vec![], vec![0; 7]] {
        let wrong = discover(&mut store, START, None, None, Some(cookie));
        assert_eq!(wrong, Err(Status::InvalidCookie));
    }
    let (everywhere, _) = discover(&mut store, START, None, Some(3), None).unwrap();
    assert_eq!(everywhere.len(), 3);
    assert_eq!(
        discover(&mut store, START, Some("m"), None, None)
            .unwrap()
            .0,
        []
    );
}

#[test]
fn a_peer_at_several_relays_is_told_once_and_as_long_as_one_knows_it() {
    let (mut store, peer) = (store(), key());
    let [here, first, second] = [(); 3].map(|()| PeerId::random());
    let own = peer_of(&peer);
    let learn = |store: &mut Store, relay| store.learn(START, relay, claim(&peer, relay, "n"));
    learn(&mut store, first).unwrap();
    learn(&mut store, second).unwrap();
    store.register(START, own, claim(&peer, here, "n")).unwrap();
    assert_eq!((store.n_own(), store.n_foreign()), (1, 2));
    for step in 0..3 {
        let (page, _) = discover(&mut store, START, Some("n"), None, None).unwrap();
        assert_eq!(page, [own], "at {step}");
        match step {
            0 => store.unregister(START, own, "n"),
            1 => store.forget(second),
            _ => store.unlearn(first, "n", own),
        }
    }
    assert_eq!(all(&mut store, START), [].into());
    assert_eq!((store.n_own(), store.n_foreign()), (0, 0));
}

#[test]
fn who_has_left_is_told_of_by_others_only() {
    let (mut store, peer, other) = (store(), key(), key());
    let [here, elsewhere] = [(); 2].map(|()| PeerId::random());
    let own = peer_of(&peer);
    for namespace in ["n", "m"] {
        let claim = claim(&peer, here, namespace);
        store.register(START, own, claim).unwrap();
    }
    store
        .learn(START, elsewhere, claim(&peer, elsewhere, "n"))
        .unwrap();
    let stays = claim(&other, here, "m");
    store.register(START, peer_of(&other), stays).unwrap();
    store.left(own);
    assert_eq!((store.n_own(), store.n_foreign()), (1, 1));
    let page = |store: &mut Store, namespace| {
        discover(store, START, Some(namespace), None, None)
            .unwrap()
            .0
    };
    assert_eq!(page(&mut store, "n"), [own]);
    assert_eq!(page(&mut store, "m"), [peer_of(&other)]);
    store.left(own);
    assert_eq!((store.n_own(), store.n_foreign()), (1, 1));
}

#[test]
fn a_federated_relay_speaks_for_its_own_peers_and_so_many() {
    let (mut store, relay, other) = (store(), PeerId::random(), PeerId::random());
    let peer = key();
    let elsewhere = store.learn(START, relay, claim(&peer, other, "n"));
    assert_eq!(elsewhere, Err(Refusal::NotThroughIt));
    let good = claim(&peer, relay, "n");
    for ttl_secs in [0, MAX_REGISTRATION_SECS + 1, u64::MAX] {
        let bad = Claim {
            ttl_secs,
            ..good.clone()
        };
        assert_eq!(store.learn(START, relay, bad), Err(Refusal::Ttl));
    }
    store.learn(START, relay, good.clone()).unwrap();
    // Another relay takes back nothing of it.
    store.unlearn(other, "n", peer_of(&peer));
    store.forget(other);
    assert_eq!(all(&mut store, START).len(), 1);
    let in_namespace = |n: usize| Claim {
        namespace: format!("n{n}"),
        ..good.clone()
    };
    for n in 1..MAX_FOREIGN_PER_RELAY {
        store.learn(START, relay, in_namespace(n)).unwrap();
    }
    let more = store.learn(START, relay, in_namespace(0));
    assert_eq!(more, Err(Refusal::TooMany));
    store
        .learn(START, other, claim(&key(), other, "n"))
        .unwrap();
    store.forget(relay);
    assert_eq!(store.n_foreign(), 1);
}

#[test]
fn an_old_record_replaces_no_newer_one() {
    let (mut store, peer, relay) = (store(), key(), PeerId::random());
    let old = claim(&peer, relay, "n");
    // Numbers of records are seconds or finer; wait for the next.
    let new = loop {
        let new = claim(&peer, relay, "n");
        let number = |it: &Claim| super::Record::open(&it.envelope).unwrap().sequence;
        if number(&new) > number(&old) {
            break new;
        }
    };
    store.learn(START, relay, new).unwrap();
    assert_eq!(store.learn(START, relay, old), Err(Refusal::Outdated));
}

#[test]
fn what_is_told_to_others_is_what_changed_here() {
    let (mut store, relay, other) = (store(), PeerId::random(), PeerId::random());
    let peers: Vec<_> = (0..3).map(|_| key()).collect();
    for peer in &peers {
        let claim = claim(peer, relay, "n");
        store.register(START, peer_of(peer), claim).unwrap();
    }
    store
        .learn(START, other, claim(&key(), other, "n"))
        .unwrap();
    let first = store.own_since(START, 0, 2);
    assert_eq!((first.claims.len(), first.drops.len()), (2, 0));
    let rest = store.own_since(START, first.upto, 10);
    assert_eq!(rest.claims.len(), 1, "what others told is not passed on");
    let upto = rest.upto;
    assert_eq!(store.own_since(START, upto, 10).claims, []);

    let gone = peer_of(&peers[0]);
    store.unregister(START, gone, "n");
    let renewed = claim(&peers[1], relay, "n");
    store.register(START, peer_of(&peers[1]), renewed).unwrap();
    let delta = store.own_since(START, upto, 10);
    assert_eq!(delta.drops, [("n".to_owned(), gone)]);
    assert_eq!(delta.claims.len(), 1);
    // Who begins anew is told all that holds.
    assert_eq!(store.own_since(START, 0, 10).claims.len(), 2);
}

#[test]
fn drops_are_not_remembered_for_ever() {
    let (mut store, peer, relay) = (store(), key(), PeerId::random());
    let claim = claim(&peer, relay, "n");
    for _ in 0..MAX_REMEMBERED_DROPS + 10 {
        let own = peer_of(&peer);
        store.register(START, own, claim.clone()).unwrap();
        store.unregister(START, own, "n");
    }
    let told = store.own_since(START, 0, usize::MAX);
    assert_eq!(told.drops.len(), MAX_REMEMBERED_DROPS);
    assert_eq!(told.claims, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever comes, what is counted is what is there, and when all time is up nothing is.
    #[test]
    fn nothing_is_left_behind(steps in prop::collection::vec((0..7_u8, 0..4_usize, 0..3_usize, 30..90_u64), 1..60)) {
        let keys: Vec<_> = (1..=4)
            .map(|n| Keypair::ed25519_from_bytes([n; 32]).unwrap())
            .collect();
        let relays = [&keys[0], &keys[1], &keys[2]].map(peer_of);
        let mut store = store();
        let mut now = START;
        let envelopes: Vec<Vec<_>> = keys
            .iter()
            .map(|key| relays.iter().map(|relay| envelope(key, *relay)).collect())
            .collect();
        for (kind, peer, relay, ttl_secs) in steps {
            let (namespace, envelope) = ("n".to_owned(), envelopes[peer][relay].clone());
            let claim = Claim { namespace, envelope, ttl_secs };
            let (own, relay) = (peer_of(&keys[peer]), relays[relay]);
            match kind {
                0 | 1 => drop(store.register(now, own, claim)),
                2 | 3 => drop(store.learn(now, relay, claim)),
                4 => store.unregister(now, own, "n"),
                5 => store.forget(relay),
                _ => now += Duration::from_secs(ttl_secs / 3),
            }
            let (told, _) = store.page(now, Some("n"), None, 100);
            prop_assert!(told.len() <= store.n_own() + store.n_foreign());
            prop_assert_eq!(store.own_since(now, 0, usize::MAX).claims.len(), store.n_own());
        }
        now += Duration::from_secs(90);
        prop_assert_eq!(all(&mut store, now), BTreeSet::new());
        prop_assert_eq!((store.n_own(), store.n_foreign()), (0, 0));
        prop_assert!(store.is_bare());
    }

    /// Bytes of a stranger are answered or not, and never a panic.
    #[test]
    fn any_request_is_survived(kind in 0..6_i32, cookie in prop::collection::vec(any::<u8>(), 0..20), limit in any::<u64>()) {
        let mut store = store();
        let peer = key();
        store.register(START, peer_of(&peer), claim(&peer, PeerId::random(), "n")).unwrap();
        let request = Message {
            kind: Some(kind),
            register: Some(Register { namespace: None, record: Some(cookie.clone()), ttl: Some(limit) }),
            discover: Some(Discover { namespace: None, limit: Some(limit), cookie: Some(cookie) }),
            ..Message::default()
        };
        store.answer(START, PeerId::random(), request);
    }
}
