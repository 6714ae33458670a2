//! What lies between this browser and the others: what relays see of its addresses, and what that
//! means for direct connections.

use crate::backoff::jittered;
use crate::env::Env;
use crate::io::{Addresses, Gathering, Output};
use crate::limits::{DIAGNOSE_DELAY, DIAGNOSE_PERIOD};
use thrum_protocol::time::Millis;
use thrum_protocol::view::{NetworkKind, Reachability};

/// When it is looked at, and what was found last.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    found: Reachability,
    /// none before a relay could be asked
    look_at: Option<Millis>,
}

impl Diagnosis {
    /// A relay keeps a place for us: it can be asked.
    pub(crate) fn relay_reserved(&mut self, now: Millis) {
        if self.found.kind == NetworkKind::Unknown {
            self.look_at.get_or_insert(now);
        }
    }

    /// The network may be another.
    pub(crate) fn network_changed(&mut self, now: Millis) {
        if self.look_at.is_some() {
            self.look_at = Some(now + DIAGNOSE_DELAY);
        }
    }

    pub(crate) fn tick(&mut self, env: &mut Env, online: bool) {
        if online && self.look_at.is_some_and(|at| at <= env.now) {
            env.push(Output::Gather);
            self.look_at = Some(env.now + jittered(&mut env.rng, DIAGNOSE_PERIOD));
        }
    }

    pub(crate) fn next_wake(&self, online: bool) -> Option<Millis> {
        self.look_at.filter(|_| online)
    }

    pub(crate) fn gathered(&mut self, env: &mut Env, gathering: &Gathering) {
        let found = diagnose(gathering);
        if found != self.found {
            self.found = found;
            env.changed = true;
        }
    }

    pub(crate) fn found(&self) -> &Reachability {
        &self.found
    }
}

/// A server that sees another port than its neighbour on the same host shows that a router picks
/// one for each; more addresses with all servers than with one are such. A machine with two
/// networks has two with either.
fn diagnose(gathering: &Gathering) -> Reachability {
    let (kind, error) = match gathering {
        Gathering::NoServer => {
            let error = "no relay names a STUN server".to_owned();
            (NetworkKind::Unknown, Some(error))
        }
        Gathering::RelayOnly => (NetworkKind::RelayOnly, None),
        Gathering::Failed(error) => (NetworkKind::Unknown, Some(error.clone())),
        Gathering::Found { servers, one, all } => {
            (kind(*servers, one, all), all.errors.first().cloned())
        }
    };
    Reachability { kind, error }
}

fn kind(servers: usize, one: &Addresses, all: &Addresses) -> NetworkKind {
    if all.mapped.is_empty() {
        // Browsers leave out what a server sees where it is the machine's own address.
        return match all.complete && all.errors.is_empty() {
            true => NetworkKind::Open,
            false => NetworkKind::UdpBlocked,
        };
    }
    if all.mapped.iter().all(|mapped| all.own.contains(mapped)) {
        return NetworkKind::Open;
    }
    if servers < 2 || one.mapped.is_empty() {
        return NetworkKind::Nat;
    }
    match all.mapped.len() > one.mapped.len() {
        true => NetworkKind::Symmetric,
        false => NetworkKind::Cone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(own: &[&str], mapped: &[&str]) -> Addresses {
        let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Addresses {
            own: owned(own),
            mapped: owned(mapped),
            errors: Vec::new(),
            complete: true,
        }
    }

    fn found(servers: usize, one: &[&str], all: &[&str]) -> NetworkKind {
        let own = ["10.0.0.2:5000"];
        let (one, all) = (addresses(&own, one), addresses(&own, all));
        diagnose(&Gathering::Found { servers, one, all }).kind
    }

    #[test]
    fn a_router_is_known_by_the_ports_it_picks() {
        let (a, b) = ("203.0.113.1:5000", "203.0.113.1:5001");
        assert_eq!(found(2, &[a], &[a]), NetworkKind::Cone);
        assert_eq!(found(2, &[a], &[b]), NetworkKind::Cone, "two sockets");
        assert_eq!(found(2, &[a], &[a, b]), NetworkKind::Symmetric);
        assert_eq!(found(1, &[a], &[a]), NetworkKind::Nat);
    }

    #[test]
    fn two_networks_are_no_symmetric_router() {
        let (a, b) = ("203.0.113.1:5000", "198.51.100.1:5001");
        assert_eq!(found(2, &[a, b], &[a, b]), NetworkKind::Cone);
    }

    #[test]
    fn a_machine_with_an_address_of_its_own_is_open() {
        assert_eq!(
            found(2, &["10.0.0.2:5000"], &["10.0.0.2:5000"]),
            NetworkKind::Open
        );
        assert_eq!(found(2, &[], &[]), NetworkKind::Open);
    }

    #[test]
    fn servers_that_do_not_answer_are_named() {
        let mut all = addresses(&["10.0.0.2:5000"], &[]);
        all.errors = vec!["stun:192.0.2.1:3478: error 701".to_owned()];
        let one = addresses(&[], &[]);
        let servers = 2;
        let found = diagnose(&Gathering::Found {
            servers,
            one: one.clone(),
            all,
        });
        assert_eq!(found.kind, NetworkKind::UdpBlocked);
        assert_eq!(
            found.error.as_deref(),
            Some("stun:192.0.2.1:3478: error 701")
        );
        let mut late = addresses(&["10.0.0.2:5000"], &[]);
        late.complete = false;
        let found = diagnose(&Gathering::Found {
            servers,
            one,
            all: late,
        });
        assert_eq!(found.kind, NetworkKind::UdpBlocked);
    }

    #[test]
    fn what_cannot_be_looked_at_is_unknown() {
        let found = diagnose(&Gathering::NoServer);
        assert_eq!(found.kind, NetworkKind::Unknown);
        assert!(found.error.is_some());
        let refused = diagnose(&Gathering::Failed("too many connections".to_owned()));
        assert_eq!(refused.kind, NetworkKind::Unknown);
        assert_eq!(diagnose(&Gathering::RelayOnly).kind, NetworkKind::RelayOnly);
    }
}
