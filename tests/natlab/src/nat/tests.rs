//! RFC 4787, requirement by requirement.

use super::Dependence::{Address, AddressAndPort, Independent};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

const ALL: [Dependence; 3] = [Independent, Address, AddressAndPort];

fn end(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn config(mapping: Dependence, filtering: Dependence) -> NatConfig {
    NatConfig {
        mapping,
        filtering,
        hairpin: true,
        preserve_ports: false,
        udp_idle_secs: udp_idle(),
    }
}

struct Rig {
    nat: Nat,
    now: Duration,
}

impl Rig {
    fn new(config: NatConfig) -> Self {
        Self {
            nat: Nat::new(config, Ipv4Addr::new(81, 0, 0, 1), 1),
            now: Duration::ZERO,
        }
    }

    /// The port that the world sees.
    fn out(&mut self, inside: &str, remote: &str) -> u16 {
        let mapped = self
            .nat
            .outbound(self.now, Protocol::Udp, end(inside), end(remote))
            .unwrap();
        assert_eq!(*mapped.ip(), self.nat.public());
        mapped.port()
    }

    fn back(&mut self, remote: &str, port: u16) -> Result<SocketAddrV4, Dropped> {
        self.nat.inbound(self.now, Protocol::Udp, port, end(remote))
    }
}

/// §4.1: which remote ends see the same port as `9.8.7.6:1000`.
#[test]
fn a_mapping_is_used_again_as_its_kind_says() {
    for (mapping, same_address, other_address) in [
        (Independent, true, true),
        (Address, true, false),
        (AddressAndPort, false, false),
    ] {
        for filtering in ALL {
            let mut rig = Rig::new(config(mapping, filtering));
            let first = rig.out("10.0.0.2:5000", "9.8.7.6:1000");
            assert_eq!(rig.out("10.0.0.2:5000", "9.8.7.6:1000"), first);
            let again = rig.out("10.0.0.2:5000", "9.8.7.6:1001");
            assert_eq!(again == first, same_address, "{mapping:?}");
            let elsewhere = rig.out("10.0.0.2:5000", "9.8.7.7:1000");
            assert_eq!(elsewhere == first, other_address, "{mapping:?}");
        }
    }
}

/// §5: who gets in after the host has sent to `9.8.7.6:1000` alone.
#[test]
fn who_gets_in_is_as_its_kind_says() {
    for (filtering, same_address, other_address) in [
        (Independent, true, true),
        (Address, true, false),
        (AddressAndPort, false, false),
    ] {
        for mapping in ALL {
            let mut rig = Rig::new(config(mapping, filtering));
            let port = rig.out("10.0.0.2:5000", "9.8.7.6:1000");
            let inside = Ok(end("10.0.0.2:5000"));
            assert_eq!(rig.back("9.8.7.6:1000", port), inside);
            let expected = |is_in| {
                if is_in {
                    inside
                } else {
                    Err(Dropped::Filtered)
                }
            };
            assert_eq!(rig.back("9.8.7.6:1001", port), expected(same_address));
            assert_eq!(rig.back("9.8.7.7:1000", port), expected(other_address));
            assert_eq!(rig.back("9.8.7.6:1000", port ^ 1), Err(Dropped::NoMapping));
        }
    }
}

/// REQ-1 for cones: what one remote end was told of the port holds for another that is sent to.
#[test]
fn a_hole_is_punched_by_sending_once() {
    let mut rig = Rig::new(config(Independent, AddressAndPort));
    let port = rig.out("10.0.0.2:5000", "9.8.7.6:3478");
    assert_eq!(rig.back("5.5.5.5:7", port), Err(Dropped::Filtered));
    assert_eq!(rig.out("10.0.0.2:5000", "5.5.5.5:7"), port);
    assert_eq!(rig.back("5.5.5.5:7", port), Ok(end("10.0.0.2:5000")));
}

/// REQ-3: two hosts with the same port never share one outside.
#[test]
fn ports_are_not_overloaded() {
    for preserve_ports in [false, true] {
        let mut rig = Rig::new(NatConfig {
            preserve_ports,
            ..config(Independent, Independent)
        });
        let mut seen = std::collections::BTreeSet::new();
        for host in 2..200 {
            let port = rig.out(&format!("10.0.0.{host}:5000"), "9.8.7.6:1000");
            assert!(port >= 1_024);
            assert!(seen.insert(port), "{port} twice");
        }
    }
}

/// §4.2.1: a port is kept where it is free, and only for one host.
#[test]
fn ports_are_preserved_where_that_is_wished() {
    let mut rig = Rig::new(NatConfig {
        preserve_ports: true,
        ..config(Independent, Independent)
    });
    assert_eq!(rig.out("10.0.0.2:5000", "9.8.7.6:1000"), 5_000);
    assert_ne!(rig.out("10.0.0.3:5000", "9.8.7.6:1000"), 5_000);
    let mut rig = Rig::new(config(Independent, Independent));
    assert_ne!(rig.out("10.0.0.2:5000", "9.8.7.6:1000"), 5_000);
}

/// REQ-5: a mapping ends when it has rested for as long as is said, and not before.
#[test]
fn a_mapping_ends_after_its_rest() {
    let mut rig = Rig::new(NatConfig {
        udp_idle_secs: 120,
        ..config(Independent, Independent)
    });
    let port = rig.out("10.0.0.2:5000", "9.8.7.6:1000");
    rig.now += 119 * SECOND;
    assert_eq!(rig.back("9.8.7.6:1000", port), Ok(end("10.0.0.2:5000")));
    rig.now += SECOND;
    assert_eq!(rig.back("9.8.7.6:1000", port), Err(Dropped::NoMapping));
    assert_ne!(rig.out("10.0.0.2:5000", "9.8.7.6:1000"), port);
}

/// REQ-6: what goes out keeps a mapping alive; what comes in does not.
#[test]
fn only_the_host_keeps_its_mapping_alive() {
    let mut rig = Rig::new(config(Independent, Independent));
    let port = rig.out("10.0.0.2:5000", "9.8.7.6:1000");
    for _ in 0..10 {
        rig.now += limits::UDP_IDLE / 2;
        assert_eq!(rig.out("10.0.0.2:5000", "9.8.7.6:1000"), port);
    }
    for _ in 0..4 {
        rig.now += limits::UDP_IDLE / 4;
        rig.back("9.8.7.6:1000", port).ok();
    }
    assert_eq!(rig.back("9.8.7.6:1000", port), Err(Dropped::NoMapping));
}

/// Filters rest, too: a mapping that others keep alive lets nobody in who was long not sent to.
#[test]
fn a_filter_ends_after_its_rest() {
    let mut rig = Rig::new(config(Independent, AddressAndPort));
    let port = rig.out("10.0.0.2:5000", "9.8.7.6:1000");
    rig.now += limits::UDP_IDLE / 2;
    rig.out("10.0.0.2:5000", "9.8.7.7:1000");
    rig.now += limits::UDP_IDLE / 2;
    assert_eq!(rig.back("9.8.7.6:1000", port), Err(Dropped::Filtered));
    assert_eq!(rig.back("9.8.7.7:1000", port), Ok(end("10.0.0.2:5000")));
}

#[test]
fn protocols_have_ports_of_their_own() {
    let config = NatConfig {
        preserve_ports: true,
        ..config(Independent, AddressAndPort)
    };
    let mut nat = Nat::new(config, Ipv4Addr::new(81, 0, 0, 1), 1);
    let (inside, remote) = (end("10.0.0.2:5000"), end("9.8.7.6:1000"));
    for protocol in [Protocol::Icmp, Protocol::Tcp, Protocol::Udp] {
        let mapped = nat.outbound(Duration::ZERO, protocol, inside, remote);
        assert_eq!(mapped, Ok(end("81.0.0.1:5000")));
    }
    let later = limits::ICMP_IDLE;
    let back = |protocol| nat.reported(protocol, 5_000, remote);
    assert_eq!(back(Protocol::Tcp), Some(inside));
    let icmp = nat.inbound(later, Protocol::Icmp, 5_000, remote);
    assert_eq!(icmp, Err(Dropped::NoMapping));
    let tcp = nat.inbound(later, Protocol::Tcp, 5_000, remote);
    assert_eq!(tcp, Ok(inside));
}

#[test]
fn a_restart_forgets_everybody() {
    let mut rig = Rig::new(config(Independent, Independent));
    let port = rig.out("10.0.0.2:5000", "9.8.7.6:1000");
    let other = Ipv4Addr::new(81, 0, 0, 2);
    rig.nat
        .restart(config(AddressAndPort, AddressAndPort), other);
    assert_eq!(rig.back("9.8.7.6:1000", port), Err(Dropped::NoMapping));
    rig.out("10.0.0.2:5000", "9.8.7.6:1000");
    assert_eq!(rig.nat.public(), other);
}

/// REQ-10: a report about nothing that was sent goes nowhere.
#[test]
fn reports_go_to_those_they_are_about() {
    let mut rig = Rig::new(config(AddressAndPort, AddressAndPort));
    let port = rig.out("10.0.0.2:5000", "9.8.7.6:1000");
    let about = |remote| rig.nat.reported(Protocol::Udp, port, end(remote));
    assert_eq!(about("9.8.7.6:1000"), Some(end("10.0.0.2:5000")));
    assert_eq!(about("9.8.7.6:1001"), None);
}

#[test]
fn there_is_room_for_so_many_and_no_more() {
    let mut rig = Rig::new(config(AddressAndPort, Independent));
    let mut fill = |now, remote: usize| {
        let remote = SocketAddrV4::new(Ipv4Addr::new(9, 8, 7, 6), u16::try_from(remote).unwrap());
        rig.nat
            .outbound(now, Protocol::Udp, end("10.0.0.2:5000"), remote)
    };
    for remote in 1..=limits::MAX_MAPPINGS {
        assert!(fill(Duration::ZERO, remote).is_ok());
    }
    let one_more = limits::MAX_MAPPINGS + 1;
    assert_eq!(fill(Duration::ZERO, one_more), Err(Dropped::NoRoom));
    assert!(fill(limits::UDP_IDLE, one_more).is_ok(), "the rest ended");
}
