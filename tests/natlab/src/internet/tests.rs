//! Two hosts that try to meet, as ICE has them do, before any browser does.

use std::net::SocketAddrV4;

use etherparse::PacketBuilder;

use super::*;
use crate::nat::Dependence::{self, Address, AddressAndPort, Independent};
use crate::packet::{Ends, Protocol};

const SERVER: &str = "60.0.0.1:3478";

const fn nat(mapping: Dependence, filtering: Dependence) -> NatConfig {
    NatConfig {
        mapping,
        filtering,
        hairpin: true,
        preserve_ports: false,
        udp_idle_secs: 300,
    }
}

const FULL: NatConfig = nat(Independent, Independent);
const RESTRICTED: NatConfig = nat(Independent, Address);
const PORT_RESTRICTED: NatConfig = nat(Independent, AddressAndPort);
const SYMMETRIC: NatConfig = nat(AddressAndPort, AddressAndPort);
const KINDS: [NatConfig; 4] = [FULL, RESTRICTED, PORT_RESTRICTED, SYMMETRIC];

fn end(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn site(name: &str, hosts: &[(&str, &str)], nat: Option<NatConfig>, public: &[&str]) -> SitePlan {
    let named = |&(name, address): &(&str, &str)| (name.to_owned(), address.parse().unwrap());
    SitePlan {
        name: name.to_owned(),
        hosts: hosts.iter().map(named).collect(),
        nat,
        public: public.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

/// A server, a host behind each of two NATs, and a neighbour of the first one.
fn internet(one: NatConfig, other: NatConfig) -> Internet {
    let plan = Plan {
        seed: 1,
        sites: vec![
            site("server", &[("server", "60.0.0.1")], None, &[]),
            site(
                "one",
                &[("a", "10.0.1.2"), ("b", "10.0.1.3")],
                Some(one),
                &["81.0.0.1", "81.0.0.2"],
            ),
            site("other", &[("c", "10.0.2.2")], Some(other), &["82.0.0.1"]),
        ],
    };
    Internet::try_from(plan).unwrap()
}

fn udp(source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
    let (from, to) = (source.ip().octets(), destination.ip().octets());
    let builder = PacketBuilder::ipv4(from, to, 64).udp(source.port(), destination.port());
    let mut packet = Vec::new();
    builder.write(&mut packet, b"hello").unwrap();
    packet
}

impl Internet {
    /// Sends from a port of a host; who gets it, and from whom.
    fn try_udp(
        &mut self,
        now: Duration,
        from: (&str, u16),
        to: SocketAddrV4,
    ) -> Vec<(String, Ends)> {
        let address = self.address(from.0).unwrap();
        self.send(now, from.0, udp(SocketAddrV4::new(address, from.1), to));
        while let Some(at) = self.next_wake() {
            self.pass(at);
        }
        let mut got = Vec::new();
        while let Some((host, packet)) = self.poll() {
            let Some(Content::Flow(ends)) = packet::read(&packet) else {
                panic!("only packets of flows were sent");
            };
            got.push((host, ends));
        }
        got
    }

    /// As whom the server sees a host.
    fn reflexive(&mut self, host: (&str, u16)) -> SocketAddrV4 {
        let got = self.try_udp(Duration::ZERO, host, end(SERVER));
        let [(_, ends)] = got.as_slice() else {
            panic!("the server gets it");
        };
        ends.source
    }
}

/// Whether two hosts find a pair that works both ways: each sends to where the server has seen the
/// other, and to where it sees it itself, a few times.
fn meet(internet: &mut Internet, one: &str, other: &str) -> bool {
    let hosts = [(one, 5_000), (other, 5_000)];
    let mut known = [
        vec![internet.reflexive(hosts[1])],
        vec![internet.reflexive(hosts[0])],
    ];
    let mut heard = [false, false];
    for _ in 0..3 {
        for (me, peer) in [(0, 1), (1, 0)] {
            for to in known[me].clone() {
                for (host, ends) in internet.try_udp(Duration::ZERO, hosts[me], to) {
                    assert_eq!(host, hosts[peer].0);
                    if !known[peer].contains(&ends.source) {
                        known[peer].push(ends.source);
                    }
                    heard[peer] = true;
                }
            }
        }
    }
    // An answer goes to where the question came from.
    let answered = |internet: &mut Internet, me: usize| {
        known[me].clone().into_iter().any(|to| {
            let got = internet.try_udp(Duration::ZERO, hosts[me], to);
            got.iter().any(|(_, ends)| {
                let back = internet.try_udp(Duration::ZERO, hosts[1 - me], ends.source);
                !back.is_empty()
            })
        })
    };
    heard == [true, true] && answered(internet, 0) && answered(internet, 1)
}

#[test]
fn every_pair_meets_but_those_that_cannot() {
    for (i, one) in KINDS.into_iter().enumerate() {
        for (j, other) in KINDS.into_iter().enumerate() {
            // Of symmetric ones nobody but a host that lets in whole addresses guesses the port.
            let can = !matches!((i, j), (2, 3) | (3, 2) | (3, 3));
            let mut internet = internet(one, other);
            assert_eq!(meet(&mut internet, "a", "c"), can, "{i} x {j}");
        }
    }
}

#[test]
fn neighbours_meet_by_the_public_address_where_it_leads_back() {
    for kind in KINDS {
        let is_symmetric = kind == SYMMETRIC;
        let mut lab = internet(kind, FULL);
        lab.set_isolated("one", true);
        assert_eq!(meet(&mut lab, "a", "b"), !is_symmetric);
        let mut lab = internet(
            NatConfig {
                hairpin: false,
                ..kind
            },
            FULL,
        );
        lab.set_isolated("one", true);
        assert!(!meet(&mut lab, "a", "b"), "without hairpin");
    }
}

/// RFC 4787, REQ-9a.
#[test]
fn who_is_reached_by_hairpin_sees_the_public_source() {
    let mut lab = internet(FULL, FULL);
    let (a, b) = (lab.reflexive(("a", 1)), lab.reflexive(("b", 2)));
    let got = lab.try_udp(Duration::ZERO, ("a", 1), b);
    let expected = Ends {
        protocol: Protocol::Udp,
        source: a,
        destination: end("10.0.1.3:2"),
    };
    assert_eq!(got, [("b".to_owned(), expected)]);
}

#[test]
fn neighbours_see_each_other_unless_they_are_kept_apart() {
    let mut lab = internet(SYMMETRIC, FULL);
    let b = end("10.0.1.3:2");
    let got = lab.try_udp(Duration::ZERO, ("a", 1), b);
    assert_eq!(got[0].1.source, end("10.0.1.2:1"));
    let names = end("224.0.0.251:5353");
    assert_eq!(lab.try_udp(Duration::ZERO, ("a", 5_353), names).len(), 1);
    lab.set_isolated("one", true);
    assert_eq!(lab.try_udp(Duration::ZERO, ("a", 1), b), []);
    assert_eq!(lab.try_udp(Duration::ZERO, ("a", 5_353), names), []);
}

#[test]
fn nobody_is_reached_by_a_private_address_or_lies_about_his_own() {
    let mut lab = internet(FULL, FULL);
    assert_eq!(lab.try_udp(Duration::ZERO, ("a", 1), end("10.0.2.2:1")), []);
    lab.send(Duration::ZERO, "a", udp(end("10.0.1.3:1"), end(SERVER)));
    assert_eq!(lab.next_wake(), None);
    assert_eq!(lab.counts().dropped["one"][&Dropped::NoRoute], 2);
}

#[test]
fn a_link_that_is_down_carries_nothing_until_it_is_up() {
    let mut lab = internet(FULL, FULL);
    let c = lab.reflexive(("c", 1));
    let until = Duration::from_secs(3);
    assert!(lab.set_down("one", until));
    let early = until - Duration::from_millis(1);
    assert_eq!(lab.try_udp(early, ("a", 1), c), []);
    assert_eq!(lab.try_udp(until, ("a", 1), c).len(), 1);
    assert!(!lab.set_down("nowhere", until));
}

#[test]
fn a_new_address_ends_what_was_known_of_the_old_one() {
    let mut lab = internet(FULL, FULL);
    let old = lab.reflexive(("a", 1));
    assert_eq!(lab.try_udp(Duration::ZERO, ("c", 1), old).len(), 1);
    assert_eq!(lab.readdress("one"), Some("81.0.0.2".parse().unwrap()));
    assert_eq!(lab.try_udp(Duration::ZERO, ("c", 1), old), []);
    let new = lab.reflexive(("a", 1));
    assert_eq!(lab.try_udp(Duration::ZERO, ("c", 1), new).len(), 1);
    assert_eq!(lab.readdress("one"), Some("81.0.0.1".parse().unwrap()));
    assert_eq!(lab.readdress("server"), None);
}

#[test]
fn a_packet_is_as_late_as_both_links_make_it() {
    let mut lab = internet(FULL, FULL);
    let c = lab.reflexive(("c", 1));
    let late = |delay_millis| Weather {
        delay_millis,
        ..Weather::default()
    };
    lab.set_weather("one", late(100));
    lab.set_weather("other", late(7));
    lab.send(Duration::ZERO, "a", udp(end("10.0.1.2:1"), c));
    lab.pass(Duration::from_millis(106));
    assert_eq!(lab.poll(), None);
    lab.pass(Duration::from_millis(107));
    assert_eq!(lab.poll().map(|(host, _)| host), Some("c".to_owned()));
    assert!(lab.counts().bytes["one>other"] > 0);
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let plan = |sites| Internet::try_from(Plan { seed: 1, sites }).map(|_| ());
    let one = || site("one", &[("a", "10.0.0.2")], Some(FULL), &["81.0.0.1"]);
    assert_eq!(plan(vec![one()]), Ok(()));
    assert_eq!(
        plan(vec![one(), one()]),
        Err(PlanError::Twice("site one".to_owned()))
    );
    let two = site("two", &[("a", "10.0.1.2")], Some(FULL), &["82.0.0.1"]);
    assert_eq!(
        plan(vec![one(), two]),
        Err(PlanError::Twice("host a".to_owned()))
    );
    let bare = site("two", &[], Some(FULL), &[]);
    assert_eq!(plan(vec![bare]), Err(PlanError::Public("two".to_owned())));
}
