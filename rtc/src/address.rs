//! Addresses of peers that are reached from browser to browser.
//!
//! `<relay>/p2p/<R>/p2p-circuit/webrtc/p2p/<B>` is the form of the specification: signalling goes
//! through that relay. `/webrtc/p2p/<B>` leaves open through whom: a connection to the peer that
//! already stands carries it.

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Where a `/webrtc` address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The peer at the end.
    pub peer: PeerId,
    /// The circuit that leads there, where the address says one.
    pub circuit: Option<Multiaddr>,
}

impl Target {
    /// Reads an address; none when it is not a `/webrtc` one that names its peer.
    pub fn parse(address: &Multiaddr) -> Option<Self> {
        let mut circuit = Multiaddr::empty();
        let mut parts = address.iter();
        let found = parts.by_ref().find(|part| {
            let found = matches!(part, Protocol::WebRTC);
            if !found {
                circuit.push(part.clone());
            }
            found
        });
        found?;
        let Some(Protocol::P2p(peer)) = parts.next() else {
            return None;
        };
        if parts.next().is_some() {
            return None;
        }
        if circuit.is_empty() {
            let circuit = None;
            return Some(Self { peer, circuit });
        }
        let is_circuit = matches!(circuit.iter().last(), Some(Protocol::P2pCircuit));
        is_circuit.then(|| {
            let circuit = Some(circuit.with(Protocol::P2p(peer)));
            Self { peer, circuit }
        })
    }
}

/// `/webrtc/p2p/<peer>`.
pub fn bare(peer: PeerId) -> Multiaddr {
    Multiaddr::empty()
        .with(Protocol::WebRTC)
        .with(Protocol::P2p(peer))
}

/// Whether a connection at this address goes from browser to browser.
pub fn is_webrtc(address: &Multiaddr) -> bool {
    address.iter().any(|it| matches!(it, Protocol::WebRTC))
}

/// Whether a connection at this address goes through a relay, and so can carry signalling.
///
/// `ConnectedPoint::is_relayed` of libp2p says yes to the specification's `/webrtc` form, too.
pub fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|it| matches!(it, Protocol::P2pCircuit)) && !is_webrtc(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE";
    const RELAY: &str =
        "/ip4/1.2.3.4/tcp/80/ws/p2p/12D3KooWGahtDbRjrNkJf4qHwKQt1GkYYyeVhGVQD5KQ1Zc9Ljmr";

    fn parse(text: &str) -> Option<Target> {
        Target::parse(&text.parse().unwrap())
    }

    #[test]
    fn both_forms_are_read() {
        let peer: PeerId = PEER.parse().unwrap();
        let circuit = format!("{RELAY}/p2p-circuit/p2p/{PEER}").parse().unwrap();
        let target = parse(&format!("{RELAY}/p2p-circuit/webrtc/p2p/{PEER}")).unwrap();
        assert_eq!(target.peer, peer);
        assert_eq!(target.circuit, Some(circuit));
        let circuit = None;
        assert_eq!(Target::parse(&bare(peer)), Some(Target { peer, circuit }));
    }

    #[test]
    fn other_addresses_are_left_to_others() {
        let no = [
            format!("{RELAY}/p2p-circuit/p2p/{PEER}"),
            format!("{RELAY}/webrtc/p2p/{PEER}"),
            format!("{RELAY}/p2p-circuit/webrtc"),
            format!("/webrtc/p2p/{PEER}/p2p-circuit"),
            "/ip4/1.2.3.4/udp/1/webrtc-direct".to_owned(),
            RELAY.to_owned(),
        ];
        for text in no {
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_direct_connection_through_a_circuit_address_carries_nothing() {
        let circuit = format!("{RELAY}/p2p-circuit");
        assert!(is_relayed(&circuit.parse().unwrap()));
        assert!(!is_relayed(
            &format!("{circuit}/webrtc/p2p/{PEER}").parse().unwrap()
        ));
        assert!(!is_relayed(&RELAY.parse().unwrap()));
    }
}
