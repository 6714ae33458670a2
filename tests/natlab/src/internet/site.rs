//! Owns one place on the internet: its hosts, the NAT before them, and its link.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::nat::{Dropped, Nat};
use crate::packet::{self, Content, Ends};
use crate::weather::{Lane, Weather};

/// Hosts behind one link.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: String,
    /// The addresses that it can have; the first one at the beginning.
    pub(super) public: Vec<Ipv4Addr>,
    pub(super) hosts: BTreeMap<String, Ipv4Addr>,
    /// None: its hosts have public addresses.
    pub(super) nat: Option<Nat>,
    pub(super) weather: Weather,
    pub(super) down_until: Duration,
    /// Whether its hosts are kept from each other, as in many a hotel.
    pub(super) isolated: bool,
    pub(super) uplink: Lane,
    pub(super) downlink: Lane,
}

impl Site {
    /// Whether a packet of one of its hosts to `destination` stays here, untranslated.
    pub(super) fn is_local(&self, destination: Ipv4Addr) -> bool {
        let is_neighbour = self.hosts.values().any(|&one| one == destination);
        destination.is_multicast() || is_neighbour
    }

    /// Whether the rest of the internet sends `destination` here.
    pub(super) fn is_reached_at(&self, destination: Ipv4Addr) -> bool {
        match &self.nat {
            Some(nat) => nat.public() == destination,
            None => self.hosts.values().any(|&one| one == destination),
        }
    }

    /// When a packet that goes up now is in the core.
    pub(super) fn up(&mut self, now: Duration, bytes: usize) -> Result<Duration, Dropped> {
        self.must_be_up(now)?;
        self.uplink.accept(now, &self.weather, bytes)
    }

    /// When a packet that comes down now is here.
    pub(super) fn down(&mut self, now: Duration, bytes: usize) -> Result<Duration, Dropped> {
        self.must_be_up(now)?;
        self.downlink.accept(now, &self.weather, bytes)
    }

    fn must_be_up(&self, now: Duration) -> Result<(), Dropped> {
        if now < self.down_until {
            return Err(Dropped::Down);
        }
        Ok(())
    }

    /// Gives a packet the source that the world sees; the public address, where there is a NAT.
    pub(super) fn translate_out(
        &mut self,
        now: Duration,
        content: &Content,
        packet: &mut [u8],
    ) -> Result<Option<Ipv4Addr>, Dropped> {
        let Some(nat) = &mut self.nat else {
            return Ok(None);
        };
        let source = match *content {
            Content::Flow(Ends {
                protocol,
                source,
                destination,
            }) => nat.outbound(now, protocol, source, destination)?,
            // What it is about came from outside: its source is the remote end.
            Content::Report { about, .. } => {
                let port = nat.port_of(about.protocol, about.destination, about.source);
                SocketAddrV4::new(nat.public(), port.ok_or(Dropped::NoMapping)?)
            }
        };
        packet::set_source(packet, source);
        Ok(Some(nat.public()))
    }

    /// Gives a packet the destination that it has here; the name of the host.
    pub(super) fn translate_in(
        &mut self,
        now: Duration,
        packet: &mut [u8],
    ) -> Result<String, Dropped> {
        let content = packet::read(packet).ok_or(Dropped::Malformed)?;
        let address = match (&mut self.nat, content) {
            (Some(nat), content) => {
                let to = destination_inside(nat, now, &content)?;
                packet::set_destination(packet, to);
                *to.ip()
            }
            (None, Content::Flow(ends)) => *ends.destination.ip(),
            (None, Content::Report { destination, .. }) => destination,
        };
        let host = self.hosts.iter().find(|&(_, &one)| one == address);
        let (name, _) = host.ok_or(Dropped::NoRoute)?;
        Ok(name.clone())
    }
}

fn destination_inside(
    nat: &mut Nat,
    now: Duration,
    content: &Content,
) -> Result<SocketAddrV4, Dropped> {
    match *content {
        Content::Flow(Ends {
            protocol,
            source,
            destination,
        }) => nat.inbound(now, protocol, destination.port(), source),
        // What it is about was sent from here: its source is the mapped end.
        Content::Report { about, .. } => nat
            .reported(about.protocol, about.source.port(), about.destination)
            .ok_or(Dropped::NoMapping),
    }
}
