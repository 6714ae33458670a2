//! Packets written and judged by etherparse.

use etherparse::{Icmpv4Type, Ipv4Header, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

fn end(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn udp(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (source.ip().octets(), destination.ip().octets());
    let builder = PacketBuilder::ipv4(from, to, 64).udp(source.port(), destination.port());
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn tcp(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let (from, to) = (source.ip().octets(), destination.ip().octets());
    let builder = PacketBuilder::ipv4(from, to, 64)
        .tcp(source.port(), destination.port(), 7, 9)
        .syn()
        .options(&[etherparse::TcpOptionElement::MaximumSegmentSize(1_460)])
        .unwrap();
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

fn echo(source: &str, destination: &str, reply: bool, identifier: u16) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
    let builder = PacketBuilder::ipv4(address(source), address(destination), 64);
    let builder = match reply {
        false => builder.icmpv4_echo_request(identifier, 3),
        true => builder.icmpv4_echo_reply(identifier, 3),
    };
    let mut packet = Vec::new();
    builder.write(&mut packet, b"are you there").unwrap();
    packet
}

fn report(source: &str, destination: &str, about: &[u8]) -> Vec<u8> {
    let address = |text: &str| text.parse::<Ipv4Addr>().unwrap().octets();
    let port = etherparse::icmpv4::DestUnreachableHeader::Port;
    let builder = PacketBuilder::ipv4(address(source), address(destination), 64)
        .icmpv4(Icmpv4Type::DestinationUnreachable(port));
    let mut packet = Vec::new();
    builder.write(&mut packet, &about[..28]).unwrap();
    packet
}

/// Whether every checksum is what etherparse would have written.
fn is_sealed(packet: &[u8]) -> bool {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &sliced.net else {
        panic!("no IPv4");
    };
    let header = ip.header().to_header();
    let is_header_sealed = header.header_checksum == header.calc_header_checksum();
    is_header_sealed
        && match sliced.transport.as_ref().unwrap() {
            TransportSlice::Udp(udp) => {
                let sum = udp.to_header().calc_checksum_ipv4(&header, udp.payload());
                sum.unwrap() == udp.checksum()
            }
            TransportSlice::Tcp(tcp) => {
                let sum = tcp.to_header().calc_checksum_ipv4(&header, tcp.payload());
                sum.unwrap() == tcp.checksum()
            }
            TransportSlice::Icmpv4(icmp) => {
                icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum()
            }
            TransportSlice::Icmpv6(_) | TransportSlice::Igmp(_) => false,
        }
}

#[test]
fn both_ends_of_udp_and_tcp_change_and_nothing_else() {
    let (inside, remote) = (end("10.0.0.2:5000"), end("9.8.7.6:3478"));
    let (mapped, other) = (end("81.0.0.1:40001"), end("10.9.9.9:1"));
    for write in [udp, tcp] {
        let mut packet = write(inside, remote, b"a payload of odd length");
        set_source(&mut packet, mapped);
        assert!(is_sealed(&packet));
        assert_eq!(packet, write(mapped, remote, b"a payload of odd length"));
        set_destination(&mut packet, other);
        assert_eq!(packet, write(mapped, other, b"a payload of odd length"));
    }
}

#[test]
fn the_identifier_of_an_echo_is_the_askers_port() {
    let mut ask = echo("10.0.0.2", "9.8.7.6", false, 77);
    set_source(&mut ask, end("81.0.0.1:40001"));
    assert_eq!(ask, echo("81.0.0.1", "9.8.7.6", false, 40_001));
    let mut answer = echo("9.8.7.6", "81.0.0.1", true, 40_001);
    let Some(Content::Flow(ends)) = read(&answer) else {
        panic!("an echo is a flow");
    };
    assert_eq!(ends.destination, end("81.0.0.1:40001"));
    set_destination(&mut answer, end("10.0.0.2:77"));
    assert_eq!(answer, echo("9.8.7.6", "10.0.0.2", true, 77));
}

#[test]
fn a_report_and_what_it_is_about_are_translated_together() {
    let (inside, mapped, remote) = (
        end("10.0.0.2:5000"),
        end("81.0.0.1:40001"),
        end("9.8.7.6:3478"),
    );
    let mut packet = report("9.8.7.6", "81.0.0.1", &udp(mapped, remote, b""));
    let Some(Content::Report { about, .. }) = read(&packet) else {
        panic!("it is a report");
    };
    assert_eq!((about.source, about.destination), (mapped, remote));
    set_destination(&mut packet, inside);
    assert!(is_sealed(&packet));
    let Some(Content::Report {
        about, destination, ..
    }) = read(&packet)
    else {
        panic!("it is a report still");
    };
    assert_eq!(destination, *inside.ip());
    assert_eq!((about.source, about.destination), (inside, remote));
    let (embedded, _) = Ipv4Header::from_slice(&packet[28..]).unwrap();
    assert_eq!(embedded.header_checksum, embedded.calc_header_checksum());
}

#[test]
fn what_is_not_carried_is_refused() {
    let whole = udp(end("10.0.0.2:5000"), end("9.8.7.6:3478"), b"payload");
    assert!(read(&whole).is_some());
    assert_eq!(read(&whole[..whole.len() - 1]), None, "cut");
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(read(&longer), None, "with something behind it");
    let mut fragment = whole.clone();
    fragment[6] = 0x20;
    assert_eq!(read(&fragment), None, "a fragment");
    let mut other = whole;
    other[9] = 47;
    assert_eq!(read(&other), None, "another protocol");
    assert_eq!(read(&[0x60; 60]), None, "IPv6");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0x44_u8..0x4A) {
        read(&bytes);
        if bytes.len() > 20 {
            // Near to what is carried.
            let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes[0] = first;
            bytes[2..4].copy_from_slice(&length);
            bytes[6..8].copy_from_slice(&[0, 0]);
            bytes[9] = [1, 6, 17][usize::from(bytes[8]) % 3];
            read(&bytes);
            set_source(&mut bytes, end("1.2.3.4:5"));
            set_destination(&mut bytes, end("6.7.8.9:10"));
        }
    }
}
