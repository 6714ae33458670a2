//! Owns which STUN server of its own the relay recommends, and under which name.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Config, IceServer};

/// Where STUN and TURN are reached.
#[derive(Debug, Clone)]
pub(crate) struct StunPlace {
    /// `None`: where the asker reached the relay.
    host: Option<String>,
    ports: Vec<u16>,
    /// Whether nobody else than this machine reaches it.
    is_local: bool,
}

impl StunPlace {
    /// `addresses` are those of the sockets, with their real ports.
    pub(crate) fn new(config: &Config, addresses: &[SocketAddr]) -> Self {
        Self {
            host: config.stun_host(),
            ports: addresses.iter().map(SocketAddr::port).collect(),
            is_local: config.is_stun_local(),
        }
    }

    /// What an asker is told that named the relay so in its request; none: it cannot reach it.
    pub(crate) fn advice(&self, asked_as: Option<&str>) -> Option<IceServer> {
        let asked_host = asked_as.and_then(host_in);
        if self.is_local && !asked_host.is_some_and(is_loopback) {
            return None;
        }
        let host = self.host.as_deref().or(asked_host)?;
        let urls = self.ports.iter().map(|port| format!("stun:{host}:{port}"));
        let urls: Vec<_> = urls.collect();
        (!urls.is_empty()).then_some(IceServer {
            urls,
            username: None,
            credential: None,
        })
    }

    /// The URLs of TURN; one port is enough.
    pub(crate) fn turn_urls(&self) -> Vec<String> {
        let host = self.host.iter();
        host.zip(&self.ports)
            .map(|(host, port)| format!("turn:{host}:{port}?transport=udp"))
            .collect()
    }
}

/// The host in a `Host` header, without its port; `None` where it is no name or address.
fn host_in(header: &str) -> Option<&str> {
    let host = match header.rfind(']') {
        Some(end) => &header[..=end],
        None => header.split(':').next()?,
    };
    let is_host = match host.strip_prefix('[') {
        Some(ip) => ip.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
            !host.is_empty() && host.len() <= 253 && host.chars().all(is_part)
        }
    };
    is_host.then_some(host)
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(config: Config, asked_as: &str) -> Vec<String> {
        let place = StunPlace::new(&config, &config.stun);
        let advice = place.advice(Some(asked_as));
        advice.map_or(Vec::new(), |server| server.urls)
    }

    #[test]
    fn a_relay_for_this_machine_advises_it_to_this_machine() {
        let check = |asked_as, expected: &[&str]| {
            assert_eq!(urls(Config::default(), asked_as), expected, "{asked_as}");
        };
        let ours = ["stun:127.0.0.1:3478", "stun:127.0.0.1:3479"];
        check("127.0.0.1:8080", &ours);
        check("localhost:8080", &ours);
        check("[::1]", &ours);
        check("relay.example", &[]);
    }

    #[test]
    fn the_host_is_the_announced_one_or_the_askers() {
        let everywhere = Config {
            stun: vec!["0.0.0.0:3478".parse().unwrap()],
            turn: false,
            ..Config::default()
        };
        let asked = urls(everywhere.clone(), "relay.example:443");
        assert_eq!(asked, ["stun:relay.example:3478"]);
        assert_eq!(
            urls(everywhere.clone(), "[2001:db8::1]:80"),
            ["stun:[2001:db8::1]:3478"]
        );
        for bad in ["", "a b", "a/b", "[x]", "a@b", "\u{fc}"] {
            assert!(urls(everywhere.clone(), bad).is_empty(), "{bad:?}");
        }
        let announced = |addresses: &[&str]| Config {
            announce: addresses.iter().map(|one| one.parse().unwrap()).collect(),
            ..everywhere.clone()
        };
        let by_udp = [
            "/dns4/cdn.example/tcp/443/wss",
            "/ip6/2001:db8::2/udp/1/webrtc-direct",
        ];
        assert_eq!(urls(announced(&by_udp), "x"), ["stun:[2001:db8::2]:3478"]);
        assert_eq!(
            urls(announced(&by_udp[..1]), "x"),
            ["stun:cdn.example:3478"]
        );
        let public = Config {
            public_ip: Some("192.0.2.9".parse().unwrap()),
            ..announced(&by_udp)
        };
        assert_eq!(urls(public, "x"), ["stun:192.0.2.9:3478"]);
    }
}
