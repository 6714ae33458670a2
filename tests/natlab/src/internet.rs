//! Owns the routes between hosts: who is behind which NAT, on which link, and what is under way.
//!
//! 1. [`Internet::send`] takes a packet of a host; on its site it is switched, translated and put
//!    on the uplink.
//! 2. [`Internet::pass`] takes it to the site that has its destination, and down that link.
//! 3. [`Internet::poll`] gives what has arrived, after the way in through the NAT there.

mod plan;
mod site;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Serialize;

use crate::limits;
use crate::nat::{Dropped, NatConfig};
use crate::packet::{self, Content};
use crate::weather::Weather;
use site::Site;

pub use plan::{Plan, PlanError, SitePlan};

/// What happened to packets so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Bytes that left one site and arrived at another's hosts, as `from>to`.
    pub bytes: BTreeMap<String, u64>,
    /// Bytes between hosts of one site, by its public address.
    pub hairpinned: BTreeMap<String, u64>,
    /// Bytes between hosts of one site, by their own addresses.
    pub switched: BTreeMap<String, u64>,
    /// Packets that did not arrive, by the site that dropped them and why.
    pub dropped: BTreeMap<String, BTreeMap<Dropped, u64>>,
}

/// Where a packet is on its way.
#[derive(Debug)]
enum Place {
    /// It has left the uplink of a site.
    Core { from: usize },
    /// It has come down to a site.
    Gate { from: usize, to: usize },
}

/// Hosts on their sites, and the packets between them.
#[derive(Debug)]
pub struct Internet {
    sites: Vec<Site>,
    /// Sites and addresses of hosts, by name.
    hosts: BTreeMap<String, (usize, Ipv4Addr)>,
    /// Packets under way, by when they get somewhere.
    under_way: BTreeMap<(Duration, u64), (Place, Vec<u8>)>,
    sequence: u64,
    arrived: VecDeque<(String, Vec<u8>)>,
    counts: Counts,
}

impl Internet {
    /// The site and the address of a host.
    #[must_use]
    pub fn address(&self, host: &str) -> Option<Ipv4Addr> {
        self.hosts.get(host).map(|&(_, address)| address)
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// When [`Internet::pass`] has something to do.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.under_way.keys().next().map(|&(at, _)| at)
    }

    /// A packet for a host, which it has from now on; arrived by the last `send` or `pass`.
    pub fn poll(&mut self) -> Option<(String, Vec<u8>)> {
        self.arrived.pop_front()
    }

    /// Takes a packet that a host sends. Hosts that nobody knows send nothing.
    pub fn send(&mut self, now: Duration, host: &str, packet: Vec<u8>) {
        let Some(&(from, address)) = self.hosts.get(host) else {
            return;
        };
        if let Err(why) = self.leave(now, from, address, packet) {
            self.drop_at(from, why);
        }
    }

