//! Owns what a NAT does to the ends of a flow: mapping, filtering, ports and timeouts, in the
//! words of RFC 4787.
//!
//! Invariant: a port of the public address belongs to one mapping at a time (REQ-3: no
//! overloading), and every mapping is found from both sides.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::packet::Protocol;

/// How much of a remote end a decision looks at (RFC 4787 §4.1 and §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dependence {
    /// Nothing of it.
    Independent,
    /// Its address.
    Address,
    /// Its address and its port.
    AddressAndPort,
}

/// What kind of NAT it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatConfig {
    /// What a mapping is used again for.
    pub mapping: Dependence,
    /// What has to be known of who sends in.
    pub filtering: Dependence,
    /// Whether hosts behind it reach each other by its public address.
    pub hairpin: bool,
    /// Whether a mapping gets the port that the host uses, where it is free.
    pub preserve_ports: bool,
    /// Seconds without a packet from inside after which a UDP mapping ends.
    #[serde(default = "udp_idle")]
    pub udp_idle_secs: u64,
}

fn udp_idle() -> u64 {
    limits::UDP_IDLE.as_secs()
}

/// Why a packet does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dropped {
    /// The link is down.
    Down,
    /// The NAT lets nobody in whom the host has not sent to.
    Filtered,
    /// Lost on the way.
    Lost,
    /// Nothing that is carried here.
    Malformed,
    /// Nobody behind the NAT has this port.
    NoMapping,
    /// There is no free port, or place for one more.
    NoRoom,
    /// Nobody has this address.
    NoRoute,
}

/// What makes a mapping another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    protocol: Protocol,
    inside: SocketAddrV4,
    /// As much of the remote end as the mapping depends on, the rest zero.
    remote: SocketAddrV4,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    /// When the host last sent through it (REQ-6: what comes from outside keeps nothing alive).
    used: Duration,
    /// To whom the host has sent, and when last.
    permitted: BTreeMap<SocketAddrV4, Duration>,
}

/// A NAT with one public address.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    public: Ipv4Addr,
    ports: BTreeMap<Key, u16>,
    entries: BTreeMap<(Protocol, u16), Entry>,
    draw: ChaCha8Rng,
}

