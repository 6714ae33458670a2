//! Owns what the settings of STUN and TURN mean together: where they are reached from outside, and
//! whether they can be offered at all.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError, bad};

/// A range of ports, both ends included, written `first-last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PortRange {
    /// Invariant: not zero, and not above `last`.
    first: u16,
    last: u16,
}

impl PortRange {
    /// The range from `first` to `last`; `None` where it holds no port that can be asked for.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first == 0 || first > last {
            return None;
        }
        Some(Self { first, last })
    }

    /// How many ports it holds; at least one.
    pub(crate) fn len(self) -> u32 {
        u32::from(self.last - self.first) + 1
    }

    /// The port after the first `n`, and the last one where there are not so many.
    pub(crate) fn nth(self, n: u32) -> u16 {
        u16::try_from(u32::from(self.first) + n).map_or(self.last, |port| port.min(self.last))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        range.to_string()
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ports = text.split_once('-').and_then(|(first, last)| {
            let [first, last] = [first, last].map(|port| port.trim().parse().ok());
            Self::new(first?, last?)
        });
        ports.ok_or_else(|| "a range of ports looks like 49160-49415".to_owned())
    }
}

impl TryFrom<String> for PortRange {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl Config {
    /// Where relayed ports are reached; `None`: there is no TURN.
    pub(crate) fn turn_ip(&self) -> Option<IpAddr> {
        let announced = || self.announced().find_map(|host| host.parse().ok());
        self.turn.then_some(())?;
        self.public_ip
            .or_else(|| self.local_ip())
            .or_else(announced)
            .or_else(|| self.bound_ip())
    }

    /// The host under which STUN and TURN are reached, as it stands in a URL; `None`: the one
    /// under which the asker reached the relay.
    pub(crate) fn stun_host(&self) -> Option<String> {
        let written = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let announced = || {
            let host = self.announced().next()?;
            Some(host.parse().map_or(host, written))
        };
        let ip = self.public_ip.or_else(|| self.local_ip());
        ip.map(written)
            .or_else(announced)
            .or_else(|| self.bound_ip().map(written))
    }

    /// Whether only this machine reaches STUN, whatever is announced.
    pub(crate) fn is_stun_local(&self) -> bool {
        self.public_ip.is_none() && self.local_ip().is_some()
    }

    /// The address of the first STUN socket, where it is loopback.
    fn local_ip(&self) -> Option<IpAddr> {
        self.bound_ip().filter(IpAddr::is_loopback)
    }

    /// The hosts of the announced addresses, first those that are reached by UDP.
    fn announced(&self) -> impl Iterator<Item = String> {
        let is_udp =
            |address: &&Multiaddr| address.iter().any(|part| matches!(part, Protocol::Udp(_)));
        let by_udp = self.announce.iter().filter(is_udp);
        let others = self.announce.iter().filter(move |one| !is_udp(one));
        by_udp.chain(others).filter_map(host_of)
    }

    /// The address of the first STUN socket, where it is only one.
    fn bound_ip(&self) -> Option<IpAddr> {
        let ip = self.stun.first()?.ip();
        (!ip.is_unspecified()).then_some(ip)
    }

    pub(super) fn check_nat(&self) -> Result<(), ConfigError> {
        let Some(first) = self.stun.first() else {
            return match self.turn {
                true => Err(bad("turn", true, "there is no address in stun")),
                false => Ok(()),
            };
        };
        if let Some(ip) = self.public_ip {
            let is_reached = !ip.is_unspecified() && (first.is_ipv6() || ip.is_ipv4());
            if !is_reached {
                return Err(bad("public_ip", ip, "stun listens at no such address"));
            }
        }
        if self.turn && self.turn_ip().is_none() {
            let reason = "with stun at every address, public_ip must say which one peers reach";
            return Err(bad("turn", true, reason));
        }
        Ok(())
    }
}

/// Whether these addresses are for this machine only, where nothing needs to be guarded.
pub(super) fn is_local(stun: &[SocketAddr]) -> bool {
    !stun.is_empty() && stun.iter().all(|address| address.ip().is_loopback())
}

fn host_of(address: &Multiaddr) -> Option<String> {
    address.iter().find_map(|part| {
        if let Protocol::Ip4(ip) = part {
            Some(ip.to_string())
        } else if let Protocol::Ip6(ip) = part {
            Some(ip.to_string())
        } else if let Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) = part {
            Some(name.into_owned())
        } else {
            None
        }
    })
}