    /// Moves everything that has got somewhere by now.
    pub fn pass(&mut self, now: Duration) {
        while let Some(entry) = self.under_way.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            let (place, packet) = entry.remove();
            let (site, passed) = match place {
                Place::Core { from } => (from, self.route(at, from, packet)),
                Place::Gate { from, to } => (to, self.come_in(at, from, to, packet)),
            };
            if let Err(why) = passed {
                self.drop_at(site, why);
            }
        }
    }

    /// Changes what a site's NAT is; all mappings are forgotten. False: it has no NAT.
    pub fn set_nat(&mut self, site: &str, config: NatConfig) -> bool {
        let nat = self.site_mut(site).and_then(|site| site.nat.as_mut());
        nat.map(|nat| nat.restart(config, nat.public())).is_some()
    }

    /// Changes what a site's link is like. False: there is no such site.
    pub fn set_weather(&mut self, site: &str, weather: Weather) -> bool {
        let site = self.site_mut(site);
        site.map(|site| site.weather = weather).is_some()
    }

    /// Whether hosts of a site reach each other without its NAT. False: there is no such site.
    pub fn set_isolated(&mut self, site: &str, isolated: bool) -> bool {
        let site = self.site_mut(site);
        site.map(|site| site.isolated = isolated).is_some()
    }

    /// Takes a site's link away until `until`. False: there is no such site.
    pub fn set_down(&mut self, site: &str, until: Duration) -> bool {
        let site = self.site_mut(site);
        site.map(|site| site.down_until = until).is_some()
    }

    /// Gives a site its next public address, as providers do; all mappings are forgotten. `None`:
    /// it has no NAT.
    pub fn readdress(&mut self, site: &str) -> Option<Ipv4Addr> {
        let site = self.site_mut(site)?;
        let nat = site.nat.as_mut()?;
        let at = site.public.iter().position(|&one| one == nat.public());
        let next = site.public[(at.unwrap_or(0) + 1) % site.public.len()];
        nat.restart(nat.config(), next);
        Some(next)
    }

    fn site_mut(&mut self, name: &str) -> Option<&mut Site> {
        self.sites.iter_mut().find(|site| site.name == name)
    }

    fn drop_at(&mut self, site: usize, why: Dropped) {
        let name = self.sites[site].name.clone();
        let of_site = self.counts.dropped.entry(name).or_default();
        *of_site.entry(why).or_default() += 1;
    }

    fn put_under_way(
        &mut self,
        at: Duration,
        place: Place,
        packet: Vec<u8>,
    ) -> Result<(), Dropped> {
        if self.under_way.len() >= limits::MAX_UNDER_WAY {
            return Err(Dropped::NoRoom);
        }
        self.sequence += 1;
        self.under_way.insert((at, self.sequence), (place, packet));
        Ok(())
    }

    /// From a host to the end of the uplink, or to a neighbour.
    fn leave(
        &mut self,
        now: Duration,
        from: usize,
        address: Ipv4Addr,
        mut packet: Vec<u8>,
    ) -> Result<(), Dropped> {
        let content = packet::read(&packet).ok_or(Dropped::Malformed)?;
        let (source, destination) = addresses(&content);
        if source != address {
            return Err(Dropped::NoRoute);
        }
        let site = &mut self.sites[from];
        if site.is_local(destination) {
            return self.switch(from, address, destination, packet);
        }
        if site.nat.is_some() && destination.is_private() {
            return Err(Dropped::NoRoute);
        }
        let own = site.translate_out(now, &content, &mut packet)?;
        if own == Some(destination) {
            return self.hairpin(now, from, packet);
        }
        let at = site.up(now, packet.len())?;
        self.put_under_way(at, Place::Core { from }, packet)
    }

    /// From one host of a site to others, past its NAT.
    fn switch(
        &mut self,
        at: usize,
        from: Ipv4Addr,
        to: Ipv4Addr,
        packet: Vec<u8>,
    ) -> Result<(), Dropped> {
        let site = &self.sites[at];
        if site.isolated {
            return Err(Dropped::NoRoute);
        }
        let others = site.hosts.iter().filter(|&(_, &address)| address != from);
        let receivers: Vec<_> = others
            .filter(|&(_, &address)| to.is_multicast() || address == to)
            .map(|(name, _)| name.clone())
            .collect();
        if receivers.is_empty() && !to.is_multicast() {
            return Err(Dropped::NoRoute);
        }
        let switched = self.counts.switched.entry(site.name.clone()).or_default();
        *switched += (packet.len() * receivers.len()) as u64;
        let copies = receivers.into_iter().map(|name| (name, packet.clone()));
        self.arrived.extend(copies);
        Ok(())
    }

    /// From one host of a site to another by the public address. The receiver sees the mapped
    /// source (RFC 4787, REQ-9a).
    fn hairpin(&mut self, now: Duration, at: usize, mut packet: Vec<u8>) -> Result<(), Dropped> {
        let site = &mut self.sites[at];
        if !site.nat.as_ref().is_some_and(|nat| nat.config().hairpin) {
            return Err(Dropped::NoRoute);
        }
        let host = site.translate_in(now, &mut packet)?;
        let hairpinned = self.counts.hairpinned.entry(site.name.clone()).or_default();
        *hairpinned += packet.len() as u64;
        self.arrived.push_back((host, packet));
        Ok(())
    }

    /// From the end of an uplink to the beginning of the link that leads to the destination.
    fn route(&mut self, now: Duration, from: usize, packet: Vec<u8>) -> Result<(), Dropped> {
        let content = packet::read(&packet).ok_or(Dropped::Malformed)?;
        let (_, destination) = addresses(&content);
        let to = self
            .sites
            .iter()
            .position(|site| site.is_reached_at(destination));
        let to = to.ok_or(Dropped::NoRoute)?;
        let at = self.sites[to].down(now, packet.len())?;
        self.put_under_way(at, Place::Gate { from, to }, packet)
    }

    /// From the end of a downlink to a host.
    fn come_in(
        &mut self,
        now: Duration,
        from: usize,
        to: usize,
        mut packet: Vec<u8>,
    ) -> Result<(), Dropped> {
        let host = self.sites[to].translate_in(now, &mut packet)?;
        let way = format!("{}>{}", self.sites[from].name, self.sites[to].name);
        *self.counts.bytes.entry(way).or_default() += packet.len() as u64;
        self.arrived.push_back((host, packet));
        Ok(())
    }
}

fn addresses(content: &Content) -> (Ipv4Addr, Ipv4Addr) {
    match content {
        Content::Flow(ends) => (*ends.source.ip(), *ends.destination.ip()),
        Content::Report {
            source,
            destination,
            ..
        } => (*source, *destination),
    }
}