impl Nat {
    /// A NAT that knows nobody; its ports are drawn by `seed`.
    #[must_use]
    pub fn new(config: NatConfig, public: Ipv4Addr, seed: u64) -> Self {
        Self {
            config,
            public,
            ports: BTreeMap::new(),
            entries: BTreeMap::new(),
            draw: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The address that the world sees.
    #[must_use]
    pub fn public(&self) -> Ipv4Addr {
        self.public
    }

    /// What kind it is.
    #[must_use]
    pub fn config(&self) -> NatConfig {
        self.config
    }

    /// Forgets every mapping, and has this address and kind from now on.
    pub fn restart(&mut self, config: NatConfig, public: Ipv4Addr) {
        self.config = config;
        self.public = public;
        self.ports.clear();
        self.entries.clear();
    }

    /// What the world sees as the source of a packet that `inside` sends to `remote`.
    ///
    /// # Errors
    /// When there is no room for one more.
    pub fn outbound(
        &mut self,
        now: Duration,
        protocol: Protocol,
        inside: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Result<SocketAddrV4, Dropped> {
        let key = self.key(protocol, inside, remote);
        let port = match self.live(now, &key) {
            Some(port) => port,
            None => self.open(now, key)?,
        };
        let entry = self.entries.get_mut(&(protocol, port));
        let entry = entry.expect("`live` and `open` give ports that have an entry");
        entry.used = now;
        let is_known = entry.permitted.contains_key(&remote);
        if !is_known && entry.permitted.len() >= limits::MAX_PERMITTED {
            return Err(Dropped::NoRoom);
        }
        entry.permitted.insert(remote, now);
        Ok(SocketAddrV4::new(self.public, port))
    }

    /// Who behind the NAT gets what `remote` sends to `port` of the public address.
    ///
    /// # Errors
    /// When nobody has this port, or `remote` is not let in.
    pub fn inbound(
        &mut self,
        now: Duration,
        protocol: Protocol,
        port: u16,
        remote: SocketAddrV4,
    ) -> Result<SocketAddrV4, Dropped> {
        let idle = self.idle(protocol);
        let is_live = |since: Duration| now.saturating_sub(since) < idle;
        let entry = self.entries.get(&(protocol, port));
        let entry = entry
            .filter(|entry| is_live(entry.used))
            .ok_or(Dropped::NoMapping)?;
        let mut permitted = entry.permitted.iter();
        let is_let_in = match self.config.filtering {
            Dependence::Independent => true,
            Dependence::Address => {
                permitted.any(|(one, &at)| one.ip() == remote.ip() && is_live(at))
            }
            Dependence::AddressAndPort => permitted.any(|(&one, &at)| one == remote && is_live(at)),
        };
        is_let_in
            .then_some(entry.key.inside)
            .ok_or(Dropped::Filtered)
    }

    /// The port that the host's flow to `remote` has, for a report about it.
    #[must_use]
    pub fn port_of(
        &self,
        protocol: Protocol,
        inside: SocketAddrV4,
        remote: SocketAddrV4,
    ) -> Option<u16> {
        self.ports.get(&self.key(protocol, inside, remote)).copied()
    }

    /// The host whose flow from `port` to `remote` a report is about (RFC 5508, REQ-4).
    #[must_use]
    pub fn reported(
        &self,
        protocol: Protocol,
        port: u16,
        remote: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        let entry = self.entries.get(&(protocol, port))?;
        entry
            .permitted
            .contains_key(&remote)
            .then_some(entry.key.inside)
    }

    fn key(&self, protocol: Protocol, inside: SocketAddrV4, remote: SocketAddrV4) -> Key {
        let remote = match self.config.mapping {
            Dependence::Independent => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            Dependence::Address => SocketAddrV4::new(*remote.ip(), 0),
            Dependence::AddressAndPort => remote,
        };
        Key {
            protocol,
            inside,
            remote,
        }
    }

    fn idle(&self, protocol: Protocol) -> Duration {
        match protocol {
            Protocol::Icmp => limits::ICMP_IDLE,
            Protocol::Tcp => limits::TCP_IDLE,
            Protocol::Udp => Duration::from_secs(self.config.udp_idle_secs),
        }
    }

    /// The port of this mapping, where it has not ended.
    fn live(&mut self, now: Duration, key: &Key) -> Option<u16> {
        let port = *self.ports.get(key)?;
        let entry = self.entries.get(&(key.protocol, port))?;
        if now.saturating_sub(entry.used) < self.idle(key.protocol) {
            return Some(port);
        }
        self.ports.remove(key);
        self.entries.remove(&(key.protocol, port));
        None
    }

    fn open(&mut self, now: Duration, key: Key) -> Result<u16, Dropped> {
        self.forget_ended(now);
        if self.entries.len() >= limits::MAX_MAPPINGS {
            return Err(Dropped::NoRoom);
        }
        let port = self.free_port(key)?;
        self.ports.insert(key, port);
        let entry = Entry {
            key,
            used: now,
            permitted: BTreeMap::new(),
        };
        self.entries.insert((key.protocol, port), entry);
        Ok(port)
    }

    fn forget_ended(&mut self, now: Duration) {
        let (udp, tcp, icmp) = (
            self.idle(Protocol::Udp),
            self.idle(Protocol::Tcp),
            self.idle(Protocol::Icmp),
        );
        self.entries.retain(|&(protocol, _), entry| {
            let idle = match protocol {
                Protocol::Icmp => icmp,
                Protocol::Tcp => tcp,
                Protocol::Udp => udp,
            };
            now.saturating_sub(entry.used) < idle
        });
        let entries = &self.entries;
        self.ports
            .retain(|key, port| entries.contains_key(&(key.protocol, *port)));
    }

    /// Ports above the well-known ones (REQ-3a), the host's own where it is kept and free.
    fn free_port(&mut self, key: Key) -> Result<u16, Dropped> {
        let own = key.inside.port();
        if self.config.preserve_ports && own > 0 && !self.entries.contains_key(&(key.protocol, own))
        {
            return Ok(own);
        }
        let first = self.draw.random_range(1_024..=u16::MAX);
        (first..=u16::MAX)
            .chain(1_024..first)
            .find(|&port| !self.entries.contains_key(&(key.protocol, port)))
            .ok_or(Dropped::NoRoom)
    }
}
