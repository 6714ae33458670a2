//! A candidate as a browser writes it: an address at which ICE may reach it.

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The machine's own, or a name that stands for it.
    Host,
    /// What a STUN server saw.
    ServerReflexive,
    /// What a peer saw.
    PeerReflexive,
    /// A TURN server's.
    Relayed,
}

/// One address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whether UDP is spoken there; TCP otherwise.
    pub is_udp: bool,
    /// An IP address, or a name under `.local`.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Where it comes from.
    pub origin: Origin,
}

impl Candidate {
    /// Reads the attribute, `candidate:…`, of RFC 8839 §5.1; none where it is not one.
    pub fn parse(line: &str) -> Option<Self> {
        let line = line.strip_prefix("a=").unwrap_or(line);
        let mut words = line.strip_prefix("candidate:")?.split_ascii_whitespace();
        let (_foundation, _component) = (words.next()?, words.next()?);
        let transport = words.next()?;
        let _priority = words.next()?;
        let address = words.next()?.to_owned();
        let port = words.next()?.parse().ok()?;
        if words.next()? != "typ" {
            return None;
        }
        let origin = match words.next()? {
            "host" => Origin::Host,
            "srflx" => Origin::ServerReflexive,
            "prflx" => Origin::PeerReflexive,
            "relay" => Origin::Relayed,
            _ => return None,
        };
        Some(Self {
            is_udp: transport.eq_ignore_ascii_case("udp"),
            address,
            port,
            origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_write_is_read() {
        let chromium = "candidate:842163049 1 udp 1677729535 203.0.113.9 54321 typ srflx raddr \
                        0.0.0.0 rport 0 generation 0 ufrag abcd network-cost 999";
        let found = Candidate {
            is_udp: true,
            address: "203.0.113.9".to_owned(),
            port: 54_321,
            origin: Origin::ServerReflexive,
        };
        assert_eq!(Candidate::parse(chromium), Some(found));
        let firefox = "candidate:0 1 UDP 2122252543 ab.local 50000 typ host";
        let found = Candidate::parse(firefox).unwrap();
        assert!(found.is_udp && found.origin == Origin::Host);
        let tcp = "a=candidate:1 1 tcp 1518280447 ::1 9 typ host tcptype active";
        assert!(!Candidate::parse(tcp).unwrap().is_udp);
    }

    #[test]
    fn what_is_none_is_not() {
        for line in [
            "",
            "candidate:",
            "candidate:1 1 udp 1 1.2.3.4 70000 typ host",
            "candidate:1 1 udp 1 1.2.3.4 7000 host",
            "candidate:1 1 udp 1 1.2.3.4 7000 typ moon",
            "candidate:1 1 udp 1 1.2.3.4",
        ] {
            assert_eq!(Candidate::parse(line), None, "{line}");
        }
    }
}
