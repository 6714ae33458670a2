//! Owns what a packet's headers say, and how its ends are changed so that checksums stay true.

#[cfg(test)]
mod tests;

use std::net::{Ipv4Addr, SocketAddrV4};

use etherparse::checksum::Sum16BitWords;
use etherparse::{Ipv4HeaderSlice, TcpHeaderSlice, UdpHeaderSlice};

use crate::limits;

/// What is carried in IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Queries; their identifier stands for the port of who asks.
    Icmp,
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Who sends to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// What it is.
    pub protocol: Protocol,
    /// Who sends.
    pub source: SocketAddrV4,
    /// To whom.
    pub destination: SocketAddrV4,
}

/// What a packet is to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A packet of a flow.
    Flow(Ends),
    /// An ICMP error between two hosts about a packet with these ends.
    Report {
        /// Who reports.
        source: Ipv4Addr,
        /// To whom.
        destination: Ipv4Addr,
        /// Of the packet that it is about, as the reporter got it.
        about: Ends,
    },
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;

/// Bytes; an ICMP header, after which a report holds the packet's beginning.
const ICMP_HEADER: usize = 8;

/// Where things begin in a packet that was read.
struct Layout {
    content: Content,
    /// Where what IPv4 carries begins.
    payload: usize,
    protocol: u8,
}

/// What a packet is; `None` where it is nothing that is carried here.
pub(crate) fn read(packet: &[u8]) -> Option<Content> {
    layout(packet).map(|layout| layout.content)
}

/// Gives a flow's packet another source; a report another reporter and another end of what it is
/// about.
pub(crate) fn set_source(packet: &mut [u8], to: SocketAddrV4) {
    set_end(packet, to, Side::Source);
}

/// Gives a flow's packet another destination; a report another receiver and another end of what
/// it is about.
pub(crate) fn set_destination(packet: &mut [u8], to: SocketAddrV4) {
    set_end(packet, to, Side::Destination);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

impl Side {
    /// A report goes the other way than the packet that it is about.
    fn opposite(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }

    /// Where an IPv4 header has the address.
    fn address_at(self) -> usize {
        match self {
            Self::Source => 12,
            Self::Destination => 16,
        }
    }

    /// Where a header of TCP or UDP has the port.
    fn port_at(self) -> usize {
        match self {
            Self::Source => 0,
            Self::Destination => 2,
        }
    }
}

fn layout(packet: &[u8]) -> Option<Layout> {
    let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let is_whole = usize::from(ip.total_len()) == packet.len() && packet.len() <= limits::MTU;
    if !is_whole || ip.is_fragmenting_payload() {
        return None;
    }
    let payload = ip.slice().len();
    let rest = &packet[payload..];
    let protocol = ip.protocol().0;
    let flow = |protocol, from, to| {
        Content::Flow(Ends {
            protocol,
            source: SocketAddrV4::new(ip.source_addr(), from),
            destination: SocketAddrV4::new(ip.destination_addr(), to),
        })
    };
    let content = match protocol {
        UDP => {
            let udp = UdpHeaderSlice::from_slice(rest).ok()?;
            if usize::from(udp.length()) != rest.len() {
                return None;
            }
            flow(Protocol::Udp, udp.source_port(), udp.destination_port())
        }
        TCP => {
            let tcp = TcpHeaderSlice::from_slice(rest).ok()?;
            flow(Protocol::Tcp, tcp.source_port(), tcp.destination_port())
        }
        ICMP if rest.len() >= ICMP_HEADER => {
            let identifier = u16::from_be_bytes([rest[4], rest[5]]);
            match rest[0] {
                ECHO_REQUEST => flow(Protocol::Icmp, identifier, 0),
                ECHO_REPLY => flow(Protocol::Icmp, 0, identifier),
                UNREACHABLE | TIME_EXCEEDED => Content::Report {
                    source: ip.source_addr(),
                    destination: ip.destination_addr(),
                    about: beginning(&rest[ICMP_HEADER..])?,
                },
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Layout {
        content,
        payload,
        protocol,
    })
}

/// The ends of a packet of which only the beginning is there.
fn beginning(packet: &[u8]) -> Option<Ends> {
    let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
    let protocol = match ip.protocol().0 {
        UDP => Protocol::Udp,
        TCP => Protocol::Tcp,
        _ => return None,
    };
    let [a, b, c, d] = *packet.get(ip.slice().len()..)?.first_chunk()?;
    Some(Ends {
        protocol,
        source: SocketAddrV4::new(ip.source_addr(), u16::from_be_bytes([a, b])),
        destination: SocketAddrV4::new(ip.destination_addr(), u16::from_be_bytes([c, d])),
    })
}

fn set_end(packet: &mut [u8], to: SocketAddrV4, side: Side) {
    let Some(layout) = layout(packet) else {
        return;
    };
    let (header, rest) = packet.split_at_mut(layout.payload);
    put_address(header, side, *to.ip());
    match layout.content {
        Content::Report { .. } => {
            let about = &mut rest[ICMP_HEADER..];
            let ports = 4 * usize::from(about[0] & 0x0F);
            put_address(about, side.opposite(), *to.ip());
            put(about, ports + side.opposite().port_at(), to.port());
            seal_header(&mut about[..ports]);
        }
        Content::Flow(Ends { protocol, .. }) => match protocol {
            Protocol::Icmp => {
                // The identifier is the asker's alone.
                let asks = rest[0] == ECHO_REQUEST;
                if asks == (side == Side::Source) {
                    put(rest, 4, to.port());
                }
            }
            Protocol::Tcp | Protocol::Udp => put(rest, side.port_at(), to.port()),
        },
    }
    seal_header(header);
    seal_payload(header, rest, layout.protocol);
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

fn put_address(header: &mut [u8], side: Side, address: Ipv4Addr) {
    let at = side.address_at();
    header[at..at + 4].copy_from_slice(&address.octets());
}

/// Writes the checksum of an IPv4 header.
fn seal_header(header: &mut [u8]) {
    put(header, 10, 0);
    let sum = Sum16BitWords::new().add_slice(header).ones_complement();
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
}

/// Writes the checksum of what an IPv4 packet with this header carries.
fn seal_payload(header: &[u8], payload: &mut [u8], protocol: u8) {
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => 2,
    };
    put(payload, at, 0);
    let mut sum = Sum16BitWords::new();
    if protocol != ICMP {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        sum = sum
            .add_slice(&header[12..20])
            .add_2bytes([0, protocol])
            .add_2bytes(length.to_be_bytes());
    }
    let sum = sum.add_slice(payload);
    // Zero says that a UDP packet has no checksum.
    let sum = match protocol {
        UDP => sum.to_ones_complement_with_no_zero(),
        _ => sum.ones_complement(),
    };
    payload[at..at + 2].copy_from_slice(&sum.to_ne_bytes());
}
